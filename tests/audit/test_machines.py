"""The whole command on machines that are really other ones: emulated CPUs, containers of other releases, settings.

What these tests need (qemu-x86_64-static, a Docker engine with the images that `.ci/run` makes) is installed there;
where it is missing they are skipped, and say so.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from audit.compare.engine import compare
from audit.inputs import sides
from fixtures import record
from reports import codec
from reports.report import Report

MACHINES = record.MACHINES
SCHEMA = record.ROOT / "reports" / "schema.json"

qemu = pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="no qemu-x86_64-static")


def audit(*arguments: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **variables},
        timeout=600,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def digests(report: Report) -> dict[str, str]:
    """Every digest of a report, by what it is of."""
    (target,) = report.targets
    found = {f"job {job.name}": job.trace.digest for job in target.jobs if job.trace}
    assert target.battery
    return found | {one.name: one.result.digest for one in target.battery.operators if one.result and not one.hazard}


@qemu
@pytest.mark.emulated
def test_an_emulated_haswell_gives_the_recorded_bits_again(tmp_path: Path) -> None:
    name = "host~blas+numpy=cpu.model~haswell"
    (machine,) = [one for one in record.RECORDED if one.name == name]
    record.record(machine, tmp_path / "again.json.gz", jobs=["numpy"], repeat=1)
    again = digests(codec.read(str(tmp_path / "again.json.gz"))[0])
    recorded = digests(codec.read(str(MACHINES / f"{name}.json.gz"))[0])
    # What the emulator sorts wrongly, or dies of, it does not in every run: only what both have is compared.
    both = again.keys() & recorded.keys()
    assert len(both) > 500
    assert "job numpy" in both
    assert {one: again[one] for one in both if recorded[one] != again[one]} == {}


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_debian_releases_are_told_apart(tmp_path: Path) -> None:
    files = {release: str(tmp_path / f"{release}.json") for release in ("bullseye", "bookworm", "trixie")}
    for release, file in files.items():
        via = f"docker run -i --rm --network none audit-{release}"
        audit("run", "--quiet", "--label", release, "--job", "operators", "--repeat", "1", "--via", via, "-o", file)
    measured = sides([*files.values()]).sides
    assert [side.fact("os.release") for side in measured] == ["debian 11", "debian 12", "debian 13"]
    assert [str(side.fact("python.version")).rpartition(".")[0] for side in measured] == ["3.9", "3.11", "3.13"]
    assert {side.fact("blas.implementation") for side in measured} == {"reference"}
    for two in itertools.combinations(measured, 2):
        assert {cause.root for cause in compare([*two]).causes} == {"os.release"}


def test_one_machine_agrees_with_itself(tmp_path: Path) -> None:
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    for file in files:
        done = audit("run", "-o", file, "--label", Path(file).stem)
        assert done.stdout.startswith("REPEATABLE. ")
        assert done.stderr.startswith("operators, run 1 of 2\n")
    done = audit("diff", *files)
    assert done.stdout.startswith("SAME RESULTS, bit for bit.")
    jsonschema.validate(json.loads(Path(files[0]).read_text()), json.loads(SCHEMA.read_text()))
    comparison = json.loads(audit("diff", *files, "--format", "json").stdout)
    assert comparison["verdict"] == "same"
    assert comparison["results"]["operators"]["compared"] > 500
    kinds = {one["kind"] for one in comparison["environment"]["differences"]}
    assert kinds <= {"volatile"}
    assert comparison["environment"]["not_compared"] == []


SETTINGS: list[tuple[dict[str, str], set[str], str]] = [
    ({"OPENBLAS_CORETYPE": "Haswell"}, {"blas"}, "variables.OPENBLAS_CORETYPE"),
    ({"OPENBLAS_NUM_THREADS": "1"}, {"blas"}, "blas.threads"),
    ({"NPY_DISABLE_CPU_FEATURES": "X86_V4"}, {"numpy"}, "variables.NPY_DISABLE_CPU_FEATURES"),
    ({"GLIBC_TUNABLES": record.MASK}, {"libm"}, "variables.GLIBC_TUNABLES"),
    ({"LD_PRELOAD": "FTZ"}, {"fpu"}, "variables.LD_PRELOAD"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("here") / "here.json")
    audit("run", "--quiet", "--job", "numpy", "--label", "here", "-o", path, "--python", sys.executable)
    return path


@pytest.mark.parametrize(("variables", "components", "root"), SETTINGS, ids=lambda value: str(value)[:24])
def test_a_setting_is_laid_at_its_component(
    here: str, variables: dict[str, str], components: set[str], root: str, tmp_path: Path
) -> None:
    """On this very machine, in this run; a machine without AVX-512 or with one CPU cannot express all of them."""
    cpu = codec.read(here)[0].targets[0].facts
    flags: Any = cpu["cpu.flags"].value
    if "avx512f" not in flags and root != "variables.LD_PRELOAD":
        pytest.skip("this CPU has no AVX-512")
    assignments = [f"{name}={record.ftz() if value == 'FTZ' else value}" for name, value in variables.items()]
    there = str(tmp_path / "there.json")
    via = "env " + " ".join(assignments)
    audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "-o", there, "--via", via, "--python", sys.executable)
    done = json.loads(audit("diff", here, there, "--format", "json", status=1).stdout)
    assert {component for cause in done["causes"] for component in cause["components"]} == components
    assert [cause["root"] for cause in done["causes"]] == [root]
    assert done["results"]["first_divergence"]["components"][0] in components | {"python"}


def test_other_explicit_hash_seeds_are_a_numeric_difference_and_random_ones_are_not(tmp_path: Path) -> None:
    files = []
    for seed in ("1", "2", "random"):
        files.append(str(tmp_path / f"{seed}.json"))
        audit("run", "--quiet", "--job", "operators", "-o", files[-1], "--via", f"env PYTHONHASHSEED={seed}",
              "--python", sys.executable)  # fmt: skip
    done = json.loads(audit("diff", files[0], files[1], "--format", "json", status=1).stdout)
    assert [(cause["root"], cause["components"]) for cause in done["causes"]] == [
        ("variables.PYTHONHASHSEED", ["ordering"])
    ]
    again = str(tmp_path / "again.json")
    audit("run", "--quiet", "--job", "operators", "-o", again, "--via", "env PYTHONHASHSEED=random",
          "--python", sys.executable)  # fmt: skip
    done = json.loads(audit("diff", files[2], again, "--format", "json").stdout)
    assert done["verdict"] == "same"
    assert [hazard["name"] for hazard in done["hazards"]] == ["set order"]


def test_the_bundle_makes_a_full_report_offline(tmp_path: Path, here: str) -> None:
    bundle = str(tmp_path / "probes.pyz")
    audit("bundle", "-o", bundle)
    again = tmp_path / "again.pyz"
    audit("bundle", "-o", str(again))
    assert again.read_bytes() == Path(bundle).read_bytes()
    report = str(tmp_path / "node.json")
    done = subprocess.run(
        [sys.executable, "-I", bundle, "-o", report, "--job", "numpy", "--label", "node", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    comparison = json.loads(audit("diff", here, report, "--format", "json").stdout)
    assert comparison["results"]["verdict"] == "identical"
    assert comparison["results"]["operators"]["compared"] > 500


def test_facts_only(tmp_path: Path) -> None:
    file = str(tmp_path / "facts.json")
    assert audit("run", "--job", "none", "-o", file).stdout.startswith("FACTS ONLY. ")
    assert audit("diff", file, file).stdout.startswith("FACTS ONLY, no results. The environments are the same")
    assert audit("show", file).stdout
