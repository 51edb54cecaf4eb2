"""One run of a person's own program, as a child of this process, wherever this process is.

What the recorder needs is laid in a folder of this run. The program finds nothing on its standard input, and what it
prints goes on to this process's standard error as it comes. It is ended when it is not wanted any more, which is said
on the line that this process was given, or when it stalls; nothing that it started outlives it. What the recorder wrote
by then is collected and sent, whatever became of the program, and the folder is removed in any outcome.

Records, besides those of `probes/child.py`:

    {"progress": [steps done, steps asked for or 0]}    several times a second: it is the sign of life, too
    {"job": {...}}                                      what one process of it did, as a report holds it
    {"program": {"steps", "reason", "asked"}}           why there is not all that was asked for, or "", and whether
                                                        it was asked to end
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from .. import interrupts, orphans, streams
from . import collect, lay
from .command import arguments_digest, expanded
from .recorder import STOPPED

Emit = Callable[[Dict[str, Any]], None]

_TICK = 0.05
_BEAT = 0.25
"""Seconds between two looks at the program, and between two signs of life."""

_GRACE = 10.0
"""Seconds from the request to end until the end by force: a program may save what it has."""

_QUICK = 0.4
"""The same where this process itself must end: it is given one second."""

_NEW = 60.0
"""Seconds for which a folder is left alone that is not locked: it may just have been made."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

NO_STEP = (
    "a step is one of an optimizer, a call of a whole model, or fit or predict of an estimator; audit.record(NAME, "
    "ARRAY) in the program records anything else"
)


def run(request: Dict[str, Any], emit: Emit, line: Optional[int]) -> None:
    """Serve a request for {"work": "program", "command", "emulator", "steps", "trace", "window", "stall"}.

    line: a descriptor that becomes readable, or closed, when the program is not wanted any more. Raises SystemExit if
    this process was ended, or nobody reads its records.
    """
    began = time.monotonic()
    wanted = lay.Wanted(request.get("steps"), request["trace"], request.get("window"))
    try:
        with interrupts.installed(), interrupts.held(), laid() as folder:
            ended, found = _watched(request, wanted, emit, line, folder)
            with interrupts.allowed():
                _tell(emit, ended, found, request["command"], wanted, time.monotonic() - began)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(128 + signal.SIGTERM)


@contextlib.contextmanager
def laid() -> Iterator[Optional[str]]:
    """A folder that is gone afterwards, None where there can be none. It is locked while this process lives: one of
    this user's, here, without its lock was left by a process that was killed, and is removed first."""
    prefix = "audit-program-{}-".format(_here())
    folder = lock = None
    with contextlib.suppress(OSError):
        _sweep(prefix)
        folder = tempfile.mkdtemp(prefix=prefix)
        lock = _locked(folder)
    try:
        yield folder
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _here() -> str:
    """This machine while it is up: a lock may not be seen from another with the same folder."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            told = file.read()
    except OSError:
        told = platform.node().encode("utf-8", "replace")
    return hashlib.blake2b(told, digest_size=4).hexdigest()


def _sweep(prefix: str) -> None:
    for name in os.listdir(tempfile.gettempdir()):
        if name.startswith(prefix):
            path = os.path.join(tempfile.gettempdir(), name)
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if found.st_uid != os.getuid() or time.time() - found.st_mtime < _NEW:
                    continue
                lock = _locked(path)
                if lock is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(lock)


def _locked(folder: str) -> Optional[int]:
    """A descriptor that locks a folder until it is closed; None where another has it, or there are no locks."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _watched(
    request: Dict[str, Any], wanted: lay.Wanted, emit: Emit, line: Optional[int], folder: Optional[str]
) -> "Tuple[_Ended, collect.Collected]":
    """Run the program to its end; how it ended, and what was recorded by then."""
    nothing = collect.Collected([], {}, [])
    if folder is None:
        return _Ended(None, "there is no folder for temporary files (TMPDIR names one)"), nothing
    command, emulator = request["command"], request.get("emulator", [])
    with _Output() as output, orphans.ended():
        try:
            variables = lay.lay(folder, _sources(), wanted)
        except OSError as error:
            return _Ended(None, "no room for its recorder in TMPDIR: {}".format(error.strerror)), nothing
        try:
            words = [*emulator, *expanded(command)] if emulator else command
            process = _started(words, variables, output.descriptor)
        except OSError as error:
            return _Ended(None, "it cannot be started: {}".format(error.strerror)), nothing
        ended = _Watch(process, emit, line, output, request, folder).ended()
    with interrupts.allowed():
        found = _collected(folder)
    if emulator and [job["name"] for job in found.jobs] != ["program"]:
        found.notes.append("processes that the program starts anew are not emulated")
    return ended, found


class _Ended(NamedTuple):
    """How a program ended. status: its exit status, the name of a signal, None if it was never there; reason: why it
    was ended, "" if by itself; asked: because it was not wanted any more."""

    status: Union[int, str, None]
    reason: str = ""
    asked: bool = False


def _tell(
    emit: Emit, ended: _Ended, found: collect.Collected, command: List[str], wanted: lay.Wanted, seconds: float
) -> None:
    """Send what was recorded, with the facts that only this side knows."""
    window = " {}:{}".format(*wanted.window) if wanted.window else ""
    facts = {
        **found.facts,
        "program.arguments": {"value": arguments_digest(command), "source": "the command"},
        "program.status": {"value": ended.status, "source": "its end"},
        "program.trace": {"value": wanted.trace + window, "source": "as it was asked for"},
    }
    steps = max((job["trace"]["steps"] for job in found.jobs), default=0)
    reason = _reason(ended, steps) or next((note for note in found.notes if note.startswith(STOPPED)), "")
    for job in found.jobs:
        notes = {"notes": found.notes} if found.notes and job is found.jobs[0] else {}
        emit({"job": {**job, **notes, "facts": {**job.get("facts", {}), **facts}}})
    if not found.jobs:
        reason = reason or "no step was seen: {}".format("; ".join(found.notes) or NO_STEP)
        emit({"job": {"name": "program", "status": "failed", "reason": reason, "facts": facts}})
    emit({"program": {"steps": steps, "reason": reason, "asked": ended.asked}})
    emit({"end": round(seconds, 4)})


