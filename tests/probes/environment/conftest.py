"""Captures in real processes: facts in effect are those of a process, so most tests start one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Records = dict[str, dict[str, Any]]
Captured = Callable[..., Records]

_CODE = """
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {root!r})
{before}
from probes.environment import Options, capture
print(json.dumps(capture({scope!r}, Options({options})).records))
"""


@pytest.fixture(scope="session")
def captured() -> Captured:
    """captured(scope, before="", options="", prefix=(), python=..., **variables) gives the records of a new process.

    `before` is code that runs first; `prefix` stands before the interpreter; a variable that is None is unset.
    """

    def run(
        scope: str,
        before: str = "",
        options: str = "",
        prefix: Sequence[str] = (),
        python: str = sys.executable,
        **variables: str | None,
    ) -> Records:
        code = _CODE.format(root=str(ROOT), before=before, scope=scope, options=options)
        environment = {**os.environ, **variables}
        kept = {name: value for name, value in environment.items() if value is not None}
        done = subprocess.run([*prefix, python, "-c", code], capture_output=True, text=True, env=kept, cwd="/")
        assert done.returncode == 0, done.stderr
        records: Records = json.loads(done.stdout)
        return records

    return run


@pytest.fixture(scope="session")
def machine(captured: Captured) -> Records:
    """The machine facts of this machine, captured once."""
    return captured("machine")


@pytest.fixture(scope="session")
def effect(captured: Captured) -> Records:
    """The facts in effect of a process that computed with numpy, captured once."""
    return captured("effect", before="import numpy; numpy.linalg.solve(numpy.eye(9), numpy.ones(9))")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """compiled(name, source, *flags) makes a shared object of C source; skips without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")

    def make(name: str, source: str, *flags: str) -> Path:
        if compiler is None:
            pytest.skip("no C compiler")
        folder = tmp_path_factory.mktemp("compiled")
        (folder / "source.c").write_text(source)
        target = folder / name
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", target, folder / "source.c"], check=True)
        return target

    return make


@pytest.fixture(scope="session")
def emulator() -> str:
    """qemu's user-mode emulator of x86-64; skips where it is not installed."""
    found = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if found is None:
        pytest.skip("qemu-user is not installed")
    return found
