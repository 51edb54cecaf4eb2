"""The Recorder of one process: rows and steps of the program's work, and what else a hook sees, appended to a file.

How a framework's file uses it (`torch.py` is the longest example):

    def install(recorder: Recorder) -> None:      called once, when the import of the framework has ended
        recorder.guard(function)                  wraps what the program will call: errors end the recording, no more
    position = recorder.row("data", "batch.0", "constant", value)
    recorder.row("forward", "output", "forward", value, inputs=(position, *recorder.latest("forward", "weight:w")))
    recorder.end_step()

A name that is used again in a phase of a step gets "#1", "#2" ...; positions are those of probes/trace.py. What `row`
is given is digested before it returns; nothing of it is kept. `end_step` raises `Enough` after the last step that was
asked for.
"""

import atexit
import base64
import contextlib
import functools
import hashlib
import importlib
import json
import os
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from ..digest import DIGEST_BYTES
from ..digest import tensor as bits_of
from ..facts import failure
from ..sketch import observe
from ..trace import SAMPLED_STEPS, Definition
from . import about
from .lay import MODULES, Wanted, wanted
from .site import FRAMEWORKS

FILE = "recording-"
"""How the names of recordings begin in the folder."""

STOPPED = "the recorder stopped"
"""How the note begins after which nothing is recorded."""

EVALUATION = "evaluation"
"""The phase whose rows belong to the step before them: the program evaluates what the step gave."""

VALUES_BYTES = 1 << 20
"""What the kept values of one process may take in its file, about."""


class Enough(SystemExit):
    """Ends the program after the steps that were asked for; the status is 0."""


Digest = Union[bytes, Callable[[], bytes]]
"""8 bytes, or what gives them when they are needed: a device may still compute them."""


class Bits(NamedTuple):
    """What a row keeps of a value. sampled: gives what `sketch.observe` gives; with a sketch if asked."""

    dtype: str
    shape: Tuple[int, ...]
    digest: Digest
    sampled: Callable[[bool], Dict[str, Any]]


