"""A job's calls as operators of the battery, without writing the calls again.

One step of the job runs with a `Replay` in place of a trace. Every call becomes an operator that makes the same call
with seeded inputs of the same shapes, types and memory layouts. So each call sees equal inputs on every machine,
whatever happened in the calls before it, and the battery speaks for the very shapes that the job uses.
"""

import sys
from typing import Any, Callable, Dict, List, Set, Tuple

from .. import inputs
from ..operators import Operator

THREADED_MATRIX = 4 * 65536
THREADED_VECTOR = 4 * 2304
"""Products of two matrices, or of a matrix and a vector, of fewer multiplications than this OpenBLAS computes on one
thread (interface/gemm.c and gemv.c; measured with 0.3.23 to 0.3.31, of which the newer ones begin later)."""

_flat: Dict[Tuple[Any, ...], Any] = {}


class Replay:
    """Has the methods of `probes.trace.Trace` that jobs use; collects `operators`."""

    def __init__(self, prefix: str, positive: Tuple[Callable[..., Any], ...]) -> None:
        self.operators: List[Operator] = []
        self._positive = positive
        self._prefix = prefix
        self._phase = ""
        self._seen: Set[str] = set()

    def begin_step(self) -> None:
        """A replay is one step."""

    def phase(self, name: str) -> None:
        """The phase becomes a part of the operators' names."""
        self._phase = name

    def constant(self, name: str, value: Any) -> None:
        """No call, no operator."""

    def moved(self, value: Any, *sources: Any) -> Any:
        """As in a trace, but nothing needs to be remembered."""
        return value

    def call(
        self,
        name: str,
        operator: str,
        components: Tuple[str, ...],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Make the call for real, so that the job goes on; the first of its kind becomes an operator."""
        positive = function in self._positive
        seeds = [_Seed(argument, place, positive) for place, argument in enumerate(arguments)]
        kind = repr((operator, [seed.kind for seed in seeds], sorted(options.items())))
        if kind not in self._seen:
            self._seen.add(kind)
            self.operators.append(
                Operator(
                    name="{}.{}.{}".format(self._prefix, self._phase, name),
                    component=components[0],
                    function=lambda: function(*[seed.value() for seed in seeds], **options),
                    through=components[1:],
                    threaded=components[0] == "blas" and _threaded(seeds),
                )
            )
        return function(*arguments, **options)


def _threaded(seeds: "List[_Seed]") -> bool:
    (rows, inner), right = seeds[0].shape[-2:], seeds[1].shape
    if len(right) == 1:
        return rows * inner >= THREADED_VECTOR
    return rows * inner * right[-1] > THREADED_MATRIX


class _Seed:
    """Stands for one argument: numpy floats and lists of floats are replaced, anything else is used as it is."""

    def __init__(self, argument: Any, place: int, positive: bool) -> None:
        self.shape: Tuple[int, ...] = getattr(argument, "shape", ())
        self._argument: Any = None
        self._place = place
        self._positive = positive
        self._strides: Tuple[int, ...] = ()
        self._dtype = ""
        self._count = 0
        if self.shape and argument.dtype.kind == "f":
            self._strides, self._dtype = argument.strides, argument.dtype.name
            reach = sum((n - 1) * stride for n, stride in zip(self.shape, self._strides))
            self._count = reach // argument.dtype.itemsize + 1
        elif isinstance(argument, list) and argument and isinstance(argument[0], float):
            self._count = len(argument)
        else:
            self._argument = argument
        self.kind = (self.shape, self._strides, self._dtype, self._count, str(self._argument))

    def value(self) -> Any:
        """The seeded argument."""
        if not self._count:
            return self._argument
        if not self._dtype:
            return self._floats()
        numpy: Any = sys.modules["numpy"]
        return numpy.lib.stride_tricks.as_strided(self._array(numpy), self.shape, self._strides, writeable=False)

    def _floats(self) -> List[float]:
        values = inputs.uniform(self._stream(), self._count)
        return [0.25 + (1.0 + value) / 2 for value in values] if self._positive else values

    def _array(self, numpy: Any) -> Any:
        """Flat memory of at least `_count` floats; a longer stream begins like a shorter one."""
        key = (self._place, self._positive, self._dtype)
        if key not in _flat or len(_flat[key]) < self._count:
            values = inputs.array(self._stream(), self._count, self._dtype)
            if self._positive:  # multiples of 2**-22, so that this too is exact
                values = numpy.floor((values + 1) * 2.0**21) * values.dtype.type(2.0**-22) + values.dtype.type(0.25)
            _flat[key] = values
        return _flat[key]

    def _stream(self) -> str:
        return "replay.{}".format(self._place)


def replay(prefix: str, one_step: Callable[[Replay], Any], positive: Tuple[Callable[..., Any], ...]) -> List[Operator]:
    """The operators of the calls that `one_step` makes; calls of the same kind, shapes and layouts stand once.

    positive: the functions whose inputs are taken from [0.25, 1.25) and not [-1, 1): no logarithm of a negative number,
    no division by almost nothing.
    """
    recorder = Replay(prefix, positive)
    one_step(recorder)
    return recorder.operators
