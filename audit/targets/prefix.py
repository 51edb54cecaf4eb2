"""A target as a command prefix that ends in a Python interpreter: this machine's, or one that `--via` reaches."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from audit.errors import TargetError
from audit.targets import bundle
from audit.targets.talk import Child, Talk
from audit.targets.target import Target
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, Request


class PrefixTarget(Target):
    """Starts each child through its whole prefix."""

    def __init__(self, prefix: list[str], python: str, seconds: float = SECONDS_WITHOUT_PROGRESS) -> None:
        super().__init__(seconds)
        self.prefix = prefix
        self.python = python

    @property
    def words(self) -> str:
        return shlex.join([*self.prefix, self.python])

    def start(self) -> Child:
        try:
            return subprocess.Popen(
                [*self.command(), "-c", bundle.LOADER],
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

    def command(self) -> list[str]:
        """The whole prefix and the interpreter. Variables are put in at its end, so that they reach another machine;
        but in front of an emulator: what runs in it cannot start a command without leaving it."""
        if not self.variables:
            return [*self.prefix, self.python]
        gone = [word for name, value in self.variables.items() if not value for word in ("-u", name)]
        words = ["env", *gone, *(f"{name}={value}" for name, value in self.variables.items() if value)]
        emulator = self._emulator()
        return [*self.prefix[: len(self.prefix) - len(emulator)], *words, *emulator, self.python]

    def use(self, python: str) -> None:
        self.python = python

    def _emulator(self) -> list[str]:
        """The words of the prefix from an emulator on, if there is one."""
        at = next((n for n, word in enumerate(self.prefix) if os.path.basename(word).startswith("qemu-")), None)
        return self.prefix[at:] if at is not None else []

    def begun(self, request: Request) -> Talk:
        # What an emulated process starts is not emulated, unless it starts the emulator anew.
        return super().begun({**request, "emulator": self._emulator()})

    def advice(self) -> str:
        if self.prefix and "qemu" in self.prefix[0]:
            return "an emulator needs the full path of a real interpreter, no script: --python /path/python3"
        return f"see what this says: {self.words} -m platform"

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

    def end(self, child: Child) -> None:
        """The child and everything in its process group are ended.

        SIGTERM comes first: `docker run` and ssh pass it on to what they started elsewhere, which SIGKILL would leave.
        """
        assert isinstance(child, subprocess.Popen)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
            # After SIGKILL, too: it may be another user's, or hang in a driver.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


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
