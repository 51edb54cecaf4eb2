"""A target: where probes run. Each request is answered by a child of its own; how one is started is the subclass's."""

from __future__ import annotations

import copy
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from audit.errors import TargetError
from audit.targets import bundle
from audit.targets.talk import Child, Talk
from probes import interrupts
from probes.bootstrap import FLOOR
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, Record, Request, death

Facts = dict[str, dict[str, Any]]
"""Facts as they stand in a report: {"value", "source"}, or {"status", "reason"} where there is none."""

_FLOOR = ".".join(map(str, FLOOR))
_T = TypeVar("_T", bound="Target")


class Target(ABC):
    """Starts one child a request. seconds: how long a child may show no progress."""

    def __init__(self, seconds: float = SECONDS_WITHOUT_PROGRESS) -> None:
        self.seconds = seconds
        self.proven = False  # that it is a Python which runs the probes
        self.variables: dict[str, str] = {}
        self.calls: dict[str, str] = {}

    @property
    @abstractmethod
    def words(self) -> str:
        """What is started, for a message to the person who typed it (never for a report)."""

    @abstractmethod
    def start(self) -> Child:
        """Start an interpreter with the loader. Raises TargetError, or Died if one could be started before."""

    @abstractmethod
    def end(self, child: Child) -> None:
        """Whatever happened, the child and all that it started are gone before another is started, or after `close`."""

    def prepare(self) -> None:  # noqa: B027 - nothing to do for most
        """Begin to start the first child, beside whatever this process does; `close` ends one that was not needed."""

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
        token = "audit-" + secrets.token_hex(8)
        if self.calls:
            request = {**request, "calls": self.calls}
        with interrupts.held():  # no signal may come between a start and its end
            child = self.start()
            try:
                with interrupts.allowed():
                    yield from self._records(Talk(child, token, bundle.script(token, request), self.seconds))
            finally:
                self.end(child)

    def _records(self, talk: Talk) -> Iterator[Record]:
        started = False
        for record in talk.records():
            if "too_old" in record:
                raise TargetError(f"{self.words} is Python {record['too_old']}; the probes need {_FLOOR} or newer")
            started = self.proven = True
            yield record
            if "end" in record:
                return
        status = talk.status()
        why = talk.reason or self.death(status)
        if started or self.proven:
            raise Died("timeout" if talk.timed_out else "failed", why, talk.last_words())
        raise TargetError(self._not_python(talk.last_words(), why))

    def _not_python(self, said: str, why: str) -> str:
        if "SyntaxError" in said:  # the loader is Python 3; Python 2 cannot say more than this
            return f"{self.words} is no Python 3; the probes need {_FLOOR} or newer"
        parts = [f"{self.words} did not run the probes as a Python would ({why})"]
        parts += [f"it said: {said}"] if said else []
        return "; ".join([*parts, *filter(None, [self.advice()])])
