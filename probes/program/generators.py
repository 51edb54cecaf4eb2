"""The states of the random generators that a program draws from, as rows at the begin of every step.

Torch's are always rows. Python's own and numpy's global one begin from the operating system's entropy: unless the
program seeds them they differ by design, and what is drawn from them shows in the batches.
"""

import functools
import importlib
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

from . import tensors
from .recorder import Recorder


class Generators:
    """The generators of one process."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._seeded: Dict[str, Optional[int]] = {}  # with the number, if it is one
        self._states: List[Tuple[int, Any]] = []  # of torch's at the step's begin: position and state
        for name, module in (("python", "random"), ("numpy", "numpy.random")):
            if module.partition(".")[0] in sys.modules:  # numpy imports its random part when it is used
                found: Any = importlib.import_module(module)
                found.seed = self._seeding(name, found.seed)

    def _seeding(self, name: str, seed: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(seed)
        def seeding(*arguments: Any, **options: Any) -> Any:
            if arguments or options:
                seed_of = arguments[0] if arguments else None
                self._seeded[name] = seed_of if isinstance(seed_of, int) else None
            return seed(*arguments, **options)

        return seeding

    def seeds(self) -> Dict[str, Optional[int]]:
        """Seeds by generator; None: it was seeded, by something else than one number."""
        return dict(self._seeded, torch=int(torch.initial_seed()))

    def rows(self) -> None:
        """Record the states; the step begins."""
        self._states = [(self._row("torch", state), state) for state in [torch.default_generator.get_state()]]
        if torch.cuda.is_initialized():
            state = torch.cuda.get_rng_state()
            self._states.append((self._row("cuda", state), state))
        if "python" in self._seeded:
            self._recorder.row("data", "generator.python", "state", list(sys.modules["random"].getstate()[1]))
        if "numpy" in self._seeded:
            state = sys.modules["numpy.random"].get_state(legacy=False)["state"]
            self._recorder.row("data", "generator.numpy", "state", [int(state["pos"]), *state["key"].tolist()])

    def _row(self, name: str, state: Any) -> int:
        return self._recorder.row("data", "generator." + name, "state", tensors.bits(state))

    def advanced(self) -> Tuple[int, ...]:
        """The positions of torch's generators that have been drawn from since the step's begin."""
        found = []
        for number, (position, state) in enumerate(self._states):
            now = torch.cuda.get_rng_state() if number else torch.default_generator.get_state()
            if not torch.equal(now, state):
                found.append(position)
        return tuple(found)
