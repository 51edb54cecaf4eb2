"""What changes a GPU's bits is laid at `cuda`, with its root. Each check is two recordings with one thing changed: on a
real GPU, where AUDIT_CUDA_PYTHON names a Python whose torch sees one; as recorded there (`fixtures/record_gpus.py`);
and, where it can imitate that, on a STAND-IN, which claims a GPU and computes on the CPU (tests/stand_in_gpus)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from audit.causes import machines
from audit.causes.laboratory import Laboratory, Under
from audit.causes.reproduce import reproduce
from audit.causes.settings import SETTINGS
from audit.causes.vary import vary
from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.inputs import sides
from fixtures import environments, record_gpus
from fixtures.record_gpus import GPUS, PYTHON, RECORDED
from reports import proof, render
from reports.reproduction import Reproduction

ROOT = Path(__file__).parent.parent.parent
STAND_IN = ROOT / "tests" / "stand_in_gpus"

CHECKS = {one.name: one for one in RECORDED if "~" in one.name}
real = [pytest.mark.cuda, pytest.mark.skipif(PYTHON not in os.environ, reason="no GPU: AUDIT_CUDA_PYTHON is not set")]


def recorded(name: str) -> pytest.MarkDecorator:
    there = (GPUS / f"{name}.json.gz").exists()
    return pytest.mark.skipif(not there, reason="not recorded yet: python -m fixtures.record_gpus, where a GPU is")


def compared(here: Measured, there: Measured) -> dict[str, Any]:
    """`audit diff --format json`."""
    found: dict[str, Any] = json.loads(render.diff(compare([here, there]), "json"))
    return found


def check(name: str, here: Measured, there: Measured) -> None:
    """The first cause is the one that the check's name says. Without a component, it is the program."""
    component, root = name.split("~")[1].split("=")
    found = compared(here, there)
    if CHECKS[name].chance and found["results"]["verdict"] == "identical":
        pytest.skip(f"{root} is another, and this GPU's libraries chose the same")
    first = found["causes"][0]
    assert (first["root"], first["components"]) == (root, [component] if component else [])
    if component:
        assert component in found["results"]["first_divergence"]["components"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize("name", [pytest.param(name, marks=real) for name in CHECKS])
def test_on_a_real_gpu(name: str, folder: Path) -> None:
    paths = [folder / f"{one}.json" for one in (name.split("~")[0], name)]
    for row in RECORDED:
        path = folder / f"{row.name}.json"
        if path in paths and not path.exists():
            record_gpus.recorded(row, path)
    here, there = (one.whole() for one in sides([str(path) for path in paths]).sides)
    assert here.fact("cuda.device")
    check(name, here, there)


@pytest.mark.parametrize("name", [pytest.param(name, marks=recorded(name)) for name in CHECKS])
def test_as_recorded(name: str) -> None:
    here, there = (one.whole() for one in sides([f"{GPUS / one}.json.gz" for one in (name.split("~")[0], name)]).sides)
    check(name, here, there)


# On the stand-in


@dataclass(frozen=True)
class Forked:
    """What a laboratory needs of a target. Its children are forks of one process, `serve.py` of the stand-in."""

    process: subprocess.Popen[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    words = "the stand-in"

    def under(self, variables: Mapping[str, str], calls: Mapping[str, str]) -> Forked:
        return replace(self, variables={**self.variables, **variables}, calls=calls)

    def launch(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert self.process.stdin
        assert self.process.stdout
        asked = {"request": {**request, "calls": self.calls}, "variables": self.variables}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            record = json.loads(line)
            yield record
            if "end" in record:
                return
        raise AssertionError("the stand-in ended")

    def close(self) -> None:
        """Its process serves others, too."""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Forked]:
    own = {"PYTHONPATH": f"{STAND_IN}:{ROOT}", "STAND_IN_GPUS": "H100", "FORKS": "1", "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if name not in ("NVIDIA_TF32_OVERRIDE", "ONCE")}
    command = [environments.frameworks(), str(STAND_IN / "serve.py")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={**kept, **own}) as process:
        yield Forked(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(60) == 0


def laboratory(target: Forked) -> Laboratory:
    return Laboratory(target, lambda doing, done, total: None)  # type: ignore[arg-type]


def measured(target: Forked, **settings: str) -> Measured:
    """What `audit run` gives under settings."""
    given = laboratory(target).measure(Under(settings), ())
    assert given.side, given.died
    return given.side


@pytest.fixture(scope="module")
def as_it_is(stand_in: Forked) -> Measured:
    return measured(stand_in)


PRODUCTS = {"cuda.matmul.f32.17x31x13", "cuda.linear.f32.160x128x96", "cuda.linear_backward.f32.160x128x96"}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("settings", "root"),
    [
        ({"NVIDIA_TF32_OVERRIDE": "1"}, "variables.NVIDIA_TF32_OVERRIDE"),
        ({"cuda_matmul_precision": "tf32"}, "cuda.matmul_precision"),
    ],
    ids=["stand-in, a variable", "stand-in, a call"],
)
def test_tf32_is_laid_at_cuda_and_proven(
    stand_in: Forked, as_it_is: Measured, settings: dict[str, str], root: str
) -> None:
    there = measured(stand_in, **settings)
    one = reproduce(there, laboratory(stand_in))
    assert isinstance(one, Reproduction)
    assert (one.verdict, one.settings, proof.missing(one)) == ("reproduced", settings, "")
    assert [(cause.root, cause.components, cause.status) for cause in one.causes] == [(root, ["cuda"], "proven")]
    assert {*one.children[0].changed} == PRODUCTS
    code = 'import torch; torch.backends.cuda.matmul.fp32_precision = "tf32"'
    assert one.code == ({} if "NVIDIA_TF32_OVERRIDE" in settings else {"cuda_matmul_precision": code})
    found = compared(as_it_is, there)
    (cause,) = found["causes"]
    assert (cause["root"], cause["components"], {*cause["operators"]}) == (root, ["cuda"], PRODUCTS)


@pytest.mark.torch
def test_a_setting_that_is_here_alone_is_taken_out_on_the_stand_in(stand_in: Forked, as_it_is: Measured) -> None:
    here = replace(stand_in, variables={"NVIDIA_TF32_OVERRIDE": "1"})
    one = reproduce(as_it_is, laboratory(here))
    assert (one.verdict, one.settings, proof.missing(one)) == ("reproduced", {"NVIDIA_TF32_OVERRIDE": ""}, "")
    assert "unset NVIDIA_TF32_OVERRIDE" in render.reproduction(one)


@pytest.mark.torch
def test_what_changes_bits_on_the_stand_in(stand_in: Forked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value is taken, as facts in effect say, and TF32 in products is all that it imitates."""
    monkeypatch.setattr(machines, "SETTINGS", [one for one in SETTINGS if one.component == "cuda"])
    monkeypatch.setattr(machines, "_levels", lambda here, kept: [])
    monkeypatch.setattr("audit.causes.vary.ROUNDS", 1)
    found = vary(laboratory(stand_in), ())
    assert [(one.name, one.value, one.effect, one.changes_bits, one.reason) for one in found.settings] == [
        ("torch_deterministic", "error", "torch.deterministic on", False, ""),
        ("cuda_matmul_precision", "tf32", "cuda.matmul_precision tf32", True, ""),
        ("cuda_conv_precision", "ieee", "cuda.conv_precision ieee", False, ""),
        ("NVIDIA_TF32_OVERRIDE", "0", "cuda.tf32_override 0", False, ""),
        ("NVIDIA_TF32_OVERRIDE", "1", "cuda.tf32_override 1", True, ""),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", "cuda.cublas_workspace :4096:8", False, ""),
        ("CUBLAS_WORKSPACE_CONFIG", ":16:8", "cuda.cublas_workspace :16:8", False, ""),
        ("cudnn_benchmark", "True", "cuda.cudnn_benchmark True", False, ""),
    ]
    assert (found.pins, found.pins_reason) == ({}, "no other machine can be imitated here")
