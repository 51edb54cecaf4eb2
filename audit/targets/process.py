"""A process beside others in a container that runs already. The engine can start one there and cannot end it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

_SECONDS = 1.0
"""For each way to end; the first is that it ends by itself, as what has sent its last record does."""

_END = """
import os, sys
number, mark = sys.argv[1:]
for name in os.listdir("/proc"):
    try:
        with open("/proc/" + name + "/cmdline") as file:
            if name != str(os.getpid()) and mark in file.read().split(chr(0)):
                os.killpg(os.getpgid(int(name)), int(number))
    except (OSError, ValueError):
        pass
"""
"""Ends the process group of whatever was started with a mark. An engine starts each process in a group of its own."""


class Process:
    """A process with its input and output attached. The last of its arguments is a mark: nothing else has it.

    Raises APIError or OSError if it cannot be started.
    """

    def __init__(self, client: DockerClient, container: str, command: list[str]) -> None:
        self.client = client
        self.container = container
        self.interpreter = command[0]
        self.mark = "audit-" + secrets.token_hex(8)
        self.id = client.api.exec_create(container, [*command, self.mark], stdin=True)["Id"]
        self.connection = client.api.exec_start(self.id, socket=True)

    def status(self, seconds: float = 5 * _SECONDS) -> int | None:
        """The exit status; None if it has not ended by then. Raises OSError."""
        deadline = time.monotonic() + seconds
        while (found := self._inspected())["Running"] or found["ExitCode"] is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        return int(found["ExitCode"])

    def end(self) -> None:
        """The process and all that it started are ended, if the engine still answers."""
        with contextlib.suppress(OSError):
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self.status(_SECONDS) is not None:
                    return
                self._signal(number)
            self.status(_SECONDS)

    def _inspected(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.api.exec_inspect(self.id)
        return found

    def _signal(self, number: int) -> None:
        """From outside where the engine's processes are this machine's, and ours to end; else from inside."""
        pid = int(self._inspected().get("Pid") or 0)
        with contextlib.suppress(OSError):
            if pid and self.mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.killpg(os.getpgid(pid), number)
                return
        ending = [self.interpreter, "-I", "-S", "-c", _END, str(int(number)), self.mark]
        self.client.api.exec_start(self.client.api.exec_create(self.container, ending)["Id"], detach=True)
