"""Whether this machine has an NVIDIA driver, without starting it: `gpu` asks the driver, in a child of its own."""

import ctypes
import re
import sys
from typing import Any

from ..facts import Absent, Facts, text

SCOPE = "machine"
NAMES = ("gpu.nvml", "gpu.kernel_driver")

KERNEL_DRIVER = "/proc/driver/nvidia/version"


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("gpu.nvml", "the library of NVML", _loadable)
    facts.read("gpu.kernel_driver", KERNEL_DRIVER, _kernel_driver)


def _loadable() -> bool:
    if sys.platform == "darwin":
        raise Absent("macOS has no NVML")
    library = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        raise Absent("{} cannot be loaded: no NVIDIA driver here".format(library)) from None
    return True


def _kernel_driver() -> str:
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text(KERNEL_DRIVER, 4096))
    if match is None:
        raise Absent("{} names no version".format(KERNEL_DRIVER))
    return match.group(1)
