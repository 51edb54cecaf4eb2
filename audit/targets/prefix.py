"""A target as a command prefix that ends in a Python interpreter: this machine's, or one that `--via` reaches."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from audit.errors import TargetError
from audit.targets import bundle
from probes import interrupts
from probes.bootstrap import FLOOR
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, Record, Request, death

_FLOOR = ".".join(map(str, FLOOR))

_LINE_LIMIT = 64 << 20
_NOISE_LIMIT = 1 << 30
_PIPE = 1 << 20
_MUCH = 1 << 16
_PAUSE = 0.005
"""Seconds between two readings. Reading each record at once would wake this process on a CPU that a threaded BLAS of
the child counts on: its threads then spin for each other, and a battery of 0.25 s takes 0.34 s on two CPUs [measured].
"""

_KEPT = 4000


class PrefixTarget:
    """Starts one child a request, always through its whole prefix."""

    def __init__(self, prefix: list[str], python: str, seconds: float = SECONDS_WITHOUT_PROGRESS) -> None:
        self.prefix = prefix
        self.python = python
        self.seconds = seconds
        self.proven = False  # that it is a Python which runs the probes

    @property
    def words(self) -> str:
        """The command, for a message to the person who typed it (never for a report)."""
        return shlex.join([*self.prefix, self.python])

    def launch(self, request: Request) -> Iterator[Record]:
        """Start a child, send it the bootstrap and yield its records.

        Raises TargetError if it is no usable Python, Died if it ends or falls silent before its last record.
        """
        token = "audit-" + secrets.token_hex(8)
        with interrupts.held():  # no signal may come between a start and its end
            process = self._start()
            try:
                with interrupts.allowed():
                    yield from self._records(_Talk(process, token, bundle.script(token, request), self.seconds))
            finally:
                _end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [*self.prefix, self.python, "-c", bundle.LOADER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            if self.proven:
                raise Died("failed", f"cannot be started again: {error.strerror or error}") from None
            raise TargetError(self._unstartable(error)) from None

    def _unstartable(self, error: OSError) -> str:
        """Why nothing could be started at all, and what to do."""
        program = (self.prefix or [self.python])[0]
        if isinstance(error, FileNotFoundError) and os.path.exists(program):
            return f"cannot start {self.words}: the interpreter in the first line of {program} does not exist"
        if isinstance(error, FileNotFoundError):
            return f"cannot start {self.words}: no such command: {program}"
        if error.errno == errno.ENOEXEC:
            return f"cannot start {self.words}: {program} is no program for this machine (Exec format error)"
        if error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            return f"cannot start {self.words}: {error.strerror}; a limit of yours is reached (ulimit -a shows them)"
        return f"cannot start {self.words}: {error.strerror or error}"

    def _records(self, talk: _Talk) -> Iterator[Record]:
        for record in talk.records():
            if "too_old" in record:
                raise TargetError(f"{self.words} is Python {record['too_old']}; the probes need {_FLOOR} or newer")
            self.proven = True
            yield record
            if "end" in record:
                return
        status = talk.status()
        if self.proven:
            raise Died("timeout" if talk.timed_out else "failed", talk.reason or death(status), talk.last_words())
        raise TargetError(self._not_python(talk, status))

    def _not_python(self, talk: _Talk, status: int) -> str:
        said = talk.last_words()
        if "SyntaxError" in said:  # the loader is Python 3; Python 2 cannot say more than this
            return f"{self.words} is no Python 3; the probes need {_FLOOR} or newer"
        message = f"{self.words} did not run the probes as a Python would ({talk.reason or death(status)})"
        if said:
            message += f"; it said: {said}"
        if self.prefix and "qemu" in self.prefix[0]:
            return message + "; an emulator needs the full path of a real interpreter: --python /path/to/python3"
        return message + f"; see what this says: {self.words} -m platform"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened, the child and everything in its process group are gone afterwards.

    SIGTERM comes first: `docker run` and ssh pass it on to what they started elsewhere, which SIGKILL would leave.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        # After SIGKILL, too: it may be another user's, or hang in a driver.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _enlarge(descriptor: int) -> None:
    """A pipe that holds what a child prints between two readings, so that it never waits; where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError, AttributeError):  # F_SETPIPE_SZ: Python 3.10, within the user's pipe limit
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)


class _Talk:
    """Feeds a child its script and finds framed records between whatever else it prints, with bounded memory."""

    def __init__(self, process: subprocess.Popen[bytes], token: str, script: bytes, seconds: float) -> None:
        self.process = process
        self.frame = f"\n{token} ".encode()
        self.script = memoryview(script)
        self.seconds = seconds
        self.timed_out = False
        self.reason = ""
        self.errors = b""
        self.noise = b""
        self._progress()

    def _progress(self) -> None:
        self.deadline = time.monotonic() + self.seconds
        self.noisy = 0  # bytes since then that were no record

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
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(errors, selectors.EVENT_READ)
            selector.register(script, selectors.EVENT_WRITE)
            while output in selector.get_map():
                most = 0
                for key, _ in selector.select(max(0.0, self.deadline - time.monotonic())):
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
                            self.errors = (self.errors + data[-_KEPT:])[-_KEPT:]
                            self.noisy += len(data)
                    if done:
                        selector.unregister(key.fd)
                if self._hopeless():
                    return
                if most < _MUCH:
                    time.sleep(_PAUSE)

    def _streams(self) -> tuple[int, int, int]:
        """The descriptors of standard output, error and input, made ready."""

        def descriptor(stream: IO[bytes] | None) -> int:
            assert stream
            _enlarge(stream.fileno())
            return stream.fileno()

        process = self.process
        output, errors, script = map(descriptor, (process.stdout, process.stderr, process.stdin))
        os.set_blocking(script, False)  # the child may print before it has read all of it
        return output, errors, script

    def _feed(self, descriptor: int) -> bool:
        """Write what fits of the script; whether that was the last, or the child reads no more."""
        try:
            self.script = self.script[os.write(descriptor, self.script) :]
        except BlockingIOError:
            return False
        except OSError:
            self.script = self.script[:0]
        if not self.script and self.process.stdin:
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

    def last_words(self) -> str:
        """The last line that the child printed to standard error, else to standard output; at most 200 characters."""
        for said in (self.errors, self.noise):
            lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip("\0 \t")]
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


def find_python(chosen: str | None) -> tuple[str, str]:
    """The interpreter to audit on this machine and how it was chosen: as told, the active environment, audit's own.

    Raises TargetError if it is not there.
    """
    if chosen:
        path = shutil.which(os.path.expanduser(chosen))
        if not path:
            raise TargetError(f"--python {chosen}: {_unusable(os.path.expanduser(chosen))}")
        return path, "as --python says"
    for variable, words in (
        ("VIRTUAL_ENV", "active virtual environment"),
        ("CONDA_PREFIX", "active conda environment"),
    ):
        folder = os.environ.get(variable)
        if folder and (Path(folder) / "bin" / "python").exists():
            return str(Path(folder) / "bin" / "python"), words
    return sys.executable, "audit's own"


def _unusable(path: str) -> str:
    if os.path.isdir(path):
        return "a folder, not an interpreter; is it its bin/python?"
    if os.path.exists(path):
        return "not executable (chmod +x), or not by you"
    return "no such command on this machine"
