"""A process behind an engine's API with three pipes, like a child of our own: the engine mixes its streams into one."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any

_STDOUT = 1
_CHUNK = 1 << 16
_SECONDS = 1.0
"""How long a thread is waited for that has nothing to do any more; it holds nothing but itself."""

Connection = Any
"""What docker-py gives for a connection that was taken over: another class for each transport (a file over a UNIX or
TCP socket, a TLS socket, the pipes of an ssh process, a channel of paramiko's)."""


class Attached:
    """stdin, stdout and stderr as `subprocess.Popen` has them, and `wait`.

    await_end: waits a moment for the exit status; None if the process has not ended by then.
    """

    def __init__(self, connection: Connection, await_end: Callable[[], int | None]) -> None:
        self._connection = connection
        self._await_end = await_end
        # What came right behind the answer's head is in the answer's own buffer, and nowhere else.
        self._source = connection._response.raw._fp.fp
        self._raw = getattr(connection, "_sock", None) or connection
        with contextlib.suppress(AttributeError, OSError):
            self._raw.settimeout(None)  # a child may be silent, and slow to read; who talks to it counts the seconds
        take, stdin = os.pipe()
        stdout, put_out = os.pipe()
        stderr, put_err = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb", 0)
        self.stderr: IO[bytes] = os.fdopen(stderr, "rb", 0)
        self._threads = [
            threading.Thread(target=self._feed, args=(take,), daemon=True),
            threading.Thread(target=self._part, args=(put_out, put_err), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired if the process has not ended in its moment."""
        status = self._await_end()
        if status is None:
            raise subprocess.TimeoutExpired("container", timeout or 0.0)
        return status

    def close(self) -> None:
        """Let go of the pipes and the connection; the threads end of it."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self._raw.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it, which closing alone does not
        for thread in self._threads:
            thread.join(_SECONDS)
        if not any(thread.is_alive() for thread in self._threads):  # closing what is read would wait for its reader
            with contextlib.suppress(OSError, ValueError):
                self._source.close()
        with contextlib.suppress(OSError, ValueError):
            self._raw.close()
        with contextlib.suppress(OSError, ValueError):
            self._connection._response.close()

    def _feed(self, take: int) -> None:
        with contextlib.suppress(Exception), os.fdopen(take, "rb", 0) as script:  # each transport has its own errors
            while chunk := script.read(_CHUNK):
                self._raw.sendall(chunk)
            # The connection stays open: half of one cannot be closed through TLS, ssh and most proxies.

    def _part(self, put_out: int, put_err: int) -> None:
        # Frames: the stream's number, three zeros, the size, the data. Source: Docker Engine API, "Attach to a
        # container". docker-py's own reader waits for the socket although TLS has decrypted what it waits for.
        with contextlib.suppress(Exception):  # the engine went away, or nobody reads any more
            while len(head := self._source.read(8)) == 8:
                stream, size = struct.unpack(">BxxxL", head)
                while size and (data := self._source.read(min(size, _CHUNK))):
                    size -= len(data)
                    _write(put_out if stream == _STDOUT else put_err, data)
        os.close(put_out)
        os.close(put_err)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
