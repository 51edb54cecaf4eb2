"""Operators of a program that computes with PyTorch: a row for each result of each one dispatched in the window.

Rows: tensor "aten::addmm" ("#1", "#2": further ones of the phase; "aten::native_layer_norm.1": its second result),
operator "aten::addmm f4". Results are those that an operator changed in place as well. No rows, as they have no bits of
their own: views (whatever shares memory with an argument) and memory that is not yet written. What an operator was
given without a row of its own becomes one first:

    scalars             floats among the arguments, which the program may have computed anywhere
    generator.torch     the state of the generator that the operator draws from
    buffer:NAME         a module's tensor that is no parameter; state:NAME.KEY: an optimizer's
    unseen              a tensor from anywhere else: made before the window, by numpy, by compiled code
"""

import os
import sys
import sysconfig
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from .. import device_digest, dispatched
from . import about, collectives, tensors
from .callbacks import Callbacks
from .collectives import FILLS_PART, WAITS, Begun, extent
from .lineage import Lineage, memory
from .recorder import EVALUATION, Recorder

_FLUSH = 512
"""Rows after which they are written, as an operator may end the process."""

_EVALUATIONS = 10000
"""Operators of evaluations that are recorded: a window has few steps, but an evaluation may have a whole data set."""

_MAKE_EMPTY = ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "resize_")
_EMPTY = frozenset("aten::" + name for name in (*_MAKE_EMPTY, "set_"))
_CONSTANT = frozenset(("aten::lift_fresh", "aten::lift"))
_DRAW = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "cauchy_", "geometric_")
_OVERWRITES = frozenset("aten::" + name for name in ("fill_", "zero_", "copy_", *_DRAW, "eye_", "arange_"))
"""What changes its first argument without reading it."""

_HIDDEN = ("running_mean", "running_var")
"""Arguments that a batch norm changes without saying so."""

_BETWEEN = ("setup", "data", "loss", EVALUATION)

_TENSORS = (torch.Tensor, torch.nn.Parameter)
_GPU = torch.version.cuda is not None or torch.version.hip is not None

_FOREIGN = (
    os.sep + "site-packages" + os.sep,
    os.sep + "dist-packages" + os.sep,
    sysconfig.get_paths()["stdlib"] + os.sep,
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.dirname(torch.__file__) + os.sep,
)
"""What the paths of files have in them that are not the program's."""


class _Kind(NamedTuple):
    """What there is to know of an operator by its schema."""

    name: str
    writes: Dict[Any, bool]  # arguments, by place and by name: whether they are read as well
    reads: bool  # its arguments count: it is none of _EMPTY and _CONSTANT, gives no view, and is none of WAITS
    seeded: bool  # it draws random numbers
    listed: bool  # it treats the elements of its lists one by one
    collective: bool  # what it changes or gives is there only when the program has waited for it
    words: Dict[Any, Tuple[str, Tuple[str, ...]]]  # operator and components, by dtype and device


class _Given(NamedTuple):
    """What one call of an operator was given."""

    memories: List[int]
    written: List[Any]
    common: List[int]  # rows that every result comes from
    lists: List[List[List[int]]]  # rows of the elements of each list


