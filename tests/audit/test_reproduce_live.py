"""`audit reproduce` on this very machine: it gives the bits of recorded ones, and what it prints does so again.

The recorded machines are one AVX-512 machine under settings, emulated CPUs and other packages. A machine that is below
it cannot go up to them, and says so; these tests are then skipped.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_machines import MACHINES, audit, qemu

from audit.causes import settings
from audit.inputs import one
from fixtures import environments, record
from reports import codec, proof
from reports.reproduction import Reproduction

HASWELL = "host~blas+numpy=cpu.model~haswell"
NEHALEM = "host~blas+numpy+libm=cpu.model~nehalem"
THREADS = "host~blas=blas.threads"


@pytest.fixture(scope="module", autouse=True)
def able(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips on a machine that is not what the corpus was recorded on, as far as bits go."""
    path = str(tmp_path_factory.mktemp("here") / "here.json")
    audit("run", "--quiet", "--job", "operators", "--repeat", "1", "-o", path, "--python", sys.executable)
    here, _ = one(path)
    recorded, _ = one(str(MACHINES / "host.json.gz"))
    same = [
        here.fact(name) == recorded.fact(name) for name in ("packages.numpy.version", "blas.kernel", "blas.threads")
    ]
    if not settings.downwards(here, recorded) or not all(same):
        pytest.skip("this machine, its numpy or its number of CPUs is not that of the corpus")


