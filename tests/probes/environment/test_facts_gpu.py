"""GPUs through NVML, with the stand-in of `standin_nvml.py`."""

from __future__ import annotations

import sys

import pytest
from standin_nvml import StandInNvml

from probes.environment import capture
from reports import cuda


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> StandInNvml:
    module = StandInNvml()
    monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]
    return module


def test_one_gpu(nvml: StandInNvml) -> None:
    facts = capture("gpu")
    expected = {
        "gpu.count": 1,
        "gpu.driver": "560.35.03",
        "gpu.cuda_driver": "12.6",
        "gpu.0.name": "NVIDIA H200",
        "gpu.0.architecture": "Hopper",
        "gpu.0.compute_capability": "9.0",
        "gpu.0.sm_count": 132,
        "gpu.0.mig": True,
        "gpu.0.mig_devices": 2,
        "gpu.0.ecc": True,
        "gpu.0.power_limit": 700.0,
        "gpu.0.clock_graphics_max": 1980,
        "gpu.0.compute_mode": "default",
    }
    assert {name: facts.value(name) for name in expected} == expected
    assert nvml.closed


def test_what_the_driver_cannot_or_will_not_say_costs_one_fact(nvml: StandInNvml) -> None:
    nvml.failing = {
        "nvmlDeviceGetMigMode": nvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetEccMode": nvml.NVML_ERROR_NO_PERMISSION,
        "nvmlDeviceGetVbiosVersion": nvml.NVML_ERROR_GPU_IS_LOST,
        "nvmlDeviceGetPowerUsage": nvml.NVML_ERROR_TIMEOUT,
    }
    records = capture("gpu").records
    statuses = {name: records["gpu.0." + name].get("status") for name in ("mig", "ecc", "vbios", "power", "name")}
    assert statuses == {"mig": "absent", "ecc": "denied", "vbios": "failed", "power": "timeout", "name": None}


@pytest.mark.parametrize(("code", "status"), [(9, "absent"), (12, "absent"), (4, "denied"), (15, "failed")])
def test_a_driver_that_does_not_start_is_said_for_every_fact(nvml: StandInNvml, code: int, status: str) -> None:
    nvml.failing = {"nvmlInit": code}
    records = capture("gpu").records
    assert {record["status"] for record in records.values()} == {status}
    assert sorted(records) == ["gpu.count", "gpu.cuda_driver", "gpu.driver", "gpu.nvml_version"]


def test_a_driver_that_was_updated_without_a_restart(nvml: StandInNvml) -> None:
    """NVML itself refuses then (error 18), and the reason says what it means."""
    nvml.failing = {"nvmlInit": 18}
    records = capture("gpu").records
    assert {record["reason"] for record in records.values()} == {
        "NVIDIA's library is not of the kernel module's version: update both, or restart"
    }
    assert {record["status"] for record in records.values()} == {"absent"}


@pytest.mark.usefixtures("nvml")
def test_the_driver_as_nvml_tells_it_fits_itself() -> None:
    facts = {name: record["value"] for name, record in capture("gpu").records.items() if "value" in record}
    assert facts["gpu.cuda_driver"] == "12.6"
    assert cuda.mismatches(facts, facts) == []
    newer = {**facts, "packages.torch.version": "2.9.0+cu128"}
    assert cuda.mismatches(newer, newer)[0].startswith("CUDA 12.8 of torch is newer than the driver: 560.35.03")
