"""Settings that are no variables: calls in the process that computes, made before what they are to decide."""

import ctypes
import os
import sys
from typing import Any, Dict

from .facts import Absent

_FLUSH = 0x8040  # MXCSR: flush-to-zero (bit 15) and denormals-are-zero (bit 6). Source: Intel SDM volume 1, 10.2.3
_MXCSR_AT = 28  # in glibc's and musl's fenv_t, behind the x87 environment


def before_libraries(calls: Dict[str, Any]) -> None:
    """Those that threads inherit: before any library starts some. Raises Absent where a call cannot be made."""
    if "flush_denormals" in calls:
        _flush_denormals()


def before_work(calls: Dict[str, Any]) -> None:
    """Those that a library takes once it is there; again whenever another one is. Raises Absent where a call cannot be
    made."""
    if "blas_threads" in calls:
        _blas_threads(int(calls["blas_threads"]))
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        _of_torch(torch, calls)


def _of_torch(torch: Any, calls: Dict[str, Any]) -> None:
    if "torch_threads" in calls:
        torch.set_num_threads(int(calls["torch_threads"]))
    if "torch_deterministic" in calls:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else torch refuses matrix products on a GPU
        torch.use_deterministic_algorithms(True, warn_only=calls["torch_deterministic"] == "warn")
    backends = torch.backends
    new = hasattr(backends, "fp32_precision")  # torch 2.9: once one way was used, the other one's readings raise
    if "cuda_matmul_precision" in calls:
        _round(backends.cuda.matmul, new, calls["cuda_matmul_precision"])
    if "cuda_conv_precision" in calls:
        _round(backends.cudnn.conv if new else backends.cudnn, new, calls["cuda_conv_precision"])
    if "cudnn_benchmark" in calls:
        backends.cudnn.benchmark = calls["cudnn_benchmark"] == "True"


def _round(place: Any, new: bool, precision: str) -> None:
    """What single precision is computed in on a GPU: "ieee" or "tf32"."""
    if new:
        place.fp32_precision = precision
    else:
        place.allow_tf32 = precision == "tf32"


def _flush_denormals() -> None:
    """What a library built with -Ofast does when it is loaded."""
    library = ctypes.CDLL(None)
    if not sys.platform.startswith("linux") or not hasattr(library, "fesetenv"):
        raise Absent("flush_denormals: only on Linux with a C library that has fesetenv")
    environment = (ctypes.c_ubyte * 64)()
    if library.fegetenv(environment) != 0:
        raise Absent("flush_denormals: fegetenv failed")
    mode = int.from_bytes(bytes(environment[_MXCSR_AT : _MXCSR_AT + 4]), "little") | _FLUSH
    environment[_MXCSR_AT : _MXCSR_AT + 4] = list(mode.to_bytes(4, "little"))
    if library.fesetenv(environment) != 0:
        raise Absent("flush_denormals: fesetenv failed")


def _blas_threads(count: int) -> None:
    try:
        import threadpoolctl
    except ImportError:
        raise Absent("blas_threads: threadpoolctl needs a newer Python") from None
    threadpoolctl.threadpool_limits(count, "blas")