def reproduced(name: str, folder: Path, status: int = 0, *more: str) -> dict[str, Any]:
    saved = str(folder / "proof.json")
    audit("reproduce", str(MACHINES / f"{name}.json.gz"), "--quiet", "--python", sys.executable, "--save", saved, *more,
          status=status)  # fmt: skip
    found, notes = codec.read_any(saved)
    assert isinstance(found, Reproduction)
    assert notes == []
    assert (proof.missing(found) == "") is (found.verdict == "reproduced")
    tree: dict[str, Any] = json.loads(Path(saved).read_text())
    assert tree["format"] == "audit-reproduction"
    return tree


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One search for all tests: its answer, and the folder where it is saved."""
    folder = tmp_path_factory.mktemp("threads")
    return reproduced(THREADS, folder), folder


@pytest.mark.parametrize(
    ("name", "names", "status"),
    [
        # What the emulator itself gets wrong or dies of cannot be compared, and a report that lacks something is 3.
        (HASWELL, {"OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"}, 3),
        (NEHALEM, {"OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES"}, 0),
    ],
)
def test_the_bits_of_another_machine_and_again_by_what_is_printed(
    name: str, names: set[str], status: int, tmp_path: Path
) -> None:
    seen_again(name, names, status, reproduced(name, tmp_path), tmp_path)


def test_the_bits_of_one_with_fewer_threads_and_again(threads: tuple[dict[str, Any], Path]) -> None:
    seen_again(THREADS, {"OPENBLAS_NUM_THREADS"}, 0, *threads)


def seen_again(name: str, names: set[str], status: int, tree: dict[str, Any], folder: Path) -> None:
    assert tree["reproduced"] is True
    assert set(tree["settings"]) == names == set(tree["necessary"])
    assert tree["residue"] == []
    assert tree["runs"] <= 20
    assert {cause["status"] for cause in tree["causes"]} == {"proven"}
    environment = Path(folder / "proof.env").read_text().splitlines()
    assert dict(line.split("=", 1) for line in environment) == tree["settings"]
    words = shlex.split(tree["next"].partition(":")[2].partition("#")[0])
    assert words[0] == "env"
    again = str(folder / "again.json")
    variables = dict(word.split("=", 1) for word in words[1 : words.index("audit")])
    audit("run", "--quiet", "--repeat", "1", "-o", again, "--python", sys.executable, **variables)
    done = audit(
        "diff", "--fail-on", "results", str(MACHINES / f"{name}.json.gz"), again, "--format", "json", status=status
    )
    comparison = json.loads(done.stdout)
    assert comparison["results"]["verdict"] == "identical"
    assert comparison["results"]["operators"]["compared"] > 500
    assert comparison["results"]["operators"]["differing"] == []


@qemu
@pytest.mark.emulated
def test_an_emulated_cpu_that_was_never_recorded(tmp_path: Path) -> None:
    """IvyBridge has AVX and neither AVX2 nor FMA: a level between those that the corpus has."""
    there, again = (str(tmp_path / name) for name in ("ivybridge.json", "again.json"))
    python = os.path.realpath(environments.numpy(record.NUMPY))  # an emulator follows no link of an environment
    audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "-o", there,
          "--via", "qemu-x86_64-static -cpu IvyBridge", "--python", python)  # fmt: skip
    audit("reproduce", there, "--quiet", "--python", sys.executable, "--save", str(tmp_path / "proof.json"))
    tree = json.loads((tmp_path / "proof.json").read_text())
    assert tree["reproduced"] is True
    assert tree["settings"]["OPENBLAS_CORETYPE"] == "Sandybridge"
    audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "-o", again, "--python", sys.executable,
          **tree["settings"])  # fmt: skip
    audit("diff", "--fail-on", "results", there, again)


def test_another_system_is_said_to_be_one(tmp_path: Path) -> None:
    """A trixie container against this host: other numpy, other BLAS, other glibc; nothing here can be set to that."""
    tree = reproduced("bookworm~blas+libm+numpy+python=os.release~trixie", tmp_path, 1)
    assert tree["verdict"] == "irreducible"
    assert tree["settings"] == {}
    assert [(cause["root"], cause["status"]) for cause in tree["causes"]] == [("os.release", "irreducible")]
    assert len(tree["residue"]) > 50
    assert tree["next"].startswith("Next, on both machines, in one image:")


def test_a_floating_point_mode_is_reproduced_by_a_call(tmp_path: Path) -> None:
    tree = reproduced("host~fpu=variables.LD_PRELOAD", tmp_path)
    assert tree["settings"] == {"flush_denormals": "1"}
    assert "set_flush_denormal" in tree["code"]["flush_denormals"]


def test_the_proof_stands_beside_the_comparison(threads: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    saved = str(threads[1] / "proof.json")
    here = str(tmp_path / "here.json")
    audit("run", "--quiet", "--repeat", "1", "-o", here, "--label", "here", "--python", sys.executable)
    there = str(MACHINES / f"{THREADS}.json.gz")
    before = audit("diff", there, here, status=1).stdout
    after = audit("diff", there, here, "--proof", saved, status=1).stdout
    assert "not yet proven" in before.splitlines()[0] + before.splitlines()[1]
    assert "Proven cause" in after.splitlines()[0]
    assert "proven: with it identical, without it not" in after
    other = str(MACHINES / f"{NEHALEM}.json.gz")
    refused = audit("diff", other, here, "--proof", saved, status=2).stderr
    assert refused.startswith("audit diff: --proof ")
    assert "it is about other results" in refused


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", "reproduce", str(MACHINES / f"{NEHALEM}.json.gz"), "--python", sys.executable],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("trying NPY_DISABLE_CPU_FEATURES"):
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGINT)
            break
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3, out
    assert out.startswith("INTERRUPTED. Found so far, not yet proven: OPENBLAS_CORETYPE=Nehalem")
    (saved,) = tmp_path.glob("*-reproduction.json")
    assert json.loads(saved.read_text())["interrupted"] is True


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    facts = str(tmp_path / "facts.json")
    audit("run", "--quiet", "--job", "none", "-o", facts, "--python", sys.executable)
    told = audit("reproduce", facts, status=2).stderr.splitlines()
    assert len(told) == 1
    assert "it has facts only" in told[0]
    for arguments, words in (
        (["reproduce", str(tmp_path / "missing.json")], "No such file"),
        (["reproduce", f"{facts}#nothing"], "no target 'nothing'"),
        (["reproduce", facts, "--save", facts], "would replace the report itself"),
        (["reproduce", str(MACHINES / "host.json.gz"), "--save", "/nowhere/x.json"], "cannot write /nowhere/x.json"),
        (["reproduce", str(MACHINES / "host.json.gz"), "--python", "/bin/true"], "did not run the probes"),
        (["diff", facts, facts, "--proof", facts], "no reproduction; audit reproduce"),
    ):
        told = audit(*arguments, status=2).stderr.splitlines()
        assert words in told[-1]
