"""Steps of a program that trains with JAX, by whatever is built on it: calls of functions that carry a state.

A call here is one that is made with values, not while JAX traces, of what `jax.jit`, `jax.pmap`, `jax.grad` or
`jax.value_and_grad` gave, or of `optax.apply_updates`. A function carries a state if floats that one of its calls
returned are arguments of its next call; each such call ends a step. So the first calls of a program are recorded when
it is known what they are. In a program where no function carries a state so far, every call is a step.

Rows, by phase:

    data        weight:NAME: state that no row shows yet; batch.NAME: other arguments
    forward     arguments: all those of a call; output.NAME: what it returned and its next one does not take;
                input.NAME: what was made of these before a call that carries a state
    loss        loss: the first number among these
    update      weight:NAME: the new state
    evaluation  the same of functions that neither carry a state nor give anything to one that does

NAME is the place among the arguments, or in what was returned: "params.Dense_0.kernel" where one argument is all the
state. What happens within a call is one operator, "jit train_step"; gradients are seen only where the program takes
them outside `jax.jit`. Arrays of a GPU are copied to the host to be digested.
"""

import collections
import functools
import sys
import types
import weakref
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

from . import arrays
from .recorder import EVALUATION, Bits, Recorder, folded

_PATIENCE = 64
"""Calls that wait until it is known what they are."""

_THEIRS = ("optax.", "chex.", "jax.")
"""Where compiled functions are no part of the program, but of what it calls."""

_ROWS = 10000
"""Values whose rows are remembered before those are forgotten that are gone."""

_SEEN = "jax: what happens within a compiled function is one row; gradients in it are not seen"

_SCATTERED = "jax: arrays that are spread over several processes are not recorded"


def install(recorder: Recorder) -> None:
    """Hook what was imported of jax and optax, and is not hooked yet."""
    jax: Any = sys.modules["jax"]
    if not _steps:
        _steps.append(_Steps(recorder, jax))
        for name, made in (("jit", _Compiled), ("pmap", _Compiled), ("grad", _called), ("value_and_grad", _called)):
            setattr(jax, name, _wrapping(_steps[0], getattr(jax, name), name, made))
    optax: Any = sys.modules.get("optax")
    if hasattr(optax, "apply_updates") and not hasattr(optax.apply_updates, "__wrapped__"):
        optax.apply_updates = _called(_steps[0], optax.apply_updates, "optax")


