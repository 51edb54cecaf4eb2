"""A target as a command prefix that ends in a Python interpreter: this machine's, or one that `--via` reaches."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from audit.errors import TargetError
from audit.targets import bundle
from probes.bootstrap import FLOOR
from probes.session import Died, Record, Request, death

SECONDS_WITHOUT_PROGRESS = 120.0
"""How long a child may be silent. An emulated interpreter takes 20 s for what a real one does in 0.5 s."""

_FLOOR = ".".join(map(str, FLOOR))

_LINE_LIMIT = 64 << 20
_PIPE = 1 << 20
_PAUSE = 0.005
"""Seconds between two readings. Reading each record at once would wake this process on a CPU that a threaded BLAS of
the child counts on: its threads then spin for each other, and a battery of 0.25 s takes 0.34 s on two CPUs [measured].
"""

_KEPT_STDERR = 4000


class PrefixTarget:
    """Starts one child a request, always through its whole prefix."""

    def __init__(self, prefix: list[str], python: str, seconds: float = SECONDS_WITHOUT_PROGRESS) -> None:
        self.prefix = prefix
        self.python = python
        self.seconds = seconds

    @property
    def words(self) -> str:
        """The command, for a message to the person who typed it (never for a report)."""
        return shlex.join([*self.prefix, self.python])

    def launch(self, request: Request) -> Iterator[Record]:
        """Start a child, send it the bootstrap and yield its records.

        Raises TargetError if it is no usable Python, Died if it ends or falls silent before its last record.
        """
        token = "audit-" + secrets.token_hex(8)
        try:
            process = subprocess.Popen(
                [*self.prefix, self.python, "-c", bundle.LOADER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(f"cannot start {self.words}: {error.strerror or error}") from error
        with _ended(process):
            feeder = threading.Thread(target=_feed, args=(process, bundle.script(token, request)), daemon=True)
            feeder.start()
            reader = _Reader(process, token.encode(), self.seconds)
            yield from self._records(reader)

    def _records(self, reader: _Reader) -> Iterator[Record]:
        started = False
        for record in reader.records():
            if "too_old" in record:
                raise TargetError(f"{self.words} is Python {record['too_old']}; the probes need {_FLOOR} or newer")
            started = True
            yield record
            if "end" in record:
                return
        status = reader.status()
        if started:
            raise Died("timeout" if reader.timed_out else "failed", reader.reason or death(status))
        raise TargetError(self._not_python(reader, status))

    def _not_python(self, reader: _Reader, status: int) -> str:
        said = reader.last_words()
        if "SyntaxError" in said:  # the loader is Python 3; Python 2 cannot say more than this
            return f"{self.words} is no Python 3; the probes need {_FLOOR} or newer"
        why = reader.reason or death(status)
        message = f"{self.words} did not run the probes as a Python would ({why})"
        if said:
            message += f"; it said: {said}"
        if self.prefix and "qemu" in self.prefix[0]:
            message += "; an emulator needs the full path of a real interpreter, no script: --python /path/to/python3"
        return message


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the child and everything in its process group are gone afterwards.

    SIGTERM comes first: `docker run` and ssh pass it on to what they started elsewhere, which SIGKILL would leave.
    """
    try:
        yield
    finally:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        _signal(process, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _enlarge(descriptor: int) -> None:
    """A pipe that holds what a child prints between two readings, so that it never waits; where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError, AttributeError):  # F_SETPIPE_SZ: Python 3.10, within the user's pipe limit
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)


def _feed(process: subprocess.Popen[bytes], script: bytes) -> None:
    """Write the script while the reader reads: the child may print before it has read all of it."""
    assert process.stdin
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(script)
        process.stdin.close()


class _Reader:
    """Finds framed records between whatever else a child prints, with bounded memory."""

    def __init__(self, process: subprocess.Popen[bytes], token: bytes, seconds: float) -> None:
        self.process = process
        self.token = token + b" "
        self.seconds = seconds
        self.timed_out = False
        self.reason = ""
        self.errors = b""
        self.noise = b""

    def records(self) -> Iterator[Record]:
        buffer = b""
        for chunk in self._chunks():
            buffer += chunk
            if b"\n" not in chunk:
                if len(buffer) > _LINE_LIMIT or not _could_be_frame(buffer, self.token):
                    self.noise, buffer = (self.noise + buffer)[-_KEPT_STDERR:], b"\r"
                continue
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                record = _decoded(line[len(self.token) :]) if line.startswith(self.token) else None
                if record is not None:
                    yield record
                elif line.strip():
                    self.noise = (self.noise + line + b"\n")[-_KEPT_STDERR:]

    def _chunks(self) -> Iterator[bytes]:
        """Standard output in pieces, until it closes or nothing framed came for too long; errors are kept aside."""
        assert self.process.stdout
        assert self.process.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            selector.register(self.process.stderr, selectors.EVENT_READ)
            deadline = time.monotonic() + self.seconds
            for stream in (self.process.stdout, self.process.stderr):
                _enlarge(stream.fileno())
            while self.process.stdout.fileno() in {key.fd for key in selector.get_map().values()}:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events or time.monotonic() > deadline:  # silent, or nothing but noise
                    self.timed_out = True
                    self.reason = f"no progress for {self.seconds:.0f} s"
                    return
                for key, _ in events:
                    data = os.read(key.fd, _PIPE)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self.process.stderr:
                        self.errors = (self.errors + data)[-_KEPT_STDERR:]
                    else:
                        if self.token in data:
                            deadline = time.monotonic() + self.seconds
                        yield data
                time.sleep(_PAUSE)

    def status(self) -> int:
        """The child's exit status; 1 for one that had to be given up."""
        if self.timed_out:
            return 1
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.reason = self.reason or "it closed its output and went on"
            return 1

    def last_words(self) -> str:
        """The last line that the child printed to standard error, else to standard output; at most 200 characters."""
        for said in (self.errors, self.noise):
            lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()[:200]
        return ""


def _decoded(frame: bytes) -> Record | None:
    """A framed record, or None for what only looks like one."""
    try:
        record = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _could_be_frame(buffer: bytes, token: bytes) -> bool:
    return buffer.startswith(token) or token.startswith(buffer)


def find_python(chosen: str | None) -> tuple[str, str]:
    """The interpreter to audit on this machine and how it was chosen: as told, the active environment, audit's own.

    Raises TargetError if it is not there.
    """
    if chosen:
        path = shutil.which(os.path.expanduser(chosen))
        if not path:
            raise TargetError(f"--python {chosen}: no such command on this machine")
        return path, "as --python says"
    for variable, words in (
        ("VIRTUAL_ENV", "active virtual environment"),
        ("CONDA_PREFIX", "active conda environment"),
    ):
        folder = os.environ.get(variable)
        if folder and (Path(folder) / "bin" / "python").exists():
            return str(Path(folder) / "bin" / "python"), words
    return sys.executable, "audit's own"
