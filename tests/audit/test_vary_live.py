"""The real command `audit vary`, on this machine and on emulated ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import record
from reports import codec

LEVEL = "a CPU without AVX-512"


def audit(*arguments: str, status: int, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    environment["PYTHONPATH"] = str(record.ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd,
        timeout=1800,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


PROGRAM = """
import numpy, audit
random = numpy.random.default_rng(0)
x, y = random.normal(size=(256, 64)).astype("f4"), random.normal(size=(256, 8)).astype("f4")
w = numpy.zeros((64, 8), "f4")
for step in range(3):
    w -= 0.1 * numpy.tanh(x.T @ (x @ w - y) / 256)
    audit.record("w", w, step=step)
"""

COMMAND = ("--", str(Path(sys.executable).absolute()), "train.py")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, str]:
    """A program of one's own, varied on this machine; the folder with it, vary.json and pins.env; what was said."""
    folder = tmp_path_factory.mktemp("vary")
    (folder / "train.py").write_text(PROGRAM)
    done = audit("vary", "--pins", "pins.env", "--format", "json", "-o", "vary.json", *COMMAND, status=1, cwd=folder)
    return json.loads((folder / "vary.json").read_text()), folder, done.stderr


def test_this_machine(here: tuple[dict[str, Any], Path, str]) -> None:
    found, folder, said = here
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX-512")
    rows = {row["name"] if row["machine"] else f"{row['name']}={row['value']}": row for row in found["settings"]}
    assert rows["OPENBLAS_CORETYPE=Haswell"]["changed"] == rows[LEVEL]["changed"] == ["job program"]
    first = rows["OPENBLAS_CORETYPE=Haswell"]["first_divergence"]
    assert (first["job"], first["step"], first["tensor"]) == ("program", 0, "record:w")
    assert found["pins"]["OPENBLAS_CORETYPE"] == "Nehalem"
    assert all(one["same"] and one["runs"] >= 2 for one in found["pins_verified"])
    announced = re.search(r"runs your program (\d+) more times", said)
    assert announced
    assert 2 + int(announced[1]) <= found["runs"]
    shown = audit("show", "vary.json", status=1, cwd=folder).stdout.splitlines()
    assert shown[0].startswith("YOUR NUMBERS DEPEND ON THE CPU. ")
    assert len(shown) <= 25
    assert max(map(len, shown[:-1])) <= 100
    lines = [line for line in (folder / "pins.env").read_text().splitlines() if not line.startswith("#")]
    assert lines == [f"{name}={value}" for name, value in found["pins"].items()]


@pytest.mark.emulated
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="no qemu-x86_64-static")
def test_pins_hold_on_other_cpus(here: tuple[dict[str, Any], Path, str]) -> None:
    """Under the pins this machine, the same with one thread, an emulated Haswell and an emulated Nehalem train to the
    same bits."""
    found, folder, _ = here
    pins = " ".join(f"{name}={value}" for name, value in found["pins"].items())
    files = {"native": f"env {pins}", "thread": f"env {pins} OPENBLAS_NUM_THREADS=1"}
    files |= {cpu: f"env {pins} qemu-x86_64-static -cpu {cpu}" for cpu in ("Haswell", "Nehalem")}
    given = {}
    for name, via in files.items():
        audit("run", "--quiet", "--job", "none", "--via", via, "-o", f"{name}.json", *COMMAND, status=0, cwd=folder)
        (job,) = codec.read(str(folder / f"{name}.json"))[0].targets[0].jobs
        assert job.trace, job.reason
        given[name] = job.trace.digest
    assert len(set(given.values())) == 1, given


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (["--python", "/nowhere/python"], "no such command"),
        (["--pins", "/nowhere/pins.env"], "cannot write /nowhere/pins.env"),
        (["-o", "/nowhere/vary.txt"], "cannot write /nowhere/vary.txt"),
        (["-o", "x", "--pins", "x"], "same file"),
        (["--via", " "], "--via is empty"),
    ):
        done = audit("vary", *arguments, status=2, cwd=tmp_path)
        assert done.stdout == ""
        assert done.stderr.startswith("audit vary: ")
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr
    assert os.listdir(tmp_path) == []


def test_ctrl_c_prints_what_is_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)  # quick without numpy
    command = [sys.executable, "-m", "audit", "vary", "--job", "operators", "--python", str(tmp_path / "bin/python")]
    started = subprocess.Popen(
        [*command, "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=record.ROOT
    )
    assert started.stderr
    for line in started.stderr:
        if line.startswith("setting 2 of"):
            break
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=120)
    found = json.loads(out)
    assert started.returncode in (1, 3)
    assert found["interrupted"]
    assert len(found["settings"]) in (1, 2)