def _wrapping(
    steps: "_Steps", transform: Callable[..., Any], name: str, wrapped: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(transform)
    def wrapping(*arguments: Any, **options: Any) -> Any:
        made = transform(*arguments, **options)
        if not arguments and "fun" not in options:  # a decorator with options
            return lambda function: wrapped(steps, made(function), name)
        return wrapped(steps, made, name)

    return wrapping


def _called(steps: "_Steps", function: Any, name: str) -> Callable[..., Any]:
    state = steps.state(name, function)

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        return steps.call(state, function, arguments, options)

    return called


class _Compiled:
    """A compiled function whose calls are recorded; in all else it is the function itself."""

    def __init__(self, steps: "_Steps", function: Any, name: str) -> None:
        functools.update_wrapper(self, function)  # first: where `function` was made of another one of these, it has its
        self._steps = steps
        self._function = function
        self._state = _State(name, function)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._steps.call(self._state, self._function, arguments, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else types.MethodType(self, instance)


class _State:
    """What is known of a function. carries: by number of a returned leaf, name and number of the argument's leaf that
    it becomes; None until that is known. feeds: what it gives is taken by one that carries, as far as can be seen."""

    def __init__(self, name: str, function: Any) -> None:
        self.operator = "{} {}".format(name, getattr(function, "__name__", "function"))
        self.is_theirs = name == "jit" and str(getattr(function, "__module__", "")).startswith(_THEIRS)
        self.calls = 0
        self.carries: Optional[Dict[int, Tuple[str, int]]] = None
        self.feeds = name in ("grad", "value_and_grad")
        self.returned: List[Any] = []  # by its first call


class _Leaf(NamedTuple):
    """One value within the arguments of a call, or within what it returned."""

    name: str
    value: Any
    bits: Optional[Bits]


class _Call(NamedTuple):
    state: _State
    given: List[_Leaf]
    returned: List[_Leaf]


class _Row(NamedTuple):
    """Where a value stands, and the function that gave it, if one did."""

    value: Callable[[], Any]  # a weak reference
    step: int
    position: int
    state: Optional[_State]


class _Steps:
    """inside: a call is under way, and whatever it calls belongs to it."""

    def __init__(self, recorder: Recorder, jax: Any) -> None:
        self.inside = False
        self._recorder = recorder
        self._jax = jax
        self._before = recorder.guard(self._take)
        self._after = recorder.guard(self._returned)
        self._given: Optional[List[_Leaf]] = None
        self._waiting: Deque[_Call] = collections.deque()
        self._carrying = False  # some function carries a state
        self._described = False
        self._given_out: List[int] = []  # positions of this step's outputs
        self._bits: Dict[int, Tuple[Callable[[], Any], Bits]] = {}  # of arrays that live, by id: weak reference
        self._rows: Dict[int, _Row] = {}  # by id of the value
        self._names: Dict[Any, List[str]] = {}  # of leaves, by structure
        self._states: Dict[Any, _State] = {}
        recorder.at_end(self._end)

    def state(self, name: str, function: Any) -> _State:
        """That of what a transformation made: a program may make it anew for each call, of the same code."""
        code = getattr(getattr(function, "__wrapped__", None), "__code__", function)
        return self._states.setdefault((name, code), _State(name, function))

    def call(self, state: _State, function: Any, arguments: Any, options: Any) -> Any:
        """Make a call, and record it if it is the program's own."""
        if self.inside or not self._recorder.active or state.is_theirs:
            return function(*arguments, **options)
        self.inside = True
        try:
            self._given = None
            self._before(state, arguments, options)
            result = function(*arguments, **options)
            if self._given is not None:
                self._after(state, self._given, result)
        finally:
            self.inside = False
        return result

    # What a call was given and what it returned.

    def _take(self, state: _State, arguments: Any, options: Any) -> None:
        leaves = self._leaves((*arguments, options) if options else arguments)
        if any(isinstance(leaf, self._jax.core.Tracer) for _, leaf in leaves):
            return
        # What is kept of an array must not hold its memory, which the call may take over.
        detailed = self._recorder.step == 0
        self._given = [_Leaf(name, leaf, _kept(self._bits_of(leaf), detailed)) for name, leaf in leaves]
        state.calls += 1
        if state.calls == 2:
            self._decide(state, self._given)
        if state.calls == 3:
            self._give_up()

    def _returned(self, state: _State, given: List[_Leaf], result: Any) -> None:
        returned = [_Leaf(name, leaf, self._bits_of(leaf)) for name, leaf in self._leaves(result)]
        if state.calls == 1:
            state.returned = [leaf.value for leaf in returned]
            if self._carrying:
                state.carries = {}
        if self._waiting or state.carries is None:
            returned = [leaf._replace(bits=_kept(leaf.bits, True)) for leaf in returned]
        self._waiting.append(_Call(state, given, returned))
        if len(self._waiting) > _PATIENCE:
            self._give_up()
        self._settle()

    def _decide(self, state: _State, given: List[_Leaf]) -> None:
        """Its second call: what of the first one's result it takes."""
        numbers = {id(leaf.value): number for number, leaf in enumerate(given)}
        taken = {n: numbers[id(value)] for n, value in enumerate(state.returned) if id(value) in numbers}
        if not any(self._is_float(given[number].value) for number in taken.values()):
            taken = {}
        firsts = {given[number].name.partition(".")[0] for number in taken.values()}
        skip = 1 if len(firsts) == 1 else 0
        state.carries = {
            n: (".".join(given[number].name.split(".")[skip:]) or given[number].name, number)
            for n, number in taken.items()
        }
        state.returned = []
        self._carrying = self._carrying or bool(taken)

    def _give_up(self) -> None:
        """What is not known by now carries nothing."""
        for call in self._waiting:
            if call.state.carries is None:
                call.state.carries = {}

    def _settle(self) -> None:
        if all(call.state.carries is not None for call in self._waiting):
            if len(self._waiting) > 1:  # the program's first calls: those before one that carries lead to it
                *_, last = [number for number, call in enumerate(self._waiting) if call.state.carries] or [0]
                for number, call in enumerate(self._waiting):
                    call.state.feeds = call.state.feeds or number < last
            while self._waiting:
                self._write(self._waiting.popleft())

    def _end(self) -> None:
        if not self._recorder.over:
            self._give_up()
            self._settle()

    # Rows.

    def _write(self, call: _Call) -> None:
        carries = call.state.carries or {}
        names = {number: name for name, number in carries.values()}
        if not self._described:
            self._describe(call, names)
        evaluates = self._carrying and not carries and not call.state.feeds
        prefix = "evaluation." if evaluates else ""
        found = []
        for number, leaf in enumerate(call.given):
            position = self._position(EVALUATION if evaluates else "data", leaf.value)
            if position is None and leaf.bits is not None:
                if carries and number not in names and self._given_out and self._is_float(leaf.value):
                    position = self._row("forward", "input." + leaf.name, "function", leaf, tuple(self._given_out))
                else:
                    name = "weight:" + names[number] if number in names else prefix + "batch." + leaf.name
                    position = self._row(EVALUATION if evaluates else "data", name, "constant", leaf)
            if position is not None:
                found.append(position)
        given = folded([leaf.bits.digest for leaf in call.given if leaf.bits])
        inputs = (
            self._recorder.row(
                EVALUATION if evaluates else "forward", prefix + "arguments", "constant", given, tuple(found)
            ),
        )
        loss = None
        for number, leaf in enumerate(call.returned):
            if number in carries or leaf.bits is None:
                continue
            if loss is None and not evaluates and self._is_float(leaf.value) and not leaf.bits.shape:
                loss = float(leaf.value)
                self._row("loss", "loss", call.state.operator, leaf, inputs, call.state)
                self._recorder.loss(loss)
            else:
                name = prefix + ("output." + leaf.name if leaf.name else "output")
                phase = EVALUATION if evaluates else "forward"
                position = self._row(phase, name, call.state.operator, leaf, inputs, call.state)
                if not evaluates:
                    self._given_out.append(position)
        for number, (name, _) in carries.items():
            leaf = call.returned[number]
            if leaf.bits is not None:
                self._row("update", "weight:" + name, call.state.operator, leaf, inputs, call.state)
        if carries or not self._carrying:
            self._given_out = []
            self._recorder.end_step()

    def _describe(self, call: _Call, names: Dict[int, str]) -> None:
        """Facts of the program, of its first call that is recorded."""
        self._described = True
        self._recorder.note(_SEEN)
        known = [(number, leaf.name, leaf.bits) for number, leaf in enumerate(call.given) if leaf.bits]
        shapes = {name: list(bits.shape) for number, name, bits in known if number not in names}
        kinds = sorted({bits.dtype for number, _, bits in known if number in names})
        self._recorder.fact("program.batch", shapes, "the first call of a function of JAX")
        self._recorder.fact("program.precision", {"parameters": kinds, "autocast": None}, "what it carries")

    def _row(
        self,
        phase: str,
        name: str,
        operator: str,
        leaf: _Leaf,
        inputs: Tuple[int, ...] = (),
        state: Optional[_State] = None,
    ) -> int:
        sample = phase in ("loss", "update")
        position = self._recorder.row(phase, name, operator, leaf.bits, inputs, sample=sample)
        if len(self._rows) > _ROWS:
            self._rows = {key: row for key, row in self._rows.items() if row.value() is not None}
        self._rows[id(leaf.value)] = _Row(_reference(leaf.value), self._recorder.step, position, state)
        return position

    def _position(self, phase: str, value: Any) -> Optional[int]:
        """The row that a value is of, as an input of the next row of a phase."""
        row = self._rows.get(id(value))
        if row is None or row.value() is not value:
            return None
        if row.state is not None and phase != EVALUATION:
            row.state.feeds = True
        before = self._recorder.step_of(phase) - row.step
        return row.position if before == 0 else -(row.position + 1) if before == 1 else None

    # Leaves.

    def _leaves(self, tree: Any) -> List[Tuple[str, Any]]:
        leaves, structure = self._jax.tree_util.tree_flatten(tree)
        names = self._names.get(structure)
        if names is None:
            paths, _ = self._jax.tree_util.tree_flatten_with_path(tree)
            names = self._names[structure] = [".".join(map(_key, path)) for path, _ in paths]
        return list(zip(names, leaves))

    def _bits_of(self, value: Any) -> Optional[Bits]:
        """The bits of a leaf, None if it has none. JAX's arrays do not change, so theirs are computed once."""
        is_array = isinstance(value, self._jax.Array)
        if is_array:
            reference, bits = self._bits.get(id(value), (None, None))
            if reference is not None and reference() is value:
                return bits
        try:
            bits = arrays.bits(self._readable(value) if is_array else value)
        except (TypeError, ValueError):  # a function, a configuration
            return None
        if is_array:
            if len(self._bits) > _ROWS:
                self._bits = {key: known for key, known in self._bits.items() if known[0]() is not None}
            self._bits[id(value)] = (_reference(value), bits._replace(sampled=lambda sketched: {}))
        return bits

    def _readable(self, array: Any) -> Any:
        if not array.is_fully_addressable:
            self._recorder.note(_SCATTERED)
            raise TypeError("spread over several processes")
        if self._jax.dtypes.issubdtype(array.dtype, self._jax.dtypes.prng_key):
            return self._jax.random.key_data(array)
        return array

    def _is_float(self, value: Any) -> bool:
        dtypes = self._jax.dtypes
        return hasattr(value, "dtype") and dtypes.issubdtype(value.dtype, self._jax.numpy.inexact)


_steps: List[_Steps] = []


def _reference(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None


def _kept(bits: Optional[Bits], detailed: bool) -> Optional[Bits]:
    """The same without the value itself: with its samples, or without."""
    if bits is None:
        return None
    seen = bits.sampled(False) if detailed else {}
    return bits._replace(sampled=lambda sketched: seen)


def _key(key: Any) -> str:
    """A part of a path, whichever kind it is."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
