"""A stand-in for pynvml, because no GPU can be had here. Not recorded from a real driver: values are those that NVML's
documentation and NVIDIA's data sheet give for one H200 (132 multiprocessors, 16,896 cores, compute capability 9.0)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As pynvml's: `value` is the code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class StandInNvml:
    """The functions and constants of pynvml that the probe uses. `failing` maps a function's name to an error code."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_TIMEOUT = 10
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_CLOCK_GRAPHICS = 0
    NVML_CLOCK_MEM = 2
    NVML_COMPUTEMODE_DEFAULT = 0
    NVML_COMPUTEMODE_PROHIBITED = 2
    NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
    NVML_DEVICE_ARCH_AMPERE = 7
    NVML_DEVICE_ARCH_HOPPER = 9

    def __init__(self, failing: dict[str, int] | None = None) -> None:
        self.failing = failing or {}
        self.closed = False

    def __getattribute__(self, name: str) -> Any:
        failing = object.__getattribute__(self, "__dict__").get("failing", {})
        if name in failing:

            def fail(*arguments: Any) -> Any:
                raise NVMLError(failing[name])

            return fail
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlSystemGetDriverVersion(self) -> bytes:  # pynvml 11 gave bytes
        return b"560.35.03"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12060

    def nvmlSystemGetNVMLVersion(self) -> str:
        return "12.560.35.03"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return 1000 + index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H200"

    def nvmlDeviceGetArchitecture(self, handle: int) -> int:
        return 9

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetNumGpuCores(self, handle: int) -> int:
        return 16896

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=150754820096, free=0, used=0)

    def nvmlDeviceGetVbiosVersion(self, handle: int) -> str:
        return "96.00.A0.00.01"

    def nvmlDeviceGetEccMode(self, handle: int) -> list[int]:
        return [1, 1]

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, index: int) -> int:
        if index > 1:
            raise NVMLError(self.NVML_ERROR_NOT_FOUND)
        return 2000 + index

    def nvmlDeviceGetPersistenceMode(self, handle: int) -> int:
        return 1

    def nvmlDeviceGetComputeMode(self, handle: int) -> int:
        return 0

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 700000

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 120500

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return {0: 345, 2: 3201}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return {0: 1980, 2: 3201}[kind]

    def nvmlDeviceGetApplicationsClock(self, handle: int, kind: int) -> int:
        return 1980