class Operators(TorchDispatchMode):  # type: ignore[misc]
    """Records while it is open. phase: of what the program does now; path: the modules that run, outermost first;
    optimized: the program has made an optimizer, so what it computes without gradients is an evaluation."""

    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """The compiler compiles as if this were not here."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch's own way to keep the compiler out imports it, which takes seconds; there is another."""
        return False

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.phase = "setup"
        self.path: List[Any] = []
        self.optimized = False
        self._recorder = recorder
        self._lineage = Lineage(recorder)
        self._now = ""  # the phase of the operator that runs
        self._kinds: Dict[Any, Optional[_Kind]] = {}
        self._scalars: Dict[Tuple[str, Tuple[float, ...]], int] = {}
        self._modules: Dict[int, str] = {}  # names by id, of the module that was called by no other
        self._names: Dict[int, str] = {}  # by memory: what a module or an optimizer keeps
        self._forward: Dict[int, str] = {}  # modules by the number of the autograd node that the operator made
        self._begun: Dict[int, List[Begun]] = {}  # by memory
        self._files: Dict[str, str] = {}  # by path: the file's name, "" if it is not the program's
        self._folder = about.working_folder()
        self._evaluations = 0
        self._rows = 0
        self._open = False
        tensors.pass_over(Operators.__torch_dispatch__, inside=True)
        os.register_at_fork(after_in_child=self.close)
        self._callbacks = Callbacks(recorder, lambda: self._open)
        self.turn()

    # The window.

    def turn(self) -> None:
        """Begin or end with the window. Not within `tensors.aside`."""
        begin, end = self._recorder.wanted.window or (0, 1)
        if not begin <= self._recorder.step_of("data") < end:
            self.close()
        elif not self._open:
            # Below the modes that the program has on: each takes off its own at its end.
            for mode in [self, *_taken_off(None)]:
                _python_dispatch._push_mode(mode)
            self._open = True

    def close(self) -> None:
        """Record no more."""
        if self._open:
            for mode in _taken_off(self):
                _python_dispatch._push_mode(mode)
        self._open = False

    def entered(self, module: Any, phase: str) -> Optional[List[Any]]:
        """A module was called by no other: `path`, to which those that it calls are to be added, while this is open."""
        self.phase = phase
        self.path.clear()
        if not self._open:
            return None
        name = type(module).__name__
        self._modules = {id(one): place or name for place, one in module.named_modules()}
        self._names.update((memory(one), "buffer:" + place) for place, one in module.named_buffers())
        self.path.append(name)
        return self.path

    def left(self) -> None:
        """That call is over."""
        self.path.clear()
        if self.phase == "forward":
            self.phase = "loss"

    def backward(self) -> Optional[List[Any]]:
        """A backward pass begins, which may call modules again; `path`, as `entered` gives it."""
        self.phase = "backward"
        return self.path if self._open else None

    def state(self, name: str, state: Optional[Dict[str, Any]]) -> None:
        """What an optimizer keeps of the parameter of this name."""
        if self._open and state:
            self._names.update((memory(one), "state:{}.{}".format(name, key)) for key, one in state.items())

    def step_over(self) -> None:
        """The recorder's step is over."""
        counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", {})
        if self._open and counters.get("stats", {}).get("unique_graphs"):
            self._recorder.note(
                "torch.compile: of the operators in compiled code, only those that it dispatches are seen"
            )
        self.phase = "data"
        self._scalars, self._forward, self._names = {}, {}, {}
        self._lineage.forget()
        self._begun = {number: begun for number, begun in self._begun.items() if number in self._lineage.known}

    # Rows of the step that are no operators'.

    def origin(self, tensor: Any, phase: str) -> Tuple[int, ...]:
        """The rows that a tensor is from, as inputs of the next row of a phase; none where operators are not seen."""
        if not self._open:
            return ()
        rows: List[int] = []
        for part in device_digest.dense_of(torch, tensor) if hasattr(tensor, "__tensor_flatten__") else [tensor]:
            number = memory(part)
            if number in self._begun:
                self._now = phase
                self._meet(part, True)
            rows.extend(self._lineage.inputs(number, phase))
        return tuple(rows)

    def know(self, tensor: Any, position: int) -> None:
        """A row of the step was made of this tensor."""
        if memory(tensor):
            self._lineage.know(tensor, position)

    # One operator. What follows runs for every one of them: it calls little, and asks of a tensor no more than it must.

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        recorder = self._recorder
        kind = self._kinds[func] if func in self._kinds else self._kind(func)
        # A mode of the program's that sees functions has seen this one, and is to see nothing of the recorder's.
        with torch._C.DisableTorchFunction():
            if kind is None or not recorder.active or _imagined() or not self._counts():
                return func(*args, **kwargs)
            if self._callbacks.running():
                return func(*args, **kwargs)
            if types and any(one not in _TENSORS for one in types):
                return NotImplemented  # a tensor of another kind computes with tensors of this one, which are seen
            if self._begun and self._ends(kind, args):
                return func(*args, **kwargs)
            try:
                given = self._given(kind, args, kwargs)
            except Exception as error:
                recorder.fail(error)
                return func(*args, **kwargs)
            result = func(*args, **kwargs)
            if recorder.active:
                try:
                    self._made(kind, given, result)
                except Exception as error:
                    recorder.fail(error)
            return result

    def _kind(self, func: Any) -> Optional[_Kind]:
        schema = getattr(func, "_schema", None)
        kind = None
        if schema is None:
            self._recorder.note("operators that are given functions ({}): of their work, the rest is seen".format(func))
        elif not schema.name.startswith("profiler::"):
            kind = _Kind(
                schema.name,
                _writes(schema),
                not (schema.name in _EMPTY | _CONSTANT | WAITS or _shows(schema)),
                torch.Tag.nondeterministic_seeded in func.tags,
                schema.name.startswith(("aten::_foreach_", "aten::_fused_")),
                collectives.begins(schema.name),
                {},
            )
        self._kinds[func] = kind
        return kind

    def _counts(self) -> bool:
        """Find out of which phase the operator is, and whether it is recorded."""
        self._now = self.phase
        if self.optimized and self.phase in _BETWEEN and not torch.is_grad_enabled():
            self._now = EVALUATION
            self._evaluations += 1
            if self._evaluations > _EVALUATIONS:
                self._recorder.note("operators of evaluations: the first {} are recorded".format(_EVALUATIONS))
                return False
        return not (_GPU and torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())

    def _given(self, kind: _Kind, args: Any, kwargs: Any) -> _Given:
        """What a call is given, read before it may change it."""
        given = _Given([], [], [], [])
        floats: List[float] = []
        for key, value in [*enumerate(args), *kwargs.items()] if kwargs else enumerate(args):
            if isinstance(value, torch.Tensor):
                self._take(kind, given, given.common, key, value)
            elif isinstance(value, float):
                floats.append(value)
            elif isinstance(value, (list, tuple)) and value:
                if isinstance(value[0], (list, tuple)):
                    value = [one for part in value for one in part]
                if value and isinstance(value[0], float):
                    floats.extend(value)
                elif any(isinstance(one, torch.Tensor) for one in value):
                    given.lists.append([self._take(kind, given, [], key, one) for one in value])
        if floats:
            given.common.append(self._row_of_scalars(tuple(floats)))
        if kind.seeded:
            state = tensors.state(kwargs.get("generator"), kwargs.get("device"), given.written)
            given.common.append(self._row("generator.torch", "state", tensors.bits(state), ()))
        return given

    def _take(self, kind: _Kind, given: _Given, rows: List[int], key: Any, tensor: Any) -> List[int]:
        """Add the rows that an argument is from; one of its own, if nothing is known of it."""
        number = memory(tensor)
        if not number:
            return rows
        given.memories.append(number)
        reads = kind.reads
        if key in kind.writes:
            given.written.append(tensor)
            reads = reads and kind.writes[key]
        if number in self._begun and (reads or key in kind.writes):
            self._meet(tensor, reads)
        if reads:
            if number not in self._lineage.known:
                name = self._names.get(number, "unseen")
                self._lineage.know(tensor, self._row(name, "constant", tensors.bits(tensor), ()))
            rows.extend(self._lineage.inputs(number, self._now))
        return rows

    def _row_of_scalars(self, values: Tuple[float, ...]) -> int:
        """The row of floats among the arguments; equal ones are one row of a phase."""
        key = (self._now, values)
        if key not in self._scalars:
            self._scalars[key] = self._row("scalars", "argument", list(values), ())
        return self._scalars[key]

    def _made(self, kind: _Kind, given: _Given, result: Any) -> None:
        """Record what came of a call."""
        results = result if isinstance(result, (list, tuple)) else (result,)
        if kind.collective:
            self._begin(kind, given, given.written or results)
            return
        if kind.name in WAITS:
            if memory(result) in self._begun:
                self._meet(result, True)
            return
        common = tuple(given.common)
        if given.lists and not kind.listed:
            common = (*common, *[row for rows in given.lists for one in rows for row in one])
        if kind.name in FILLS_PART:
            self._lineage.wrote(results[0], self._row_of(kind, kind.name, results[0], common))
            return
        fresh = []
        for tensor in results:
            number = memory(tensor)
            if number and number not in given.memories:
                fresh.append(tensor)
            elif number and kind.name in _CONSTANT and number not in self._lineage.known:
                self._lineage.know(tensor, self._row_of(kind, kind.name, tensor, ()))
        if kind.name in _EMPTY:
            for tensor in fresh:
                self._lineage.set(tensor, ())
            return
        made = [*given.written, *fresh]
        for place, tensor in enumerate(made):
            name = kind.name if len(made) == 1 else "{}.{}".format(kind.name, place)
            inputs = common
            if kind.listed:
                inputs = (*common, *[row for rows in given.lists for row in rows[place % len(rows)]])
            position = self._row_of(kind, name, tensor, inputs)
            if place < len(given.written):
                self._lineage.wrote(tensor, position)
            else:
                self._lineage.know(tensor, position)

    def _begin(self, kind: _Kind, given: _Given, results: Any) -> None:
        """A collective operation has begun: remember what its results come from."""
        now = self._recorder.step_of(self._now)
        rows = dict.fromkeys([*given.common, *[row for rows in given.lists for one in rows for row in one]])
        known = tuple((now, row) if row >= 0 else (now - 1, -(row + 1)) for row in rows)
        where = (self._module(), self._source())
        for place, tensor in enumerate(results):
            number = memory(tensor)
            if not number:
                continue
            if number not in self._lineage.known:
                self._lineage.set(tensor, ())
            name = kind.name if len(results) == 1 else "{}.{}".format(kind.name, place)
            shown = (tensor.storage_offset(), tensor.shape, tensor.stride())
            begun = Begun(kind, name, tensor.dtype, shown, extent(tensor), known, where)
            self._begun.setdefault(number, []).append(begun)

    def _ends(self, kind: _Kind, args: Any) -> bool:
        """Whether this copies what a collective operation gives to where the program wanted it, as Gloo does with the
        scattered when it is waited for."""
        if kind.name != "aten::copy_" or memory(args[1]) in self._lineage.known:
            return False
        return any("reduce_scatter" in one.name for one in self._begun.get(memory(args[0]), ()))

    def _meet(self, tensor: Any, reads: bool) -> None:
        """A tensor is read or changed now, so the program has waited for what collective operations gave in its place:
        make rows, but of what is written over unread."""
        number, touched = memory(tensor), extent(tensor)
        for one in self._begun.pop(number):
            both = range(max(one.extent.start, touched.start), min(one.extent.stop, touched.stop))
            if not both:
                self._begun.setdefault(number, []).append(one)
            elif one.extent.stop <= tensor.untyped_storage().nbytes() and (reads or both != one.extent):
                self._end(one, tensor)  # else it was given back unread

    def _end(self, one: Begun, tensor: Any) -> None:
        """Make the row of a result of a collective operation, in the memory of a tensor."""
        with tensors.aside():
            given = torch.empty(0, dtype=one.dtype, device=tensor.device)
            given.set_(tensor.untyped_storage(), *one.place)
        now = self._recorder.step_of(self._now)
        inputs = tuple(row if step == now else -(row + 1) for step, row in one.rows if step >= now - 1)
        self._lineage.wrote(given, self._row_of(one.kind, one.name, given, inputs, one.where))

    def _row_of(
        self, kind: _Kind, name: str, tensor: Any, inputs: Tuple[int, ...], where: Optional[Tuple[str, str]] = None
    ) -> int:
        """A row of a result. where: module and line, if it is not what runs now."""
        bits = tensors.bits(tensor)
        key = (bits.dtype, tensor.is_cpu)
        if key not in kind.words:
            components = dispatched.components(kind.name, bits.dtype, tensor.device.type)
            kind.words[key] = ("{} {}".format(kind.name, bits.dtype), components)
        words, components = kind.words[key]
        if len(inputs) > 1:
            inputs = tuple(dict.fromkeys(inputs))
        return self._row(name, words, bits, inputs, components, *(where or (self._module(), self._source())))

    def _row(self, name: str, operator: str, value: Any, inputs: Tuple[int, ...], *more: Any) -> int:
        """A row of the phase, which may be the last before the process ends."""
        position = self._recorder.row(self._now, name, operator, value, inputs, *more)
        self._rows += 1
        if self._rows % _FLUSH == 0:
            self._recorder.flush()
        return position

    def _module(self) -> str:
        """The module that runs; in a backward pass the one that ran the operator whose gradient this is of."""
        if self.path:
            last = self.path[-1]
            name = last if isinstance(last, str) else self._modules.get(last, "")
            self._forward.setdefault(torch._C._autograd._get_sequence_nr() - 1, name)
            return name
        node = torch._C._current_autograd_node()
        return "" if node is None else self._forward.get(node._sequence_nr(), "")

    def _source(self) -> str:
        """The line of the program that runs, "train.py:41"."""
        frame: Any = sys._getframe(4)
        files = self._files
        while frame is not None:
            path = frame.f_code.co_filename
            name = files.get(path)
            if name:
                return "{}:{}".format(name, frame.f_lineno)
            if name is None:
                files[path] = self._file(path)
                continue
            frame = frame.f_back
        return ""

    def _file(self, path: str) -> str:
        """A file of the program's, from its working folder; "" for any other."""
        if path.startswith("<") or any(part in path for part in _FOREIGN):
            return ""
        path = os.path.normpath(os.path.join(about.working_folder(), path))
        inside = path.startswith(self._folder + os.sep)
        return os.path.relpath(path, self._folder) if inside else os.path.basename(path)