class Recorder:
    """Records one process. step: the number of the step that is open, or over with none begun since; active: false once
    recording has stopped; forked: this is a child in which it never began; rank, world: of this process, if it has any,
    known before the first step is over; over: the last step that was asked for is."""

    def __init__(self, folder: str, wanted: Wanted) -> None:
        self.wanted = wanted
        self.active = True
        self.forked = False
        self.step = 0
        self.over = False
        self.rank: Optional[int] = None
        self.world: Optional[int] = None
        self._folder = folder
        self._file = -1
        self._path = ""
        self._began = time.time()
        self._lines: List[str] = []
        self._definitions: Dict[Tuple[Any, ...], int] = {}  # by what a `Definition` has
        self._lists: Dict[Tuple[int, ...], int] = {}
        self._sequence: List[int] = []  # of the step: numbers of definitions
        self._digests: List[Digest] = []  # of its last rows, which are not yet written
        self._names: Dict[str, int] = {}  # of its rows: position
        self._used: Dict[Tuple[str, str], int] = {}  # how often each phase has each name
        self._before: Dict[str, int] = {}  # `_names` of the step before
        self._main: Optional[str] = None
        self._notes: Dict[str, None] = {}
        self._scores: Dict[str, float] = {}  # the last of each name
        self._whole = wanted.window[0] if wanted.window and wanted.trace == "operators" else 0  # values of all its rows
        self._values_bytes = 0
        self._loss: Any = None
        self._done = False  # the step is over
        self._at_begin: List[Callable[[], None]] = []
        self._at_end: List[Callable[[], None]] = []
        self._begun = False  # the step has a row of its own work
        os.register_at_fork(after_in_child=self._leave)
        self.close_first()

    # What hooks call.

    def step_of(self, phase: str) -> int:
        """The step to which the next row of a phase will belong."""
        return self.step + 1 if self._done and phase != EVALUATION else self.step

    def row(
        self,
        phase: str,
        name: str,
        operator: str,
        value: Any,
        inputs: Tuple[int, ...] = (),
        components: Tuple[str, ...] = (),
        module: str = "",
        source: str = "",
        sample: bool = False,
    ) -> int:
        """Record a value (or the `Bits` of one); its position in the step. sample: it is one of the few rows whose
        values are also kept at `trace.SAMPLED_STEPS`, with a sketch. Raises TypeError for what has no bits."""
        bits = value if isinstance(value, Bits) else plain_bits(value)
        if self._done or not self._begun:
            self._begin(phase)
        used = self._used.get((phase, name), 0)
        self._used[phase, name] = used + 1
        if used:
            name = "{}#{}".format(name, used)
        definition = (phase, name, operator, components, inputs, bits.dtype, bits.shape, module, source)
        number = self._definitions.get(definition)
        if number is None:
            number = self._definitions[definition] = len(self._definitions)
            self._line({"row": Definition(*definition)._asdict()})
        position = len(self._sequence)
        self._sequence.append(number)
        self._digests.append(bits.digest)
        self._names[name] = position
        sampled = self.step == self._whole or (sample and self.step in SAMPLED_STEPS)
        if sampled and self._values_bytes < VALUES_BYTES and not _private(phase, name, components):
            self._keep(position, bits, sample)
        return position

    def latest(self, phase: str, *names: str) -> Tuple[int, ...]:
        """Inputs of the next row of a phase: for each name the row of its step, else of the step before, else none."""
        now, before = self._names, self._before
        if self.step_of(phase) != self.step:
            now, before = {}, self._names
        found = []
        for name in names:
            if name in now:
                found.append(now[name])
            elif name in before:
                found.append(-(before[name] + 1))
        return tuple(found)

    def loss(self, value: Any) -> None:
        """The loss of the step that is open, a number or what `float` makes one of; the last one counts."""
        self._loss = value

    def note(self, text: str) -> None:
        """Say once what could not be seen; plain words, nothing of the program's."""
        if text not in self._notes:
            self._notes[text] = None
            self._line({"note": text})

    def fact(self, name: str, value: Any, source: str) -> None:
        """A fact of the program, "program.batch"; a later value replaces an earlier one."""
        self._line({"fact": name, "record": {"value": value, "source": source}})

    def score(self, name: str, value: float, stderr: Optional[float] = None) -> None:
        """A score that the program gave itself."""
        self._scores[name] = value
        self._line({"score": {"name": name, "value": value, "stderr": stderr}})

    def at_begin(self, function: Callable[[], None]) -> None:
        """Have a function called when a step begins: the rows that it makes are the step's first."""
        self._at_begin.append(function)

    def at_end(self, function: Callable[[], None]) -> None:
        """Have a function called at the process's end: rows may still be added to the step."""
        self._at_end.append(function)

    def close_first(self) -> None:
        """Have the recording closed before whatever registered itself for the process's end so far: JAX gives its
        devices back there, and then tells nothing of what it computed with."""
        atexit.unregister(self._close)
        atexit.register(self._close)

    def end_step(self) -> None:
        """The step that is open is over. Raises Enough, in the main thread, after the last step that was asked for."""
        if self.over:  # the program goes on although it was told to end
            self._write()
            os._exit(0)
        self._begin("")
        self._part()
        self._line({"done": self.step, "loss": None if self._loss is None else float(self._loss)})
        if self.step == 0:
            self._effect()
        self._write()
        self._done = True
        if self.wanted.steps is not None and self.step + 1 >= self.wanted.steps:
            self.over = True
            if threading.current_thread() is threading.main_thread():
                raise Enough(0)

    def flush(self) -> None:
        """Write what there is of the step that is open, as a crash may follow."""
        self._part()
        self._write()

    def guard(self, function: Callable[..., Any]) -> Callable[..., None]:
        """A hook of this function: an error in it becomes a note and ends the recording; only Enough comes out."""

        @functools.wraps(function)
        def guarded(*arguments: Any, **options: Any) -> None:
            if self.active:
                with self.guarding():
                    function(*arguments, **options)

        return guarded

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """`guard` for a block."""
        try:
            yield
        except Enough:
            raise
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Stop recording, because a hook failed."""
        with contextlib.suppress(Exception):
            self.note("{} in step {}: {}".format(STOPPED, self.step, failure(error)))
            self._write()
        self.active = False

    # The file.

    def _begin(self, phase: str) -> None:
        """What is recorded next is of this phase: begin the next step, unless it still belongs to the one before."""
        if self.step_of(phase) != self.step:
            self._part()
            self.step += 1
            self._before, self._names, self._used = self._names, {}, {}
            self._sequence, self._loss, self._done, self._begun = [], None, False, False
        if not self._begun and phase and phase != EVALUATION:
            self._begun = True
            self._main = self._main or about.main_file()
            for function in self._at_begin:
                function()

    def _part(self) -> None:
        if self._digests:
            part = tuple(self._sequence[-len(self._digests) :])
            number = self._lists.get(part)
            if number is None:
                number = self._lists[part] = len(self._lists)
                self._line({"rows": part})
            digests = base64.b64encode(b"".join(map(known, self._digests))).decode("ascii")
            self._line({"step": self.step, "part": number, "digests": digests})
            self._digests = []

    def _keep(self, position: int, bits: Bits, sketched: bool) -> None:
        self._line({"value": dict(bits.sampled(sketched), step=self.step, row=position)})
        self._values_bytes += len(self._lines[-1])

    def _effect(self) -> None:
        """Read the facts in effect, and what of the program is loaded by now."""
        from .. import environment

        with about.helpers(os.path.join(self._folder, MODULES)):
            self._line({"effect": environment.capture("effect").records})
        self.fact("program.sources", about.sources(self._main), "modules that are loaded")

    def _line(self, record: Dict[str, Any]) -> None:
        self._lines.append(json.dumps(record, separators=(",", ":")))

    def _write(self) -> None:
        if not self._lines:
            return
        if self._file < 0:
            name = "{}{}-{}".format(FILE, os.getpid(), time.time_ns())
            self._path = os.path.join(self._folder, name)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            process = {"pid": os.getpid(), "began": self._began, "rank": self.rank, "world": self.world}
            self._lines.insert(0, json.dumps({"process": process}))
        elif not _is_open(self._file, self._path):  # the program closed it; the number may be a file of its own by now
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        data = ("\n".join(self._lines) + "\n").encode("ascii")
        self._lines = []
        while data:
            data = data[os.write(self._file, data) :]

    def _close(self) -> None:
        """The process ends: write what is left, and the facts in effect now."""
        if self.active:
            with self.guarding():
                for function in self._at_end:
                    with contextlib.suppress(Enough):  # it ends already
                        function()
                if self._scores and not (self._done or self._sequence):  # all that there is to compare
                    for name, value in self._scores.items():
                        self.row("record", "score:" + name, "score", value)
                self._part()
                if self._done or self._sequence:
                    self._effect()
                if self._lines:
                    self._line({"end": True})
                    self._write()
        self.active = False

    def _leave(self) -> None:
        """A forked child records nothing but notes: what it does is not the program's course."""
        self.active, self.forked = False, True
        self._lines, self._digests, self._notes = [], [], {}
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1


