"""`audit run -- COMMAND` on a real program under real settings: `diff` names where it parts and why, and `reproduce`
proves the setting."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import record, record_programs
from fixtures.record_programs import OPERATORS, RECORDED
from reports import codec, proof
from reports.reproduction import Reproduction

pytestmark = pytest.mark.torch

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

ONE_STEP = ("--job", "none", "--steps", "1")
ROWS = {one.name: one for one in RECORDED}
NAMES = [
    "operators~mkl=mkl.threads",
    "seed1~ordering=variables.PYTHONHASHSEED",
    "trainer~mkl=variables.MKL_CBWR",
    "module~onednn=variables.ONEDNN_MAX_CPU_ISA",
    "mlp~blas=variables.OPENBLAS_CORETYPE",
    "loop~xla=variables.XLA_FLAGS",
]
"""What is recorded under all other settings is compared in test_programs_recorded.py."""

Audit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs, where reports are kept for all tests."""
    path = tmp_path_factory.mktemp("program")
    for program in {one.program for one in RECORDED}:
        (path / program).write_bytes((record_programs.PROGRAMS / program).read_bytes())
    return path


def audit(folder: Path, *words: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "audit", *words],
        capture_output=True, text=True, check=False, cwd=folder, env={**record.environment(), **variables},
        timeout=600,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done


def recorded(folder: Path, name: str) -> Path:
    """The report of a row, made once."""
    path = folder / f"{name}.json"
    if not path.exists():
        one = ROWS[name]
        how = record_programs.options(one._replace(how=OPERATORS if one.how == OPERATORS else ONE_STEP))
        audit(folder, "run", "--quiet", "--label", path.stem, "-o", str(path), *how, **one.variables)
    return path


def diff(folder: Path, base: str, name: str) -> dict[str, Any]:
    files = [str(recorded(folder, one)) for one in (base, name)]
    return dict(json.loads(audit(folder, "diff", *files, "--format", "json", status=1).stdout))


@pytest.mark.parametrize("name", NAMES)
def test_where_a_program_parts_and_why_is_named(folder: Path, name: str) -> None:
    base, answer = name.split("~")
    component, root = answer.split("=")
    found = diff(folder, base, name)
    first = found["results"]["first_divergence"]
    assert first["job"] == "program"
    assert component in first["components"]
    assert found["causes"][0]["root"] == root
    if component == "ordering":
        assert (first["step"], first["phase"]) == (0, "data")
        assert first["tensor"].startswith(("batch.", "aten::lift_fresh"))
    elif ROWS[name].how == OPERATORS:
        assert first["operator"].startswith("aten::")
        assert first["source"].startswith(ROWS[name].program + ":")


@pytest.mark.parametrize("name", NAMES)
def test_the_setting_is_proven_by_the_program_itself(folder: Path, name: str) -> None:
    """On a machine that has the other's setting: it is taken out, or another is put in."""
    one = reproduced(folder, name.split("~")[0], name)
    assert len(one.settings) == 1
    assert one.runs <= 6


def reproduced(folder: Path, wanted: str, here: str) -> Reproduction:
    """What a row's report needs on a machine as another row's, when that is proven."""
    file, saved, row = recorded(folder, wanted), folder / f"{here}-proof.json", ROWS[here]
    words = ["reproduce", str(file), "--quiet", "--save", str(saved), *record_programs.command(row)]
    assert audit(folder, *words, **row.variables).stdout == ""
    one, notes = codec.read_any(str(saved))
    assert isinstance(one, Reproduction)
    assert notes == []
    assert (one.verdict, proof.missing(one), set(one.wanted)) == ("reproduced", "", {"job program"})
    # No file holds a command line.
    assert "-- THE SAME COMMAND" in one.next
    assert row.program not in one.next
    return one


@pytest.mark.skipif("avx512f" not in CPU or "AuthenticAMD" not in CPU, reason="no CPU of AMD's with AVX-512 here")
def test_another_cpu_is_imitated(folder: Path) -> None:
    """One without AVX-512, as it was recorded: its bits are had here by what it has not."""
    wanted = "sgd~onednn=cpu.model"
    shutil.copy(record_programs.PROGRAMS / f"{wanted}.json.gz", folder / f"{wanted}.json")
    found = reproduced(folder, wanted, "sgd").settings
    assert {*found} - {"MKL_NUM_THREADS"} == {*record_programs.BELOW}  # it was recorded with two threads


def test_another_program_is_refused_before_it_is_searched(folder: Path) -> None:
    file, command = recorded(folder, "operators"), record_programs.command(ROWS["operators"])
    other = folder / "other"
    other.mkdir()
    source = (folder / "train.py").read_text()
    (other / "train.py").write_text(source.replace("lr=1e-3", "lr=2e-3"))
    done = audit(other, "reproduce", str(file), *command, status=3)
    assert "not the same program: train.py differs" in done.stderr
    given = audit(folder, "reproduce", str(file), *command, "--set", status=3)
    assert "given other arguments" in given.stderr
    assert "as it is" not in given.stderr
    assert os.listdir(other) == ["train.py"]
