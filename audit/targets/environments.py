"""Throw-away environments with other versions of some packages and otherwise all that the audited one has, made by uv.

Each is a virtual environment of the same interpreter, in a temporary folder, whose own packages stand before those of
the audited environment: nothing is installed but what is to be another, and nothing else can change. Only wheels are
installed, because building one would run a package's own code.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.errors import AuditError, TargetError
from audit.targets import engine
from audit.targets.prefix import PrefixTarget
from probes import interrupts
from probes.session import Notify

SECONDS_TO_ASK = 120.0
SECONDS_TO_INSTALL = 1800.0
"""How long uv or an interpreter may take for an answer, and uv to install: a package can have gigabytes."""

_ALONE = "import sys; sys.path[:] = filter(None, sys.path)\n"
"""First of all, so that nothing in the working folder is taken for a module or a package."""

_ASKED = """import json, os
sites = [one for one in sys.path if os.path.basename(one) in ("site-packages", "dist-packages")]
sites = [os.path.abspath(one) for one in sites if os.path.isdir(one)]
print("\\n" + json.dumps({"python": sys.executable, "sites": sites, "here": os.path.isdir(sys.argv[1])}))
"""

_INSTALLED = """import json
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = "none"
print("\\n" + json.dumps(found))
"""

_FOLDER = "audit-environments-"
"""What the names of temporary folders begin with; after it comes who made it."""

_REST = "zz_the_rest.pth"
"""Read after every other file of its kind, it puts the audited environment behind the new one's packages."""

_ELSEWHERE = (
    *("UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PROJECT", "UV_WORKING_DIR", "UV_VENV_SEED"),
    *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_REQUIRE_HASHES", "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE"),
)
"""Variables by which uv would install at another place, or something else than it is told."""

_REASONS = (
    (("no version of",), "there is no such version"),
    (("no usable wheels", "no wheels with", "only has wheels"), "no wheel for this Python and machine"),
    (("not found in the package registry", "not found in the provided", "no versions of"), "there is no such package"),
)
"""What uv says, and what it comes to."""

_UNREACHABLE = ("error sending request", "dns error", "failed to fetch", "request failed", "took more than")


