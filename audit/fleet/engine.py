"""What an engine is to `audit fleet`: the nodes that it knows, and a target for each of them. It schedules nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import NamedTuple, TypeVar

from audit.targets.target import Target

_E = TypeVar("_E", bound="Engine")

NO_PROGRAM = ("no such file or directory", "permission denied", "exec format error", ": not found")
"""What systems say of a program that cannot be started, in small letters."""


class Node(NamedTuple):
    """A machine of an engine. label: what its report is called, unique and a file's name; name: what the engine calls
    it; lost: why it cannot be asked ("": it can)."""

    label: str
    name: str
    lost: str = ""


class Engine(ABC):
    """Used as a context: what it started on nodes or here has ended behind it."""

    via: str
    python: str
    chosen: str
    """What stands in a report as the way to a node, its interpreter, and how that was chosen."""

    def __enter__(self: _E) -> _E:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End what is left of it."""

    @abstractmethod
    def nodes(self) -> list[Node]:
        """The nodes that the options ask for. Raises AuditError if the engine does not tell."""

    @abstractmethod
    def target(self, node: Node) -> Target:
        """A target whose children run there; its `beside` is called in a thread."""

    @abstractmethod
    def shown(self, nodes: list[Node]) -> str:
        """What is started for these nodes, as a shell takes it, one a line."""

    def why(self, error: Exception, said: str) -> str:
        """Why there is no report of a node, in words that can be kept in a file: of what it `said`, nothing."""
        return str(getattr(error, "reason", error))