def _imagined() -> bool:
    """Whether tensors are stand-ins here: a program is traced, or what an operator would give is only asked for, as
    distributed tensors do before each of theirs."""
    if torch._C._get_tracing_state() is not None:
        return True
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def _shows(schema: Any) -> bool:
    """Whether an operator only gives views of what it is given."""
    aliases = [one.alias_info for one in schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _writes(schema: Any) -> Dict[Any, bool]:
    """The arguments that an operator changes."""
    filled = collectives.fills(schema)
    if filled is not None:
        return filled
    writes: Dict[Any, bool] = {}
    hidden = _HIDDEN if schema.name.endswith("batch_norm") else ()
    for place, one in enumerate(schema.arguments):
        if one.name in hidden or (one.alias_info is not None and one.alias_info.is_write):
            reads = not one.kwarg_only and not (place == 0 and schema.name in _OVERWRITES)
            writes[place] = writes[one.name] = reads
    return writes


def _taken_off(last: Optional[Operators]) -> List[Any]:
    """Take off the modes that are on, from the top, until `last`; those above it, from the bottom."""
    above: List[Any] = []
    while torch._C._len_torch_dispatch_stack():
        mode = _python_dispatch._pop_mode()
        if mode is last:
            break
        above.insert(0, mode)
    return above
