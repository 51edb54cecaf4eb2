"""XLA in effect: nothing without jax, nothing started by asking, and what variables and calls changed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures import environments

CHILD = """
import json
from probes.environment import xla
from probes.facts import Facts

def seen():
    facts = Facts()
    xla.capture(facts)
    return {name: record.get("value", record.get("reason")) for name, record in facts.records.items()}

steps = [seen()]
import jax
steps.append(seen())
jax.config.update("jax_default_prng_impl", "rbg")
jax.jit(lambda x: x * 2)(3.0)
steps.append(seen())
print(json.dumps(steps))
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The facts before jax was imported, before it computed, and after."""
    folder = tmp_path_factory.mktemp("dump")
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "NPROC": "3",
        "XLA_FLAGS": f"--xla_cpu_max_isa=AVX --xla_dump_to={folder} --xla_cpu_enable_fast_math",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [environments.frameworks(), "-c", CHILD]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.torch
def test_nothing_is_said_where_jax_is_not_imported(steps: list[dict[str, Any]]) -> None:
    assert steps[0] == {}


@pytest.mark.torch
def test_asking_starts_nothing(steps: list[dict[str, Any]]) -> None:
    unused = "this process did not compute with jax"
    names = ("xla.platform", "xla.devices", "xla.features", "xla.threads", "xla.flags", "onednn.isa")
    assert {name for name, value in steps[1].items() if value == unused} == set(names)
    assert steps[1]["xla.x64"] is True


@pytest.mark.torch
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are not named here")
def test_what_is_in_effect(steps: list[dict[str, Any]]) -> None:
    features = steps[2].pop("xla.features")
    versions = (steps[2].pop("xla.version"), steps[2].pop("xla.jax_version"))
    assert versions == ("0.10.2", "0.10.2")
    assert steps[2].pop("onednn.isa") != "this process did not compute with jax"  # it asks the CPU itself
    assert "avx" in features
    assert not {"avx2", "fma", "avx512f"} & set(features)
    assert features == sorted(features)
    assert steps[2] == {
        "xla.platform": "cpu",
        "xla.devices": 1,
        "xla.threads": 3,
        "xla.flags": ["--xla_cpu_enable_fast_math", "--xla_cpu_max_isa=AVX"],
        "xla.jit": True,
        "xla.x64": True,
        "xla.matmul_precision": "highest",
        "xla.random": "rbg",
        "xla.random_partitionable": False,
    }


def test_values_that_may_name_anything_stay_out() -> None:
    from probes.environment import xla

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_secret=/home/ann --xla_dump_to=/home/ann word")
        patch.setattr(xla, "_computed", lambda: None)
        assert xla._flags() == ["(not recorded)", "--xla_secret=(not recorded)"]
