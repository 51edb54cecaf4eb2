"""A process behind an engine's API with three pipes, like a child of our own: the engine mixes its streams into one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any

_STDOUT = 1
_CHUNK = 1 << 16


class Attached:
    """stdin, stdout and stderr as `subprocess.Popen` has them, and `wait`.

    connection: what `attach_socket` or `exec_start(socket=True)` gave; await_end: blocks until the
    exit status is known.
    """

    def __init__(self, connection: Any, await_end: Callable[[], int]) -> None:
        self._connection = connection
        self._ended = threading.Event()
        self._status = 1
        take, stdin = os.pipe()
        stdout, put_out = os.pipe()
        stderr, put_err = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb", 0)
        self.stderr: IO[bytes] = os.fdopen(stderr, "rb", 0)
        for work, arguments in (
            (self._feed, (take,)),
            (self._part, (put_out, put_err)),
            (self._await, (await_end,)),
        ):
            threading.Thread(target=work, args=arguments, daemon=True).start()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired if the process has not ended by then."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("container", timeout or 0.0)
        return self._status

    def close(self) -> None:
        """Let go of the pipes and the connection."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        with contextlib.suppress(OSError):
            self._connection.close()

    def _feed(self, take: int) -> None:
        # docker-py gives the socket itself or a file over it, as the transport is.
        raw = getattr(self._connection, "_sock", self._connection)
        with contextlib.suppress(OSError), os.fdopen(take, "rb", 0) as source:
            while chunk := source.read(_CHUNK):
                raw.sendall(chunk)

    def _part(self, put_out: int, put_err: int) -> None:
        from docker.utils.socket import frames_iter

        try:
            for stream, data in frames_iter(self._connection, tty=False):
                view = memoryview(data)
                while view:
                    view = view[os.write(put_out if stream == _STDOUT else put_err, view) :]
        except (OSError, ValueError):  # the engine went away, or nobody reads any more
            pass
        finally:
            os.close(put_out)
            os.close(put_err)

    def _await(self, await_end: Callable[[], int]) -> None:
        with contextlib.suppress(Exception):  # whatever an engine that goes away makes of it: the status is not known
            self._status = await_end()
        self._ended.set()
