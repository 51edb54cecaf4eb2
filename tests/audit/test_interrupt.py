"""Ctrl-C and a scheduler's SIGTERM in the middle of a run: one line, exit 2, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, seconds: float, tmp_path: Path) -> None:
    marker = f"AUDIT_TEST_MARKER={number}{seconds}"
    command = [sys.executable, "-m", "audit", "run", "--via", f"env {marker}", "--python", sys.executable]
    run = subprocess.Popen([*command, "-o", str(tmp_path / "x.json")], stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    run.send_signal(number)
    _, errors = run.communicate(timeout=20)
    assert run.returncode == 2
    assert errors.splitlines()[-1] == "audit run: interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if marker.encode() in _bytes(path)]
    assert left == []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
