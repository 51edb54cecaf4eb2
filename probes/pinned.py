"""A process that is given one core or GPU before it imports anything, and answers commands, one JSON line each."""

import json
import mmap
import os
import signal
import time
from typing import Any, Callable, Dict, Iterable, List, Optional

from .facts import Absent, failure
from .session import death

Record = Dict[str, Any]
Emit = Callable[[Record], None]
Say = Callable[[str], None]
Serve = Callable[[Iterable[str], Emit, Say], None]
"""Answers commands, each by one record. It says where it is: what it says last is known even if it dies of it."""

_PLACE = 256
"""Bytes of the longest place."""

_REAPING = 0.5
"""Seconds for the end of a process that was killed."""


class Pinned:
    """One such process, forked. take: gives it its core or GPU; reason: why it died, "" while it lives; others: those
    whose pipes it must not hold open, or it would not notice that nobody listens any more."""

    def __init__(self, take: Callable[[], object], serve: Serve, others: List["Pinned"]) -> None:
        reading, self.commands = os.pipe()
        self.answers, writing = os.pipe()
        self.place = mmap.mmap(-1, _PLACE)  # shared: to say where it is costs nothing
        self.reason, self.buffer = "", b""
        self.pid = os.fork()
        if self.pid == 0:
            for one in (self, *others):
                os.close(one.commands)
                os.close(one.answers)
            _live(take, serve, reading, writing, self.place)
        os.close(reading)
        os.close(writing)

    @property
    def at(self) -> str:
        """Where it is, or was when it died."""
        return self.place[:].rstrip(b"\0").decode("utf-8", "replace") or "its start"

    def tell(self, command: Record) -> bool:
        """Send a command; whether it lives to read it."""
        try:
            os.write(self.commands, json.dumps(command).encode("ascii") + b"\n")
        except BrokenPipeError:
            self._died()
        return not self.reason

    def answer(self) -> Optional[Record]:
        """Read what there is; the answer, once it is whole."""
        data = os.read(self.answers, 1 << 20)
        if not data:
            self._died()
            return None
        line, whole, rest = (self.buffer + data).partition(b"\n")
        self.buffer = rest if whole else line
        if not whole:
            return None
        try:
            record: Record = json.loads(line.decode("ascii"))
            self.reason = record.get("failed", "")
        except (ValueError, AttributeError):
            self.reason = "an answer that cannot be read"
        return None if self.reason else record

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)  # it is waited for in `reap` only, so the number is still its own

    def reap(self) -> None:
        """After `kill`: wait for its end; not for long, as one that hangs in a driver does not end at all."""
        os.close(self.commands)
        os.close(self.answers)
        self.place.close()
        waited = time.monotonic() + _REAPING
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < waited:
            time.sleep(0.001)

    def _died(self) -> None:
        ended: Any = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.reason = death(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _live(take: Callable[[], object], serve: Serve, reading: int, writing: int, place: mmap.mmap) -> None:
    """The whole life of the process. It never returns into the code that forked it."""

    def emit(record: Record) -> None:
        line = json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
        while line:
            line = line[os.write(writing, line) :]

    def say(where: str) -> None:
        place[:] = where.encode("utf-8")[:_PLACE].ljust(_PLACE, b"\0")

    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        take()
        with open(reading, encoding="ascii") as commands:
            serve(commands, emit, say)
    except Absent as error:
        emit({"failed": str(error)})
    except BaseException as error:
        emit({"failed": failure(error)})
    finally:
        os._exit(0)