def _is_open(descriptor: int, path: str) -> bool:
    """Whether this number of an open file is still one of the file at that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _private(phase: str, name: str, components: Tuple[str, ...]) -> bool:
    """Whether a row is a person's data, or made of it before the model: its digest tells whether it differs, and its
    values are in no report. Before the first step, what computes nothing (copies, `torch.tensor`) may be that."""
    if "::" in name:
        return phase == "data" or name.startswith("aten::lift_fresh") or (phase == "setup" and not components)
    return name.startswith(("batch.", "input.", "evaluation.batch"))


def plain_bits(value: Any) -> Bits:
    """The bits of what `digest.tensor` knows: numpy arrays, numbers, sequences of these. Raises TypeError."""
    bits = bits_of(value)
    return Bits(bits.dtype, bits.shape, bits.digest(), lambda sketched: observe(bits, sketched=sketched))


def folded(digests: List[Digest]) -> Bits:
    """The bits of a row that stands for many values."""
    digest = hashlib.blake2b(b"".join(map(known, digests)), digest_size=DIGEST_BYTES).digest()
    return Bits("", (len(digests),), digest, lambda sketched: {})


def known(digest: Digest) -> bytes:
    """The bytes of a digest, which may have to be waited for."""
    return digest if isinstance(digest, bytes) else digest()


_recorders: List[Recorder] = []


def current() -> Optional[Recorder]:
    """The recorder of this process, if it is awake and recording."""
    return _recorders[0] if _recorders and _recorders[0].active else None


def obtained(folder: str) -> Recorder:
    """The recorder of this process, awake from now on."""
    if not _recorders:
        _recorders.append(Recorder(folder, wanted(folder)))
    return _recorders[0]


def awake(name: str, folder: str) -> None:
    """The import of a framework has ended: hook it. Raises nothing."""
    recorder = obtained(folder)
    with recorder.guarding():
        importlib.import_module("." + FRAMEWORKS[name], __package__).install(recorder)
        recorder.close_first()
