"""`audit run -- COMMAND` on a real program under real settings: `diff` names where it parts and why, and `reproduce`
proves the setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import environments, record, record_programs
from fixtures.record_programs import OPERATORS, RECORDED, STEPS, Recorded
from reports import codec, proof
from reports.reproduction import Reproduction

pytestmark = pytest.mark.torch

ONE_STEP = ("--job", "none", "--steps", "1")
NAMES = [one.name for one in RECORDED if "~" in one.name and one.how in (OPERATORS, STEPS)]

Audit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, where reports are kept for all tests."""
    path = tmp_path_factory.mktemp("program")
    (path / "train.py").write_bytes((record_programs.PROGRAMS / "train.py").read_bytes())
    return path


def audit(folder: Path, *words: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "audit", *words],
        capture_output=True, text=True, check=False, cwd=folder, env={**record.environment(), **variables},
        timeout=600,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done


def command(one: Recorded) -> list[str]:
    return ["--", environments.frameworks(), "train.py", *one.given]


def recorded(folder: Path, one: Recorded) -> Path:
    """The report of a row, made once."""
    path = folder / f"{one.name}.json"
    if not path.exists():
        how = OPERATORS if one.how == OPERATORS else ONE_STEP
        audit(folder, "run", "--quiet", "--label", path.stem, "-o", str(path), *how, *command(one), **one.variables)
    return path


def expected(name: str) -> tuple[str, str, str]:
    base, answer = name.split("~")
    component, root = answer.split("=")
    return base, component, root


@pytest.mark.parametrize("name", NAMES)
def test_where_a_program_parts_and_why_is_named(folder: Path, name: str) -> None:
    base, component, root = expected(name)
    rows = {one.name: one for one in RECORDED}
    files = [str(recorded(folder, rows[one])) for one in (base, name)]
    found: dict[str, Any] = json.loads(audit(folder, "diff", *files, "--format", "json", status=1).stdout)
    first = found["results"]["first_divergence"]
    assert first["job"] == "program"
    assert component in first["components"]
    assert found["causes"][0]["root"] == root
    if component == "ordering":
        assert (first["step"], first["phase"], first["tensor"]) == (0, "data", "batch.0")
    else:
        assert first["operator"].startswith("aten::")
        assert first["source"].startswith("train.py:")


@pytest.mark.parametrize("name", NAMES)
def test_the_setting_is_proven_by_the_program_itself(folder: Path, name: str) -> None:
    """On a machine that has the other's setting: it is taken out, or another is put in."""
    base, _, _ = expected(name)
    rows = {one.name: one for one in RECORDED}
    file, saved = recorded(folder, rows[base]), folder / f"{name}-proof.json"
    variables = rows[name].variables
    done = audit(folder, "reproduce", str(file), "--quiet", "--save", str(saved), *command(rows[name]), **variables)
    assert done.stdout == ""
    one, notes = codec.read_any(str(saved))
    assert isinstance(one, Reproduction)
    assert notes == []
    assert (one.verdict, proof.missing(one), set(one.wanted)) == ("reproduced", "", {"job program"})
    assert len(one.settings) == 1
    assert one.runs <= 6
    # No file holds a command line.
    assert "-- THE SAME COMMAND" in one.next
    assert "train.py" not in one.next


def test_another_program_is_refused_before_it_is_searched(folder: Path) -> None:
    rows = {one.name: one for one in RECORDED}
    file = recorded(folder, rows["operators"])
    other = folder / "other"
    other.mkdir()
    source = (folder / "train.py").read_text()
    (other / "train.py").write_text(source.replace("lr=1e-3", "lr=2e-3"))
    done = audit(other, "reproduce", str(file), *command(rows["operators"]), status=3)
    assert "not the same program: train.py differs" in done.stderr
    given = audit(folder, "reproduce", str(file), *command(rows["operators"]), "--set", status=3)
    assert "given other arguments" in given.stderr
    assert "as it is" not in given.stderr
    assert os.listdir(other) == ["train.py"]
