"""CUDA and its driver: what fits is not spoken of, what does not is called by name.

No GPU can be had here, so values are those of NVIDIA's compatibility tables.
"""

from __future__ import annotations

from typing import Any

import pytest
import samples
from msgspec.structs import replace

from audit.compare.engine import compare
from audit.compare.side import Measured
from reports import cuda, render
from reports.report import Fact

DRIVER = {"gpu.cuda_driver": "12.4", "gpu.driver": "550.54.15", "gpu.kernel_driver": "550.54.15"}
TOO_NEW = "CUDA 13.0 of nvidia-cuda-runtime needs a newer driver: 550.54.15 supports CUDA 12.4 at most"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"packages.nvidia-cuda-runtime.version": "13.0.48"}, [f"{TOO_NEW}; nothing runs on the GPU"]),
        ({"packages.nvidia-cuda-runtime-cu12.version": "12.6.77"},
         ["CUDA 12.6 of nvidia-cuda-runtime-cu12 is newer than the driver: 550.54.15 supports CUDA 12.4 at most; it "
          "runs, but for code that is compiled at run time"]),
        ({"packages.nvidia-cuda-runtime-cu12.version": "12.4.127"}, []),
        ({"packages.nvidia-cuda-runtime-cu11.version": "11.8.89"}, []),
        ({"packages.torch.version": "2.9.0+cu130"},
         ["CUDA 13.0 of torch needs a newer driver: 550.54.15 supports CUDA 12.4 at most; nothing runs on the GPU"]),
        ({"packages.torch.version": "2.4.0+cu118"}, []),
        ({"packages.torch.version": "2.9.0+cpu"}, []),
        ({"packages.torch.version": "2.9.0"}, []),
        ({"system_packages.cuda-cudart-13-0.version": "13.0.48-1"},
         ["CUDA 13.0 of cuda-cudart-13-0 needs a newer driver: 550.54.15 supports CUDA 12.4 at most; nothing runs on "
          "the GPU"]),
        ({"system_packages.libcudart12.version": "12.4.127~12.4.1-2"}, []),
        ({"system_packages.cuda-cudart-13-0.version": "13.0.48-1", "system_packages.cuda-compat-13-0.version": "580.1"},
         ["CUDA 13.0 of cuda-cudart-13-0 needs a newer driver: 550.54.15 supports CUDA 12.4 at most; cuda-compat-13-0 "
          "makes up for it on data-centre GPUs, if it is loaded"]),
        # What is in use counts, not what else is installed.
        ({"libraries.libcudart.version": "12.4.127", "packages.nvidia-cuda-runtime.version": "13.0.48"}, []),
        ({"libraries.libcuda.version": "560.35.03"},
         ["libcuda is of driver 560.35.03, but the kernel's is 550.54.15: update both, or restart"]),
        ({"libraries.libcuda.version": "550.54.15", "gpu.nvml_version": "12.550.54.15"}, []),
        ({"libraries.libcuda.version": "580.65.06", "system_packages.cuda-compat-13-0.version": "580.65.06-1"}, []),
        ({"gpu.kernel_driver": None, "gpu.driver": "551.1", "gpu.nvml_version": "12.550.54.15"}, []),
        ({"gpu.nvml_version": "12.560.35.03"},
         ["NVML is of driver 560.35.03, but the kernel's is 550.54.15: update both, or restart"]),
        ({"system_packages.libnvidia-compute-535.version": "535.183.01-0ubuntu0.22.04.1"},
         ["libnvidia-compute-535 is of driver 535.183.01, but the kernel's is 550.54.15: update both, or restart"]),
        ({"packages.nvidia-cuda-runtime.version": "(not recorded)", "libraries.libcuda.version": "1"}, []),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_called_by_name(facts: dict[str, Any], told: list[str]) -> None:
    assert cuda.mismatches({**DRIVER, **facts}, DRIVER) == told


def test_without_a_driver_there_is_nothing_to_fit() -> None:
    assert cuda.mismatches({"packages.nvidia-cuda-runtime.version": "13.0.48"}, {}) == []


def measured(name: str, label: str, **facts: Any) -> Measured:
    known = {name.replace("__", "."): Fact(value) for name, value in facts.items()}
    target = samples.target(name=name, facts={**samples.facts(), **known}, jobs=[])
    report = samples.report(target, label=label)
    return Measured(name if name != "host" else label, "one.json", report, target)


HOST = {name.replace(".", "__"): value for name, value in DRIVER.items()}
NEWER = {"packages__nvidia-cuda-runtime__version": "13.0.48"}


def test_a_diff_holds_an_image_against_its_hosts_driver() -> None:
    comparison = compare([measured("host", "box", **HOST), measured("image", "box", **NEWER)])
    assert comparison.hazards[0].plain == f"image: {TOO_NEW}; nothing runs on the GPU"
    assert TOO_NEW in render.diff(comparison, "json")
    assert TOO_NEW in render.diff(comparison, "markdown").replace("\\", "")
    plain = " ".join(render.diff(comparison, "terminal").split())
    assert TOO_NEW in plain


def test_a_diff_of_two_machines_holds_each_against_its_own() -> None:
    one, two = measured("host", "a", **HOST, **NEWER), measured("host", "b", **{**HOST, "gpu__cuda_driver": "13.0"})
    two = replace_file(two, **NEWER)
    plains = [hazard.plain for hazard in compare([one, two]).hazards if hazard.name == "CUDA"]
    assert plains == [f"a: {TOO_NEW}; nothing runs on the GPU"]


def replace_file(one: Measured, **facts: Any) -> Measured:
    known = {name.replace("__", "."): Fact(value) for name, value in facts.items()}
    target = replace(one.target, facts={**one.target.facts, **known})
    return Measured(one.label, "two.json", samples.report(target, label=one.label), target)


def test_a_full_page_keeps_it() -> None:
    comparison = replace(
        samples.diverged(), hazards=[samples.Hazard("CUDA", f"new: {TOO_NEW}"), *samples.diverged().hazards]
    )
    text = render.diff(comparison, "terminal")
    assert len(text.splitlines()) <= 25
    assert TOO_NEW in " ".join(text.split())


def test_show_says_it_too() -> None:
    one = measured("host", "box", **HOST, **NEWER)
    text = " ".join(render.show(one.report, "terminal").split())
    assert f"CUDA {TOO_NEW}; nothing runs on the GPU" in text
    assert "CUDA" not in render.show(measured("host", "box", **HOST).report, "terminal")
