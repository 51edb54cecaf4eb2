"""The torch job: gradients as autograd has them, and what settings move."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from job_traces import Record, elsewhere, origins, rows

from fixtures import environments

pytestmark = pytest.mark.torch

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
QEMU = "qemu-x86_64-static"

avx512 = pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to switch off")


def child(prefix: tuple[str, ...] = (), **variables: str) -> Record:
    record, outcome = elsewhere(
        environments.frameworks(),
        "job_traces.py",
        "torch",
        "run",
        prefix=prefix,
        **{"OMP_NUM_THREADS": "2", **variables},
    )
    assert outcome["learned"], variables
    found: Record = record
    return found


@pytest.fixture(scope="module")
def here() -> Record:
    return child()


def first(one: Record, other: Record) -> dict[str, Any]:
    """The definition of the first row with equal inputs and other bits, which must be in step 0."""
    step, phase, name = origins(one, other)[0]
    assert step == 0
    return next(row for row, _ in rows(one, 0) if (row["phase"], row["tensor"]) == (phase, name))


def test_gradients_and_update_are_those_of_torch() -> None:
    """Bit for bit: the job makes the calls that autograd and the optimizer make."""
    found = elsewhere(environments.frameworks(), "autograd.py")
    assert len(found) == 16
    assert {name: mine for name, (mine, _) in found.items()} == {name: theirs for name, (_, theirs) in found.items()}


@pytest.mark.parametrize(
    ("variables", "operator", "component"),
    [
        pytest.param({"ATEN_CPU_CAPABILITY": "avx2"}, "aten::_log_softmax f32", "aten", marks=avx512),
        ({"ATEN_CPU_CAPABILITY": "default"}, "aten::native_layer_norm f32", "aten"),
        pytest.param({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "aten::convolution f32", "onednn", marks=avx512),
        ({"MKL_CBWR": "COMPATIBLE"}, "aten::mm f32", "mkl"),
        ({"OMP_NUM_THREADS": "1"}, "aten::native_layer_norm_backward f32", "aten"),
    ],
    ids=lambda value: "-".join(map("=".join, value.items())) if isinstance(value, dict) else "",
)
def test_settings_move_the_first_row_that_they_decide(
    here: Record, variables: dict[str, str], operator: str, component: str
) -> None:
    row = first(here, child(**variables))
    assert row["operator"] == operator
    assert row["components"][0] == component


@pytest.mark.emulated
@pytest.mark.skipif(shutil.which(QEMU) is None, reason="no " + QEMU)
def test_it_learns_on_another_cpu(here: Record) -> None:
    record = child((QEMU, "-cpu", "Haswell"))
    assert [row["tensor"] for row in record["rows"]] == [row["tensor"] for row in here["rows"]]
    if "avx512f" in CPU:
        assert first(here, record)["operator"] == "aten::convolution f32"


def test_first_weights_are_pinned(here: Record) -> None:
    weights = next(digest for row, digest in rows(here, 0) if row["tensor"] == "weights" and row["phase"] == "data")
    assert weights.hex() == "17aca9caee7c31d8"
