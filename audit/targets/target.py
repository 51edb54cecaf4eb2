"""A target: where probes run. Each request is answered by a child of its own; how one is started is the subclass's."""

from __future__ import annotations

import copy
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from audit.errors import TargetError
from audit.targets import bundle
from audit.targets.talk import Child, Talk
from probes import interrupts, streams
from probes.bootstrap import FLOOR
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, Record, Request, death

Facts = dict[str, dict[str, Any]]
"""Facts as they stand in a report: {"value", "source"}, or {"status", "reason"} where there is none."""

Outlet = Callable[[bytes], None]
"""Takes what a person's own program prints, as it comes."""

_FLOOR = ".".join(map(str, FLOOR))
_T = TypeVar("_T", bound="Target")


class NotPython(TargetError):
    """What was started did not run the probes as a Python would. reason: why, without its last words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Target(ABC):
    """Starts one child a request. seconds: how long a child may show no progress."""

    def __init__(self, seconds: float = SECONDS_WITHOUT_PROGRESS) -> None:
        self.seconds = seconds
        self.proven = False  # that it is a Python which runs the probes
        self.variables: dict[str, str] = {}
        self.calls: dict[str, str] = {}
        self.outlet: Outlet = streams.pass_on  # for what a program prints
        self.queue = 0.0  # seconds that a child may wait for its place, besides

    @property
    @abstractmethod
    def words(self) -> str:
        """What is started, for a message to the person who typed it (never for a report)."""

    @abstractmethod
    def start(self) -> Child:
        """Start an interpreter with the loader. Raises TargetError, or Died if one could be started before."""

    @abstractmethod
    def use(self, python: str) -> None:
        """From here on children are of this interpreter, as the target calls it."""

    @abstractmethod
    def end(self, child: Child) -> None:
        """Whatever happened, the child and all that it started are gone before another is started, or after `close`."""

    def prepare(self, request: Request) -> None:  # noqa: B027 - nothing to do for most
        """Begin what will be asked first, beside whatever this process does; `close` ends what was not needed."""

    def close(self) -> None:  # noqa: B027
        """When the last child has ended: nothing of this target is left afterwards."""

    def under(self: _T, variables: Mapping[str, str], calls: Mapping[str, str]) -> _T:
        """This target whose children have these variables ("": taken out) and make these calls (`probes/calls.py`)."""
        other = copy.copy(self)
        other.variables, other.calls = dict(variables), dict(calls)
        return other

    def death(self, status: int) -> str:
        """A dead child's status in words."""
        return death(status)

    def advice(self) -> str:
        """What to try where the target did not run the probes as a Python would."""
        return ""

    def launch(self, request: Request) -> Iterator[Record]:
        """Start a child, send it the bootstrap and yield its records.

        Raises TargetError if it is no usable Python, Died if it ends or falls silent before its last record.
        """
        with interrupts.held():  # no signal may come between a start and its end
            talk = self.begun(request)
            try:
                if request["work"] == "program":  # a signal first asks it to end: it tells what it has
                    yield from self._records(talk)
                else:
                    with interrupts.allowed():
                        yield from self._records(talk)
            finally:
                self.end(talk.process)

    def beside(self, request: Request, opened: Callable[[Talk], None]) -> Iterator[Record]:
        """As `launch`, in a thread beside the main one, where no signal comes. opened: is told the talk, which another
        thread may `stop`. Raises as `launch` does."""
        talk = self.begun(request)
        try:
            opened(talk)
            yield from self._records(talk)
        finally:
            self.end(talk.process)

    def begun(self, request: Request) -> Talk:
        """A child that was started for a request. Raises as `start` does."""
        token = "audit-" + secrets.token_hex(8)
        if self.calls:
            request = {**request, "calls": self.calls}
        child = self.start()
        try:
            outlet = self.outlet if request["work"] == "program" else None
            return Talk(child, token, bundle.script(token, request), self.seconds, outlet, self.queue)
        except BaseException:
            self.end(child)
            raise

    def _records(self, talk: Talk) -> Iterator[Record]:
        started = False
        for record in talk.records():
            if "too_old" in record:
                raise TargetError(f"{self.words} is Python {record['too_old']}; the probes need {_FLOOR} or newer")
            if "died" in record:
                raise Died(str(record["died"].get("status")), str(record["died"].get("reason")))
            started = self.proven = True
            if "end" in record and talk.outlet:
                talk.drain()
            yield record
            if "end" in record:
                return
        status = talk.status()
        talk.drain()
        why = talk.reason or self.death(status)
        if started or self.proven:
            raise Died("timeout" if talk.timed_out else "failed", why, talk.last_words())
        raise NotPython(self._not_python(talk.last_words(), why), why)

    def _not_python(self, said: str, why: str) -> str:
        if "SyntaxError" in said:  # the loader is Python 3; Python 2 cannot say more than this
            return f"{self.words} is no Python 3; the probes need {_FLOOR} or newer"
        parts = [f"{self.words} did not run the probes as a Python would ({why})"]
        parts += [f"it said: {said}"] if said else []
        return "; ".join([*parts, *filter(None, [self.advice()])])
