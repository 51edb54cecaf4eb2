"""Facts of a program that trains with PyTorch: what it is given, how that is drawn, and from which seeds."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import tensors
from .recorder import Recorder


class Loader(NamedTuple):
    """How a DataLoader draws its batches. sampler: the name of the class that gives the order."""

    sampler: str
    batch_size: Optional[int]
    drop_last: bool
    workers: int


def loader(iterator: Any) -> Loader:
    """That of an iterator of torch's over a DataLoader."""
    batches = iterator._index_sampler  # of indices, or of lists of them where the loader makes batches
    sampler = getattr(batches, "sampler", batches)
    size = getattr(batches, "batch_size", None)
    drop_last = bool(getattr(batches, "drop_last", False))
    return Loader(type(sampler).__name__, size if isinstance(size, int) else None, drop_last, iterator._num_workers)


def describe(
    recorder: Recorder,
    given: List[Tuple[str, Any]],
    parameters: List[Any],
    seeds: Dict[str, Optional[int]],
    drawn: Optional[Loader],
) -> None:
    """Facts that are known when a model is called for the first time. given: its arguments, by place or name."""
    fact = recorder.fact
    fact("program.batch", {name: list(tensor.shape) for name, tensor in given}, "the first batch")
    precision = {
        "parameters": sorted({tensors.dtype(parameter.dtype) for parameter in parameters}),
        "autocast": tensors.autocast(parameters[0].device.type),
    }
    fact("program.precision", precision, "the first call of a model")
    fact("program.seeds", seeds, "torch.initial_seed(), seed() of random and numpy.random")
    fact("program.workers", drawn.workers if drawn else 0, "DataLoader")
    if drawn:
        drawing = {"sampler": drawn.sampler, "batch_size": drawn.batch_size, "drop_last": drawn.drop_last}
        fact("program.loader", drawing, "DataLoader")
    fact("program.world_size", recorder.world or 1, "WORLD_SIZE, torch.distributed")


def passes(recorder: Recorder, count: int) -> None:
    """The backward passes of the first step: its batch is so many times what one call is given."""
    recorder.fact("program.passes", count, "backward passes of the first step")
