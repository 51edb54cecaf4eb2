"""XLA's operators in fresh processes: they repeat, and each setting moves what it decides and no control."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures import environments

pytestmark = pytest.mark.torch

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

CHILD = """
import json
from probes.digest import tensor
from probes.operators import xla
records = {}
for operator in xla.operators():
    bits = tensor(operator.function())
    again = tensor(operator.function())
    record = {field: getattr(operator, field) for field in operator._fields if field != "function"}
    records[operator.name] = dict(record, digest=bits.digest().hex(), repeats=bits == again, dtype=bits.dtype)
print(json.dumps(records))
"""


def battery(**variables: str) -> dict[str, Any]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XLA", "JAX", "NPROC", "ONEDNN"))
    }
    environment.update({"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1", "NPROC": "2"})
    command = [environments.frameworks(), "-c", CHILD]
    done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return battery()


def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    assert list(one) == list(other)
    return {name.removeprefix("xla.") for name in one if one[name]["digest"] != other[name]["digest"]}


def test_operators_are_named_and_repeat(base: dict[str, Any]) -> None:
    assert len(base) >= 50
    assert all(name.startswith("xla.") and one["component"] == "xla" for name, one in base.items())
    assert [name for name, one in base.items() if not one["repeats"]] == []
    assert {one["dtype"] for one in base.values()} == {"f4", "f8", "bf2", "u4", "i4"}


def test_two_processes_agree(base: dict[str, Any]) -> None:
    assert battery() == base


def test_threads_move_only_what_says_threaded(base: dict[str, Any]) -> None:
    names = moved(base, battery(NPROC="1"))
    assert {"conv.f32.backward", "sum.f32.columns"} <= names
    assert [name for name in names if not base["xla." + name]["threaded"]] == []


@pytest.mark.skipif("fma" not in CPU, reason="this CPU has no FMA to do without")
def test_instructions_move_what_llvm_compiles(base: dict[str, Any]) -> None:
    names = moved(base, battery(XLA_FLAGS="--xla_cpu_max_isa=AVX"))
    assert {"exp.f32", "tanh.f32", "fused.multiply_add", "fused.layer_norm", "loop.recurrent"} <= names
    assert not {"dot.f32.512x1024x512", "conv.f32.3x3"} & names  # kernels of a library that asks the processor
    assert [name for name in names if base["xla." + name]["control"]] == []


@pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to do without")
def test_the_onednn_inside_moves_convolutions(base: dict[str, Any]) -> None:
    names = moved(base, battery(ONEDNN_MAX_CPU_ISA="AVX2"))
    assert {"conv.f32.strided", "conv.f32.backward"} <= names
    assert [name for name in names if not name.startswith(("conv.", "dot."))] == []


def test_the_way_of_drawing_moves_random_numbers_alone(base: dict[str, Any]) -> None:
    names = moved(base, battery(JAX_THREEFRY_PARTITIONABLE="0"))
    assert names
    assert [name for name in names if not name.startswith("random.")] == []
