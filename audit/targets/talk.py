"""What is said to a child and what it answers: the script in, framed records out between whatever else it prints."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Protocol, TypeVar

from audit.targets.bundle import PRINTED
from probes import interrupts
from probes.session import ENDING, Record

_LINE_LIMIT = 64 << 20
_NOISE_LIMIT = 1 << 30
_PIPE = 1 << 20
_MUCH = 1 << 16
_PAUSE = 0.005
"""Seconds between two readings. Reading each record at once would wake this process on a CPU that a threaded BLAS of
the child counts on: its threads then spin for each other, and a battery of 0.25 s takes 0.34 s on two CPUs [measured].
"""

_KEPT = 4000

_MOMENT = 0.5
"""Seconds until it is noticed that another thread gives a child up."""

_LATE = 0.02
"""Seconds in which what was printed before a record may come behind it."""

_MOST_LATE = 64
"""So many readings of that: what a child left behind may print for ever."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class Child(Protocol):
    """A started process with three pipes: `subprocess.Popen`, or one behind an engine's API."""

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def stderr(self) -> IO[bytes] | None: ...

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        ...


class Talk:
    """Feeds a child its script and finds framed records between whatever else it prints, with bounded memory.

    outlet: what takes the standard error of a child that runs a person's own program, as it comes. Then signals must be
    held: the first asks the child to end the program and to tell what it has, by a byte behind the script and its end.
    queue: how many seconds more the first record may take, of a child that waits for its place.
    """

    def __init__(
        self,
        process: Child,
        token: str,
        script: bytes,
        seconds: float,
        outlet: Callable[[bytes], None] | None = None,
        queue: float = 0.0,
    ) -> None:
        self.process = process
        self.outlet = outlet
        self.asked = False
        self.frame = f"\n{token} ".encode()
        self.script = memoryview(script)
        self.seconds = seconds
        self.queue = queue
        self.timed_out = False
        self.reason = ""
        self.errors = b""
        self.noise = b""
        self.streams: tuple[int, int, int] | None = None
        self._progress()

    def begin(self) -> None:
        """Send what the child takes of its script, before anybody waits for what it answers."""
        script = self._streams()[2]
        while not self._feed(script) and select.select([], [script], [], _LATE)[1]:
            pass

    def _progress(self) -> None:
        self.deadline = time.monotonic() + self.seconds
        self.noisy = 0  # bytes since then that were no record

    def stop(self, reason: str) -> None:
        """From another thread: give the child up within a moment."""
        self.reason = reason

    def records(self) -> Iterator[Record]:
        """Every record as it comes, until standard output closes or `reason` says why it was given up."""
        buffer = b"\n"
        for chunk in self._chunks():
            buffer += chunk
            while (start := buffer.find(self.frame)) >= 0:
                self._keep(buffer[:start])
                buffer = buffer[start:]
                stop = buffer.find(b"\n", len(self.frame))
                if stop < 0:
                    break
                record = _decoded(buffer[len(self.frame) : stop])
                if record is not None:
                    self._progress()
                    yield record
                buffer = buffer[stop:]
            if not buffer.startswith(self.frame):  # nothing but, perhaps, the beginning of a frame's mark
                self._keep(buffer[: -len(self.frame)])
                buffer = buffer[-len(self.frame) :]
            elif len(buffer) < _LINE_LIMIT:
                self._progress()  # a long record on a slow line
            else:
                buffer = b""
        self._keep(buffer)

    def _keep(self, noise: bytes) -> None:
        self.noise = (self.noise + noise[-_KEPT:])[-_KEPT:]
        self.noisy += len(noise)

    def _chunks(self) -> Iterator[bytes]:
        """Standard output in pieces. Pauses while little comes; what comes in floods is read until it ends."""
        output, errors, script = self._streams()
        self._progress()
        self.deadline += self.queue
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(errors, selectors.EVENT_READ)
            if self.script:
                selector.register(script, selectors.EVENT_WRITE)
            while output in selector.get_map():
                most = 0
                patience = min(_MOMENT, max(0.0, self.deadline - time.monotonic()))
                for key, _ in self._taken_up(selector.select, patience) or ():
                    if key.fd == script:
                        done = self._feed(script)
                        most = _MUCH
                    else:
                        data = os.read(key.fd, _PIPE)
                        done = not data
                        most = max(most, len(data))
                        if key.fd == output:
                            yield data
                        else:
                            self._said(data)
                    if done:
                        selector.unregister(key.fd)
                if self._hopeless():
                    return
                if most < _MUCH:
                    time.sleep(_PAUSE)

    def _said(self, data: bytes) -> None:
        self.errors = (self.errors + data[-_KEPT:])[-_KEPT:]
        if self.outlet:
            self._taken_up(self.outlet, data)
            self._progress()  # however long the reader took
        else:
            self.noisy += len(data)

    def drain(self) -> None:
        """Take what was printed to standard error before the last record, or before the end: it comes another way."""
        errors = self._streams()[1]
        for _ in range(_MOST_LATE):
            if not (select.select([errors], [], [], _LATE)[0] and (data := os.read(errors, _PIPE))):
                return
            self._said(data)

    def _taken_up(self, function: Callable[[_T], _R], given: _T) -> _R | None:
        """What can take long. Beside a program a signal is a wish about that, and only the second one ends this."""
        if not self.outlet:
            return function(given)
        try:
            with interrupts.allowed():
                return function(given)
        except KeyboardInterrupt:
            if self.asked:
                raise
            self._ask_to_end(self.outlet)
        return None

    def _ask_to_end(self, outlet: Callable[[bytes], None]) -> None:
        self.asked = True
        outlet(f"\n{ENDING}\n".encode())
        stream = self.process.stdin
        if stream and not self.script:
            with contextlib.suppress(OSError):
                os.write(stream.fileno(), b"\n")
                stream.close()

    def _streams(self) -> tuple[int, int, int]:
        """The descriptors of standard output, error and input, made ready."""

        def descriptor(stream: IO[bytes] | None) -> int:
            assert stream
            _enlarge(stream.fileno())
            return stream.fileno()

        if self.streams is None:
            process = self.process
            output, errors, script = map(descriptor, (process.stdout, process.stderr, process.stdin))
            os.set_blocking(script, False)  # the child may print before it has read all of it
            self.streams = output, errors, script
        return self.streams

    def _feed(self, descriptor: int) -> bool:
        """Write what fits of the script; whether that was the last, or the child reads no more."""
        try:
            self.script = self.script[os.write(descriptor, self.script) :]
        except BlockingIOError:
            return False
        except OSError:
            self.script = self.script[:0]
        if not self.script and self.process.stdin and (self.asked or not self.outlet):
            self.process.stdin.close()
        return not self.script

    def _hopeless(self) -> bool:
        if time.monotonic() > self.deadline:  # silent, or nothing but noise
            self.timed_out = True
            self.reason = f"no progress for {self.seconds:.0f} s"
        elif self.noisy > _NOISE_LIMIT:
            self.reason = f"it printed {_NOISE_LIMIT >> 30} GiB and no record"
        return bool(self.reason)

    def status(self) -> int:
        """The child's exit status; 1 for one that had to be given up."""
        if self.reason:
            return 1
        try:
            return self.process.wait(min(5.0, self.seconds))
        except subprocess.TimeoutExpired:
            self.reason = "it closed its output and went on"
            return 1

    @property
    def said(self) -> str:
        """The end of what the child printed to standard error."""
        return self.errors.decode("utf-8", "replace")

    def last_words(self) -> str:
        """The last line that the child printed to standard error, else to standard output; at most 200 characters."""
        for said in (self.errors, self.noise):
            lines = [
                line
                for line in said.decode("utf-8", "replace").splitlines()
                if line.strip("\0 \t") not in ("", PRINTED)
            ]
            if lines:
                return lines[-1].strip()[:200]
        return ""


def _enlarge(descriptor: int) -> None:
    """A pipe that holds what a child prints between two readings, so that it never waits; where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError, AttributeError):  # F_SETPIPE_SZ: Python 3.10, within the user's pipe limit
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)


def _decoded(frame: bytes) -> Record | None:
    """A framed record, or None for what only looks like one."""
    try:
        record = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
