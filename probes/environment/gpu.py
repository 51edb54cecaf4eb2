"""NVIDIA's GPUs through NVML (module pynvml of nvidia-ml-py). Runs in a child of its own, because a driver can hang.

UUIDs and serial numbers are left out. Clocks and power of the moment are volatile; limits and maxima are not.
Source: NVML API reference. Structures move between its versions, so every reading stands alone.
"""

from typing import Any, Callable, Dict, List, Optional

from ..facts import Absent, Facts

SCOPE = "gpu"
NAMES = ("gpu.count", "gpu.driver", "gpu.cuda_driver", "gpu.nvml_version")

# Streaming multiprocessors are not in NVML; cores a multiprocessor by compute capability (CUDA programming guide).
_CORES_PER_SM = {"6.0": 64, "7.0": 64, "7.2": 64, "7.5": 64, "8.0": 64}
_CORES_PER_SM_DEFAULT = 128
_OLDEST_KNOWN = 5

_MISMATCH = 18  # NVML_ERROR_LIB_RM_VERSION_MISMATCH, which older pynvml do not name


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts, or for each of NAMES why there is none."""
    try:
        nvml = _start()
    except Exception as error:  # whatever the driver raises: absent and denied are told apart by Facts.read
        for name in NAMES:
            facts.read(name, "NVML", _raiser(error))
        return
    try:
        _capture_driver(facts, nvml)
        for index in range(facts.value("gpu.count") or 0):
            _capture_device(facts, nvml, index)
    finally:
        nvml.nvmlShutdown()


def _raiser(error: Exception) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


def _start() -> Any:
    """pynvml, initialised. Raises Absent, PermissionError, TimeoutError, or NVML's own error."""
    try:
        import pynvml
    except ImportError:
        raise Absent("nvidia-ml-py is not at hand") from None
    _asked(pynvml, pynvml.nvmlInit)
    return pynvml


def _asked(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What an NVML function returns; its errors as the exceptions that `Facts.read` tells apart."""
    try:
        return function(*arguments)
    except nvml.NVMLError as error:
        code = error.value
        if code in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            raise Absent("this driver or GPU does not support it") from None
        if code in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
            raise Absent("no NVIDIA driver here") from None
        if code == _MISMATCH:
            raise Absent("NVIDIA's library is not of the kernel module's version: update both, or restart") from None
        if code == nvml.NVML_ERROR_NO_PERMISSION:
            raise PermissionError("the driver denies it") from None
        if code == nvml.NVML_ERROR_TIMEOUT:
            raise TimeoutError("the driver gave no answer") from None
        raise


def _capture_driver(facts: Facts, nvml: Any) -> None:
    def ask(function: str) -> Any:
        return _asked(nvml, getattr(nvml, function))

    facts.read("gpu.count", "NVML", lambda: int(ask("nvmlDeviceGetCount")))
    facts.read("gpu.driver", "NVML", lambda: _text(ask("nvmlSystemGetDriverVersion")))
    facts.read("gpu.cuda_driver", "NVML", lambda: _cuda(ask("nvmlSystemGetCudaDriverVersion")))
    facts.read("gpu.nvml_version", "NVML", lambda: _text(ask("nvmlSystemGetNVMLVersion")))


def _capture_device(facts: Facts, nvml: Any, index: int) -> None:
    key = "gpu.{}.".format(index)
    handles: List[Any] = []

    def ask(function: str, *arguments: Any) -> Any:
        if not handles:
            handles.append(_asked(nvml, nvml.nvmlDeviceGetHandleByIndex, index))
        if not hasattr(nvml, function):
            raise Absent("this pynvml has no {}".format(function))
        return _asked(nvml, getattr(nvml, function), handles[0], *arguments)

    for name, function in _readings(nvml, ask).items():
        facts.read(key + name, "NVML", function)
    capability = facts.value(key + "compute_capability")
    facts.read(key + "sm_count", "NVML's core count", lambda: _sm_count(ask("nvmlDeviceGetNumGpuCores"), capability))


def _readings(nvml: Any, ask: Callable[..., Any]) -> Dict[str, Callable[[], Any]]:
    """Every fact of one device. Clocks in MHz, power in watts, memory in bytes."""
    graphics, memory = nvml.NVML_CLOCK_GRAPHICS, nvml.NVML_CLOCK_MEM
    return {
        "name": lambda: _text(ask("nvmlDeviceGetName")),
        "architecture": lambda: _architecture(nvml, ask("nvmlDeviceGetArchitecture")),
        "compute_capability": lambda: "{}.{}".format(*ask("nvmlDeviceGetCudaComputeCapability")),
        "cores": lambda: int(ask("nvmlDeviceGetNumGpuCores")),
        "memory": lambda: int(ask("nvmlDeviceGetMemoryInfo").total),
        "vbios": lambda: _text(ask("nvmlDeviceGetVbiosVersion")),
        "ecc": lambda: bool(ask("nvmlDeviceGetEccMode")[0]),
        "mig": lambda: bool(ask("nvmlDeviceGetMigMode")[0]),
        "mig_devices": lambda: _mig_devices(nvml, ask),
        "persistence": lambda: bool(ask("nvmlDeviceGetPersistenceMode")),
        "compute_mode": lambda: _compute_mode(nvml, ask("nvmlDeviceGetComputeMode")),
        "power_limit": lambda: ask("nvmlDeviceGetEnforcedPowerLimit") / 1000,
        "power": lambda: ask("nvmlDeviceGetPowerUsage") / 1000,
        "clock_graphics": lambda: int(ask("nvmlDeviceGetClockInfo", graphics)),
        "clock_memory": lambda: int(ask("nvmlDeviceGetClockInfo", memory)),
        "clock_graphics_max": lambda: int(ask("nvmlDeviceGetMaxClockInfo", graphics)),
        "clock_memory_max": lambda: int(ask("nvmlDeviceGetMaxClockInfo", memory)),
        "clock_graphics_application": lambda: int(ask("nvmlDeviceGetApplicationsClock", graphics)),
    }


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)  # pynvml 11 gave bytes


def _cuda(number: int) -> str:
    return "{}.{}".format(number // 1000, number % 1000 // 10)


def _architecture(nvml: Any, number: int) -> str:
    prefix = "NVML_DEVICE_ARCH_"
    names = {getattr(nvml, name): name[len(prefix) :] for name in dir(nvml) if name.startswith(prefix)}
    return names.get(number, "architecture {}".format(number)).capitalize()


def _compute_mode(nvml: Any, number: int) -> str:
    names = {
        nvml.NVML_COMPUTEMODE_DEFAULT: "default",
        nvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
        nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive process",
    }
    return names.get(number, "mode {}".format(number))


def _mig_devices(nvml: Any, ask: Callable[..., Any]) -> int:
    """How many MIG devices this GPU is divided into."""
    if not ask("nvmlDeviceGetMigMode")[0]:
        return 0
    found = 0
    for index in range(int(ask("nvmlDeviceGetMaxMigDeviceCount"))):
        try:
            ask("nvmlDeviceGetMigDeviceHandleByIndex", index)
            found += 1
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_NOT_FOUND:
                raise
    return found


def _sm_count(cores: int, capability: Optional[str]) -> int:
    """Streaming multiprocessors: 16,896 cores of compute capability 9.0 are 132. Raises Absent."""
    if capability is None or int(capability.split(".")[0]) < _OLDEST_KNOWN:
        raise Absent("cores a multiprocessor are not known for this GPU")
    return int(cores) // _CORES_PER_SM.get(capability, _CORES_PER_SM_DEFAULT)
