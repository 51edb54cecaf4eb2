"""What rows keep of PyTorch's tensors, and where tensors are in what a program hands around."""

import collections.abc
import contextlib
import functools
import itertools
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch

from .. import device_digest
from ..digest import tensor as bits_of
from ..sketch import SAMPLES, observe
from .recorder import Bits, Digest

_MOST = 64
"""Tensors of one batch or one output that become rows."""

_SKETCHED = 1 << 16
"""Elements up to which a sketch is made: its plan takes 200 times as many bytes."""

_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule", "FullyShardedDataParallel")


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What is computed in this block is the recorder's: no mode of the program sees it, and autograd does not."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
        yield


def real() -> bool:
    """Whether tensors are values here, and not stand-ins of a tracer or a transform, or of a graph being captured."""
    if torch._C._get_tracing_state() is not None or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return not (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


def pass_over(function: Any, inside: bool = False) -> None:
    """Have torch.compile treat a function of the recorder as torch's own that lead to a module's forward: it compiles
    not this frame but what is called in it. inside: nor that."""
    frames = torch._C._dynamo.eval_frame
    if hasattr(frames, "set_code_exec_strategy"):
        skip, default = frames._FrameAction.SKIP, frames._FrameAction.DEFAULT
        strategy = frames._FrameExecStrategy(skip, skip if inside else default)
        frames.set_code_exec_strategy(function.__code__, strategy)
    elif hasattr(frames, "skip_code"):  # torch 2.2 to 2.5
        frames.skip_code(function.__code__)


def readable(tensor: Any) -> bool:
    """Whether a tensor has bits: it is no stand-in, and of a layout that is known."""
    if tensor.is_meta or tensor.is_quantized or tensor.is_nested:
        return False
    if type(tensor).__torch_dispatch__ is not _DISPATCH and not hasattr(tensor, "__tensor_flatten__"):
        return False
    return tensor.layout in (torch.strided, torch.sparse_coo)


def bits(tensor: Any) -> Bits:
    """The bits of one readable tensor, whose digest waits for its device no earlier than it is asked for."""
    return _bits(tensor, device_digest.digest_here(torch, tensor) if _is_here(tensor) else _batch().take([tensor])[0])


def all_bits(tensors: List[Any]) -> List[Bits]:
    """The same of many, which costs less than one by one where a device digests them."""
    away = [tensor for tensor in tensors if not _is_here(tensor)]
    if not away:
        return list(map(bits, tensors))
    digests = dict(zip(map(id, away), _batch().take(away)))
    return [_bits(tensor, digests.get(id(tensor)) or device_digest.digest_here(torch, tensor)) for tensor in tensors]


def _bits(tensor: Any, digest: Digest) -> Bits:
    return Bits(dtype(tensor.dtype), tuple(tensor.shape), digest, functools.partial(_sampled, tensor))


def _sampled(tensor: Any, sketched: bool) -> Dict[str, Any]:
    """What a row keeps of values, from a copy: memory that numpy was given once can be resized no more."""
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return {}  # of float8 and float4 numpy knows nothing: the digest tells whether they differ
    if hasattr(tensor, "__tensor_flatten__"):
        held = device_digest.dense_of(torch, tensor)
        if len(held) != 1 or held[0].dtype is not tensor.dtype:
            return {}
        tensor = held[0]  # of a distributed one this process's part
    if sketched and tensor.numel() <= _SKETCHED:
        return observe(bits_of(tensor.detach().clone()))
    dense = tensor.detach().to_dense() if tensor.layout is torch.sparse_coo else tensor.detach()
    flat = dense.reshape(-1)
    count = flat.numel()
    if count > SAMPLES:
        flat = flat[[k * count // SAMPLES for k in range(SAMPLES)]]
    return dict(observe(bits_of(flat.clone())), shape=list(tensor.shape))


def _is_here(tensor: Any) -> bool:
    """Whether its bytes stand in this process's memory as they are digested."""
    return (
        tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not (tensor.is_conj() or tensor.is_neg())
        and (type(tensor) in (torch.Tensor, torch.nn.Parameter) or not hasattr(tensor, "__tensor_flatten__"))
    )


class _Batch:
    """Digests that come in one transfer. over: it was made."""

    def __init__(self) -> None:
        self.over = False
        self._pending = device_digest.Pending()
        self._taken = 0
        self._digests: List[bytes] = []

    def take(self, tensors: List[Any]) -> List[Callable[[], bytes]]:
        """Have tensors digested; functions that give their digests."""
        self._pending.take(tensors)
        self._taken += len(tensors)
        return [functools.partial(self._digest, self._taken - n) for n in range(len(tensors), 0, -1)]

    def _digest(self, number: int) -> bytes:
        if not self.over:
            self.over = True
            self._digests = self._pending.finish()
        return self._digests[number]


def _batch() -> _Batch:
    """The batch that still takes tensors."""
    if _batches[-1].over:
        _batches[-1] = _Batch()
    return _batches[-1]


_batches = [_Batch()]
_DISPATCH = torch.Tensor.__torch_dispatch__


@functools.lru_cache(maxsize=None)
def dtype(kind: Any) -> str:
    """The name that a report has for a torch.dtype."""
    return device_digest.kind(str(kind))


def state(generator: Any, device: Any, written: List[Any]) -> Any:
    """The state of the generator that an operator draws from: the one that it was given, or its device's own."""
    if generator is not None:
        return generator.get_state()
    if torch.device(device or "cpu").type == "cuda" or any(one.is_cuda for one in written):
        return torch.cuda.get_rng_state()
    return torch.default_generator.get_state()


def autocast(device: str) -> Optional[str]:
    """The type that products take where the program runs now, if it is another than their arguments'."""
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4
        return dtype(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
    if device == "cpu":
        return dtype(torch.get_autocast_cpu_dtype()) if torch.is_autocast_cpu_enabled() else None
    return dtype(torch.get_autocast_gpu_dtype()) if torch.is_autocast_enabled() else None


def within(value: Any) -> List[Tuple[str, Any]]:
    """The readable tensors in nested tuples, lists and dicts, each with its place or name in them; at most _MOST."""
    return list(itertools.islice(_nested(value, ""), _MOST))


def _nested(value: Any, name: str) -> Iterator[Tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        if readable(value):
            yield name, value
        return
    if isinstance(value, collections.abc.Mapping):
        items: Any = value.items()
    elif isinstance(value, (list, tuple)):
        items = zip(getattr(value, "_fields", range(len(value))), value)
    else:
        return
    for key, item in items:
        yield from _nested(item, "{}.{}".format(name, key) if name else str(key))


def unwrapped(module: Any) -> Any:
    """The program's own module within those that distribute or compile it."""
    while type(module).__name__ in _WRAPPERS:
        module = getattr(module, "_orig_mod", None) or module.module
    return module


def version(tensor: Any) -> int:
    """Moves when the tensor is changed in place."""
    return -1 if tensor.is_inference() else int(tensor._version)