class Environments:
    """unavailable: versions that cannot be had, with the reason. wheels: a folder that all wheels are taken from, in
    place of where uv gets them.

    Raises AuditError if there is no uv, or no such folder.
    """

    def __init__(self, target: PrefixTarget, wheels: str | None, notify: Notify) -> None:
        self.original = target
        self.notify = notify
        self.unavailable: dict[str, str] = {}
        self._uv = find_uv()
        if wheels is not None and not os.path.isdir(wheels):
            raise AuditError(
                f"--wheels {wheels}: no such folder; it is where the wheel files are (pip download fills one)"
            )
        self._from = ["--no-index", "--offline", "--find-links", os.path.abspath(wheels)] if wheels is not None else []
        self._place = "in --wheels" if wheels is not None else "where uv looks"
        self._asked: dict[str, Any] = {}
        self._made: dict[tuple[tuple[str, str], ...], str] = {}
        with interrupts.held():  # there is no folder that nobody removes
            _sweep()
            self._folder = tempfile.mkdtemp(prefix=_FOLDER + engine.owner().replace(":", "-") + "-")
            self._removed = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def close(self) -> None:
        """Remove what was made; it is removed at the latest when this process ends."""
        with interrupts.held():
            self._removed()

    def begin(self) -> None:
        """See that environments can be made of the audited interpreter. Raises TargetError."""
        if self._asked:
            return
        asked = _ask([*self.original.prefix, self.original.python, "-B", "-c", _ALONE + _ASKED, self._folder])
        if not asked.get("here"):
            raise TargetError("environments are made on this machine, and --via reaches another; run audit there")
        self._asked = asked
        self._made[()] = self._make(())

    def available(self, versions: dict[str, str]) -> dict[str, str]:
        """Those versions that can be had. The others are found by halves, since most can, and each has its reason."""
        if not versions:
            return {}
        self.begin()
        words = ", ".join(versions) if len(versions) == 1 else f"{len(versions)} packages"
        self.notify(f"looking for other versions of {words}", 0, 0)
        return self._available(list(versions.items()))

    def _available(self, versions: Sequence[tuple[str, str]]) -> dict[str, str]:
        said = self._said(["pip", "install", "--dry-run", *self._into(self._made[()]), *_pinned(versions)])
        if not said:
            return dict(versions)
        unreachable = any(words in said.lower() for words in _UNREACHABLE)
        if len(versions) == 1 or unreachable:
            why = "where uv looks cannot be reached" if unreachable else self._why(said)
            self.unavailable.update({name: f"{version}: {why}" for name, version in versions})
            return {}
        half = len(versions) // 2
        return {**self._available(versions[:half]), **self._available(versions[half:])}

    def target(self, versions: dict[str, str]) -> PrefixTarget:
        """The audited target with these versions. Raises TargetError if there can be none."""
        key = tuple(sorted(versions.items()))
        if key not in self._made:
            self.begin()
            self.notify(f"making an environment with {_few(key)}", 0, 0)
            self._made[key] = self._make(key)
        return PrefixTarget(self.original.prefix, self._made[key], self.original.seconds)

    def _make(self, versions: Sequence[tuple[str, str]]) -> str:
        """A new environment; its interpreter. Raises TargetError."""
        folder = os.path.join(self._folder, str(len(os.listdir(self._folder))))
        python = os.path.join(folder, "bin", "python")
        steps = [["venv", "--no-project", "--no-python-downloads", "--python", self._asked["python"], folder]]
        if versions:
            steps.append(["pip", "install", *self._into(python), *_pinned(versions)])
        for step in steps:
            said = self._said(step, SECONDS_TO_INSTALL)
            if said:
                raise TargetError(f"no environment{f' with {_few(versions)}' if versions else ''}: {self._why(said)}")
        for site in Path(folder).glob("lib/*/site-packages"):
            lines = [f"import site; site.addsitedir({one!a})\n" for one in self._asked["sites"]]
            (site / _REST).write_text("".join(lines), encoding="ascii")
        self._check(python, dict(versions))
        return python

    def _check(self, python: str, versions: dict[str, str]) -> None:
        """See that these versions are what an import finds, through the whole prefix. Raises TargetError."""
        found = _ask([*self.original.prefix, python, "-B", "-c", _ALONE + _INSTALLED, *versions])
        for name, version in versions.items():
            if found.get(name) != version:
                why = "PYTHONPATH is set" if os.environ.get("PYTHONPATH") else "another one stands before it"
                raise TargetError(f"{name} {version} was installed, but {found.get(name)} is found; {why}")

    def _into(self, python: str) -> list[str]:
        """Options of `uv pip install`: this package and no other, as a wheel, for that interpreter."""
        return ["--python", python, "--no-deps", "--no-build", "--no-python-downloads", *self._from]

    def _said(self, words: Sequence[str], seconds: float = SECONDS_TO_ASK) -> str:
        """What uv said of why it failed; "" if it did not."""
        environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        # A folder's own uv.toml is not the user's: it may have come with the report.
        command = [self._uv, "--quiet", "--no-progress", "--color", "never", *words]
        try:
            done = _run(command, seconds, environment, folder="/")
        except TargetError as error:
            return str(error)
        return "" if done.returncode == 0 else done.stderr.strip() or f"uv ended with status {done.returncode}"

    def _why(self, said: str) -> str:
        """In few words why something could not be had."""
        text = " ".join(said.split())
        for signs, words in _REASONS:
            if any(sign in text.lower() for sign in signs):
                return f"{words} {self._place}"
        return said.splitlines()[0].removeprefix("error: ").strip()[:200]


def _sweep() -> None:
    """Remove folders whose maker was this user, here, and was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        maker = ":".join(folder.name.removeprefix(_FOLDER).split("-")[:3])
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and engine.abandoned({"Labels": {engine.LABEL: maker}}):
                shutil.rmtree(folder, ignore_errors=True)


def find_uv() -> str:
    """uv beside the auditor's own interpreter, else on the path. Raises AuditError if there is none."""
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    found = shutil.which(beside) or shutil.which("uv")
    if not found:
        raise AuditError("environments with other packages are made by uv, which is not here: pip install uv")
    return found


def _pinned(versions: Sequence[tuple[str, str]]) -> list[str]:
    return ["--", *(f"{name}=={version}" for name, version in versions)]


def _few(versions: Sequence[tuple[str, str]]) -> str:
    named = ", ".join(" ".join(one) for one in versions[:2])
    return f"{named} and {len(versions) - 2} more" if len(versions) > 2 else named


def _ask(command: Sequence[str]) -> dict[str, Any]:
    """What an interpreter answers: the last line that it prints, in JSON. Raises TargetError."""
    done = _run(command, SECONDS_TO_ASK)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if done.returncode or not isinstance(answer, dict):
        said = done.stderr.strip().splitlines()
        raise TargetError(said[-1][:200] if said else f"{command[0]} ended with status {done.returncode}")
    return answer


def _run(
    command: Sequence[str], seconds: float, environment: dict[str, str] | None = None, folder: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that has ended, in a session of its own: Ctrl-C is this process's alone. Raises TargetError."""
    name = os.path.basename(command[0])
    try:
        with interrupts.allowed():
            return subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                start_new_session=True,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise TargetError(f"{name} took more than {seconds:.0f} s") from None
    except OSError as error:
        raise TargetError(f"cannot start {name}: {error.strerror or error}") from None
