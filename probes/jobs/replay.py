"""A job's calls as operators of the battery, without writing the calls again.

One step of the job runs with a `Replay` in place of a trace. Every call becomes an operator that makes the same call
with seeded inputs of the same shapes, types and memory layouts. So each call sees equal inputs on every machine,
whatever happened in the calls before it, and the battery speaks for the very shapes that the job uses.
"""

import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from .. import inputs
from ..operators import Operator

THREADED_MATRIX = 4 * 65536
THREADED_VECTOR = 4 * 2304
"""Products of two matrices, or of a matrix and a vector, of fewer multiplications than this OpenBLAS computes on one
thread (interface/gemm.c and gemv.c; measured with 0.3.23 to 0.3.31, of which the newer ones begin later)."""

Shapes = List[Tuple[int, ...]]

_flat: Dict[Tuple[Any, ...], Any] = {}
inputs.forgotten(_flat.clear)


class Layout(NamedTuple):
    """How a library's array of floats lies in memory. dtype: numpy's name of it; strides: in elements; made: the array
    of this layout over flat memory (a numpy array), which may be longer than needed."""

    dtype: str
    strides: Tuple[int, ...]
    made: Callable[[Any], Any]


def _numpy_layout(argument: Any) -> Optional[Layout]:
    if argument.dtype.kind != "f":
        return None
    shape, strides = argument.shape, argument.strides

    def made(flat: Any) -> Any:
        numpy: Any = sys.modules["numpy"]
        return numpy.lib.stride_tricks.as_strided(flat, shape, strides, writeable=False)

    return Layout(argument.dtype.name, tuple(stride // argument.dtype.itemsize for stride in strides), made)


def _openblas_threads(components: Tuple[str, ...], function: Callable[..., Any], shapes: Shapes) -> bool:
    if components[0] != "blas":
        return False
    (rows, inner), right = shapes[0][-2:], shapes[1]
    if len(right) == 1:
        return rows * inner >= THREADED_VECTOR
    return rows * inner * right[-1] > THREADED_MATRIX


Layouts = Callable[[Any], Optional[Layout]]
"""The layout of a library's array; None of one without floats."""

Threaded = Callable[[Tuple[str, ...], Callable[..., Any], Shapes], bool]
"""Whether a call may use several threads: from its components, its function and the shapes of its arguments."""


class Replay:
    """Has the methods of `probes.trace.Trace` that jobs use; collects `operators`."""

    def __init__(
        self, prefix: str, positive: Tuple[Callable[..., Any], ...], layouts: Layouts, threaded: Threaded
    ) -> None:
        self.operators: List[Operator] = []
        self._positive = positive
        self._layouts = layouts
        self._threaded = threaded
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
        self._replay(name, None, operator, components, function, arguments, options)
        return self._result(function, arguments, options)

    def several(
        self,
        names: Tuple[str, ...],
        operator: str,
        components: Tuple[str, ...],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """As `call`: each named result becomes an operator, which makes the call and takes that result."""
        for place, name in enumerate(names):
            if name:
                self._replay(name, place, operator, components, function, arguments, options)
        return self._result(function, arguments, options)

    def _result(self, function: Callable[..., Any], arguments: Tuple[Any, ...], options: Dict[str, Any]) -> Any:
        # What is compiled first may have an outline, which gives zeros of the right shapes and compiles nothing: all
        # calls of a step in a row would take an emulated machine longer than anybody waits for a sign of life.
        return getattr(function, "outline", function)(*arguments, **options)

    def _replay(
        self,
        name: str,
        result: Optional[int],
        operator: str,
        components: Tuple[str, ...],
        function: Callable[..., Any],
        arguments: Tuple[Any, ...],
        options: Dict[str, Any],
    ) -> None:
        positive = function in self._positive
        seeds = [_Seed(argument, place, positive, self._layouts) for place, argument in enumerate(arguments)]
        kind = repr((operator, result, [seed.kind for seed in seeds], sorted(options.items())))
        if kind in self._seen:
            return
        self._seen.add(kind)

        def made() -> Any:
            answer = function(*[seed.value() for seed in seeds], **options)
            return answer if result is None else answer[result]

        self.operators.append(
            Operator(
                name="{}.{}.{}".format(self._prefix, self._phase, name),
                component=components[0],
                function=made,
                through=components[1:],
                threaded=self._threaded(components, function, [seed.shape for seed in seeds]),
            )
        )


class _Seed:
    """Stands for one argument: arrays and lists of floats are replaced, anything else is used as it is."""

    def __init__(self, argument: Any, place: int, positive: bool, layouts: Layouts) -> None:
        self.shape: Tuple[int, ...] = tuple(getattr(argument, "shape", ()))
        self._argument: Any = None
        self._place = place
        self._positive = positive
        self._layout = layouts(argument) if self.shape else None
        self._count = 0
        if self._layout is not None:
            self._count = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self._layout.strides))
        elif isinstance(argument, list) and argument and isinstance(argument[0], float):
            self._count = len(argument)
        else:
            self._argument = argument
        layout = self._layout and self._layout[:2]
        self.kind = (self.shape, layout, self._count, str(self._argument))

    def value(self) -> Any:
        """The seeded argument."""
        if not self._count:
            return self._argument
        if self._layout is None:
            return self._floats()
        return self._layout.made(self._memory(self._layout.dtype))

    def _floats(self) -> List[float]:
        values = inputs.uniform(self._stream(), self._count)
        return [0.25 + (1.0 + value) / 2 for value in values] if self._positive else values

    def _memory(self, dtype: str) -> Any:
        """A numpy array of at least `_count` floats; a longer stream begins like a shorter one."""
        key = (self._place, self._positive, dtype)
        if key not in _flat or len(_flat[key]) < self._count:
            values = inputs.array(self._stream(), self._count, dtype)
            if self._positive:  # multiples of 2**-22, so that this too is exact
                values = sys.modules["numpy"].floor((values + 1) * 2.0**21) * values.dtype.type(2.0**-22)
                values += values.dtype.type(0.25)
            _flat[key] = values
        return _flat[key]

    def _stream(self) -> str:
        return "replay.{}".format(self._place)


def replay(
    prefix: str,
    one_step: Callable[[Replay], Any],
    positive: Tuple[Callable[..., Any], ...],
    layouts: Layouts = _numpy_layout,
    threaded: Threaded = _openblas_threads,
) -> List[Operator]:
    """The operators of the calls that `one_step` makes; calls of the same kind, shapes and layouts stand once.

    positive: the functions whose inputs are taken from [0.25, 1.25) and not [-1, 1): no logarithm of a negative number,
    no division by almost nothing. layouts, threaded: what the job's library does.
    """
    recorder = Replay(prefix, positive, layouts, threaded)
    one_step(recorder)
    return recorder.operators