def _reason(ended: _Ended, steps: int) -> str:
    """Why there is not all that was asked for: "program ended by SIGKILL after 41 steps"."""
    after = "after {:,} step{}".format(steps, "" if steps == 1 else "s") if steps else "before its first step"
    if ended.reason:
        return "program: {}".format(ended.reason) if ended.status is None else "{} {}".format(ended.reason, after)
    if isinstance(ended.status, str):
        return "program ended by {} {}".format(ended.status, after)
    if ended.status:
        return "program ended with exit status {} {}".format(ended.status, after)
    return ""


def _collected(folder: str) -> collect.Collected:
    try:
        return collect.collect(folder)
    except Exception as error:  # a program may have done anything to what it had open
        note = "what was recorded cannot be read ({})".format(type(error).__name__)
        return collect.Collected([], {}, [note])


def _sources() -> Dict[str, str]:
    """Every module that travelled, by its name in the bundle: from memory, or out of the one file."""
    loader: Any = __spec__.loader
    carried: Optional[Dict[str, str]] = getattr(loader, "sources", None)
    if carried is not None:
        return carried
    sources = {}
    with zipfile.ZipFile(loader.archive) as archive:
        for path in archive.namelist():
            parts = [part for part in path[: -len(".py")].split("/") if part != "__init__"]
            sources[".".join(parts)] = archive.read(path).decode("utf-8")
    del sources["__main__"]
    return sources


def _started(command: List[str], variables: Dict[str, str], output: int) -> "subprocess.Popen[bytes]":
    """The program, in a session of its own: a Ctrl-C of the terminal is not for it but for who ends it properly."""
    environment = {"PYTHONUNBUFFERED": "1", **os.environ, **variables}  # what it prints is seen when it prints it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads; ours hold no lock that is needed
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            preexec_fn=_mortal(),
        )


def _mortal() -> Optional[Callable[[], None]]:
    """What lets the program end when this process is killed and cannot end it; None where the system has no such."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) and None


class _Watch:
    """Watches one program until it has ended."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        emit: Emit,
        line: Optional[int],
        output: "_Output",
        request: Dict[str, Any],
        folder: str,
    ) -> None:
        self.process = process
        self.emit = emit
        self.lines = [] if line is None else [line]
        self.output = output
        self.wanted = request.get("steps") or 0
        self.stall = float(request["stall"])
        self.folder = folder
        self.steps = 0
        self.stepped = time.monotonic()
        self.beaten = float("-inf")
        self.reason = ""
        self.asked = False
        self.patience = float("inf")

    def ended(self) -> _Ended:
        """Wait for its end, and bring that about where it must be. In any outcome none of its group is left."""
        try:
            with interrupts.allowed():
                while self.process.poll() is None:
                    self._look()
        finally:
            self._end()
        status = self.process.returncode
        return _Ended(signal.Signals(-status).name if status < 0 else status, self.reason, self.asked)

    def _look(self) -> None:
        ready = select.select(self.lines, [], [], _TICK)[0]
        now = time.monotonic()
        if ready:
            self.lines = []
            self.asked = True
            self._ask("program was interrupted", now)
        if now - self.beaten >= _BEAT:
            self._beat(now)
        if not self.reason and now - max(self.stepped, self.output.seen()) > self.stall:
            self._ask("program ended: neither a step nor output for {:,.0f} s,".format(self.stall), now)
        if now > self.patience:
            _signal(self.process, signal.SIGKILL)

    def _beat(self, now: float) -> None:
        self.beaten = now
        steps = self.steps
        with contextlib.suppress(OSError, ValueError):  # the program may have taken the folder away
            steps = collect.progress(self.folder)
        if steps != self.steps:
            self.steps, self.stepped = steps, now
        self.emit({"progress": [steps, self.wanted]})

    def _ask(self, reason: str, now: float) -> None:
        self.reason, self.patience = reason, now + _GRACE
        _signal(self.process, signal.SIGTERM)

    def _end(self) -> None:
        """It has ended, or this process must, which has a second for it all: then the folder goes first."""
        if self.process.poll() is None:
            _signal(self.process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_QUICK)
            _signal(self.process, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in a driver
                self.process.wait(_QUICK)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            _signal(self.process, signal.SIGTERM)  # what it left; `orphans` ends it by force, where it can


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Output:
    """A pipe whose other end is passed on, in constant memory, by a thread: who reads may be slow, and this process
    goes on showing that it lives. At the end of the context all is passed on that was printed."""

    def __init__(self) -> None:
        self._read, self.descriptor = os.pipe()
        self._over = False
        self._busy = False
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)

    def __enter__(self) -> "_Output":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.descriptor)
        self._over = True
        with interrupts.allowed():
            self._thread.join()

    def seen(self) -> float:
        """When something was printed last; now, if the reader has not taken it yet."""
        return time.monotonic() if self._busy else self._last

    def _pass_on(self) -> None:
        while True:
            if select.select([self._read], [], [], _TICK)[0]:
                data = os.read(self._read, 1 << 18)
                if not data:
                    break
                self._busy = True
                streams.pass_on(data)
                self._last, self._busy = time.monotonic(), False
            elif self._over:  # some process that cannot be ended holds the other end
                break
        os.close(self._read)
