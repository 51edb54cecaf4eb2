"""Whether a process's CUDA and the driver under it fit, from the facts of both: what does not is called by name.

CUDA's runtime comes with a package (of Python, of the system) and with an image; the driver is the machine's, and in a
container the host's. A driver runs every runtime of its own major version and of older ones; of its major version a
newer minor one too, but for code that is compiled at run time. Source: CUDA Compatibility (NVIDIA), Minor Version
Compatibility, Forward Compatibility.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .report import Value

Facts = Mapping[str, Value]
"""Values by fact."""

_RUNTIMES = (
    (r"libraries\.libcudart\.version", r"(\d+)\.(\d+)", "the libcudart in use"),
    (r"packages\.(torch)\.version", r".*\+cu(\d\d)(\d)", "{}"),
    (r"packages\.(nvidia-cuda-runtime(?:-cu\d\d)?)\.version", r"(\d+)\.(\d+)", "{}"),
    (r"system_packages\.(libcudart\d\d(?:\.\d)?|cuda-cudart-\d\d-\d)\.version", r"(\d+)\.(\d+)", "{}"),
)
"""The facts that tell a runtime's version, the form of what tells it, and what brings it. What is in use first."""

_DRIVER_PARTS = (
    (r"libraries\.(libcuda)\.version", r"(\d+\.\d+(?:\.\d+)?)"),
    (r"gpu\.(nvml)_version", r"\d+\.(\d+\.\d+(?:\.\d+)?)"),
    (r"system_packages\.(libcuda1|libnvidia-compute-\d+(?:-\w+)?)\.version", r"(\d+\.\d+(?:\.\d+)?)"),
)
"""The same for what belongs to the driver and runs in the process; its version must be the kernel module's."""

FACETS = ("gpu", "libraries", "packages", "system_packages")
"""Where the facts stand that are read here."""


class _Runtime(NamedTuple):
    version: tuple[int, int]
    brings: str


_READ = re.compile("cuda|nvidia|torch|nvml")


def mismatches(facts: Facts, driver: Facts) -> list[str]:
    """What does not fit, in words. driver: where the driver's own facts stand, for a container without a GPU the
    host's."""
    read = {name: value for name, value in facts.items() if name.startswith("gpu.") or _READ.search(name)}
    return [*_too_new(read, driver), *_other_parts(read)]


def _too_new(facts: Facts, driver: Facts) -> Iterator[str]:
    most = _numbers(driver.get("gpu.cuda_driver"))
    runtime = next(_runtimes(facts), None)
    if most is None or runtime is None or runtime.version <= most:
        return
    wanted, offered = (".".join(map(str, one)) for one in (runtime.version, most))
    words = f"CUDA {wanted} of {runtime.brings} needs a newer driver: {driver.get('gpu.driver') or 'the one here'}"
    if runtime.version[0] == most[0]:
        words = f"CUDA {wanted} of {runtime.brings} is newer than the driver: {driver.get('gpu.driver') or 'it'}"
    words += f" supports CUDA {offered} at most"
    compatible = _compatible(facts)
    if compatible:
        yield f"{words}; {compatible} makes up for it on data-centre GPUs, if it is loaded"
    elif runtime.version[0] == most[0]:
        yield f"{words}; it runs, but for code that is compiled at run time"
    else:
        yield f"{words}; nothing runs on the GPU"


def _runtimes(facts: Facts) -> Iterator[_Runtime]:
    for fact, form, brings in _RUNTIMES:
        for name in sorted(facts):
            found, version = re.fullmatch(fact, name), re.match(form, str(facts[name]))
            if found and version:
                yield _Runtime((int(version[1]), int(version[2])), brings.format(*found.groups()))


def _other_parts(facts: Facts) -> Iterator[str]:
    kernel = facts.get("gpu.kernel_driver")  # as the kernel says it: Windows below a Linux has versions of its own
    if not isinstance(kernel, str):
        return
    for fact, form in _DRIVER_PARTS[1:] if _compatible(facts) else _DRIVER_PARTS:
        for name in sorted(facts):
            found, version = re.fullmatch(fact, name), re.match(form, str(facts[name]))
            if found and version and version[1] != kernel:
                part = found[1].replace("nvml", "NVML")
                yield f"{part} is of driver {version[1]}, but the kernel's is {kernel}: update both, or restart"
                return


def _compatible(facts: Facts) -> str:
    """The package with a newer driver's libcuda that is meant to run on an older kernel module; "" without one."""
    found = (re.fullmatch(r"system_packages\.(cuda-compat-\d\d-\d)\.version", name) for name in facts)
    return next((one[1] for one in found if one), "")


def _numbers(version: Value) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", version) if isinstance(version, str) else None
    return (int(found[1]), int(found[2])) if found else None
