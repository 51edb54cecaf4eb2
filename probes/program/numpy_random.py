"""The states of numpy's random generators, in a program of any framework: of the global one if the program seeds it,
and of the first few that it makes with `default_rng(SEED)`. What was not seeded differs by design.

Rows of phase `data`, when a step begins: "generator.numpy", where torch's hooks do not record it; and
"generator.numpy.0" and so on, in the order in which those others were made that the program still has.
"""

import functools
import itertools
import sys
from typing import Any, Callable, Dict, List, Optional

from .recorder import Recorder

_MOST = 8
"""Generators that are recorded beside the global one; they cannot be referred to weakly."""

_OURS = 2
"""References to a generator that the program has dropped: a list's, and that of the call which counts them."""


def install(recorder: Recorder) -> None:
    """Hook numpy.random; its import has ended, but not numpy's."""
    module: Any = sys.modules["numpy.random"]
    generators = _Generators(recorder, module)
    module.seed = generators.seeding(module.seed)
    module.default_rng = generators.making(module.default_rng)
    recorder.at_begin(generators.rows)


class _Generators:
    def __init__(self, recorder: Recorder, module: Any) -> None:
        self._recorder = recorder
        self._module = module
        self._seeded = False
        self._seed: Optional[int] = None
        self._made: List[Any] = []
        self._rows: Dict[int, str] = {}  # by id, of those that had one
        self._numbers = itertools.count()

    def seeding(self, seed: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(seed)
        def seeded(*arguments: Any, **options: Any) -> Any:
            given = arguments[0] if arguments else options.get("seed")
            self._seeded = given is not None
            self._seed = given if isinstance(given, int) else None
            return seed(*arguments, **options)

        return seeded

    def making(self, make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def made(*arguments: Any, **options: Any) -> Any:
            generator = make(*arguments, **options)
            given = arguments[0] if arguments else options.get("seed")
            if given is not None and given is not generator and self._recorder.active:
                self._drop()
                if len(self._made) < _MOST:
                    self._made.append(generator)
            return generator

        return made

    def rows(self) -> None:
        """Record the states; a step begins."""
        if self._seeded and "torch" not in sys.modules:
            if self._recorder.step == 0:
                self._recorder.fact("program.seeds", {"numpy": self._seed}, "numpy.random.seed()")
            state = self._module.get_state(legacy=False)["state"]
            self._row("generator.numpy", [int(state["pos"]), *state["key"].tolist()])
        self._drop()
        for generator in self._made:
            if id(generator) not in self._rows:
                self._rows[id(generator)] = "generator.numpy.{}".format(next(self._numbers))
            self._row(self._rows[id(generator)], _words(generator.bit_generator.state))

    def _drop(self) -> None:
        """Let go of those that the program has let go of."""
        kept = [place for place in range(len(self._made)) if sys.getrefcount(self._made[place]) > _OURS]
        self._made = [self._made[place] for place in kept]
        alive = set(map(id, self._made))
        self._rows = {made: name for made, name in self._rows.items() if made in alive}

    def _row(self, name: str, state: List[int]) -> None:
        self._recorder.row("data", name, "state", state)


def _words(state: Any) -> List[int]:
    """The numbers of a bit generator's state, in order; of more than 64 bits, their parts of 32."""
    if isinstance(state, dict):
        return [number for key in sorted(state) for number in _words(state[key])]
    if isinstance(state, str):  # its name
        return []
    if hasattr(state, "tolist"):
        return [number for one in state.tolist() for number in _words(one)]
    return [state >> at & 0xFFFFFFFF for at in range(0, max(1, state.bit_length()), 32)]
