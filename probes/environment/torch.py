"""PyTorch in effect: versions, vector code, threads, precision and determinism, and what it computes with on a GPU.

Nothing is recorded where the process did not import torch. Nothing is asked that would start CUDA (it takes memory, and
a forked process cannot use it afterwards), and no precision through torch's old functions: they raise once the new ones
were used (pytorch#179750).
"""

import ctypes
import hashlib
import os
import re
import sys
from typing import Any, Callable, Dict, List, Optional

from ..facts import Absent, Facts
from . import variables
from .sources import forms, mapped

SCOPE = "effect"
NAMES = ()

_NO_CUDA = "this build of torch is without CUDA"
_UNUSED = "this process used no GPU"
_CAPABILITY = re.compile(r"^.*CPU capability usage.*$", re.MULTILINE)  # the processor's, not the build's
_WORD = r"[A-Za-z0-9_.+ -]{1,40}"


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "_C"):
        return
    readings = {**_of_torch(torch), **(_of_cuda(torch) if torch.version.cuda else {})}
    for name, function in readings.items():
        facts.read(name, "torch", function)
    if not torch.version.cuda:
        facts.missing("cuda.version", "absent", _NO_CUDA)


def _of_torch(torch: Any) -> Dict[str, Callable[[], Any]]:
    backends = torch.backends
    return {
        "torch.version": lambda: forms.version(str(torch.__version__)),
        "torch.build": lambda: _build(torch),
        "torch.threads": lambda: int(torch.get_num_threads()),
        "torch.interop_threads": lambda: int(torch.get_num_interop_threads()),
        "torch.parallel_backend": lambda: _parallel_backend(torch),
        "torch.default_dtype": lambda: str(torch.get_default_dtype()).rpartition(".")[2],
        "torch.deterministic": lambda: _deterministic(torch),
        "aten.capability": lambda: forms.recorded(str(backends.cpu.get_cpu_capability()), _WORD),
        "onednn.enabled": lambda: bool(backends.mkldnn.is_available() and _flag(torch, "mkldnn")),
        "onednn.matmul_precision": lambda: _precision(torch, ("mkldnn", "matmul"), lambda: _old_matmul(torch)),
        "onednn.conv_precision": lambda: _precision(torch, ("mkldnn", "conv"), lambda: "ieee"),
    }


def _of_cuda(torch: Any) -> Dict[str, Callable[[], Any]]:
    """Flags may be read at any time; what asks a device, only of a process that has used one."""
    backends = torch.backends

    def used(function: Callable[[], Any]) -> Callable[[], Any]:
        def ask() -> Any:
            if not torch.cuda.is_initialized():
                raise Absent(_UNUSED)
            return function()

        return ask

    def device() -> Any:
        return torch.cuda.get_device_properties(torch.cuda.current_device())

    matmul = backends.cuda.matmul
    return {
        "cuda.version": lambda: forms.version(str(torch.version.cuda)),
        "cuda.matmul_precision": lambda: _precision(torch, ("cuda", "matmul"), lambda: _tf32(matmul.allow_tf32)),
        "cuda.conv_precision": lambda: _precision(torch, ("cudnn", "conv"), lambda: _tf32(backends.cudnn.allow_tf32)),
        "cuda.reduced_f16": lambda: _switch(matmul.allow_fp16_reduced_precision_reduction),
        "cuda.reduced_bf16": lambda: _switch(matmul.allow_bf16_reduced_precision_reduction),
        "cuda.f16_accumulation": lambda: _switch(getattr(matmul, "allow_fp16_accumulation", False)),
        "cuda.cudnn_enabled": lambda: bool(backends.cudnn.enabled),
        "cuda.cudnn_benchmark": lambda: bool(backends.cudnn.benchmark),
        "cuda.cudnn_deterministic": lambda: bool(backends.cudnn.deterministic),
        "cuda.attention": lambda: _attention(torch),
        "cuda.blas_library": lambda: forms.recorded(str(backends.cuda.preferred_blas_library()), _WORD),
        "cuda.algebra_library": lambda: forms.recorded(str(backends.cuda.preferred_linalg_library()), _WORD),
        "cuda.allocator": lambda: forms.recorded(str(torch.cuda.get_allocator_backend()), _WORD),
        "cuda.tf32_override": lambda: _variable("NVIDIA_TF32_OVERRIDE") or "none",
        "cuda.cublas_workspace": lambda: _variable("CUBLAS_WORKSPACE_CONFIG") or "default",
        "cuda.cudnn": used(lambda: _dotted(backends.cudnn.version())),
        "cuda.cublas": used(_cublas),
        "cuda.nccl": used(lambda: ".".join(map(str, torch.cuda.nccl.version()))),
        "cuda.device": used(lambda: forms.recorded(str(device().name), _WORD)),
        "cuda.capability": used(lambda: "{}.{}".format(device().major, device().minor)),
        "cuda.multiprocessors": used(lambda: int(device().multi_processor_count)),
    }


def _build(torch: Any) -> str:
    """The digest of what torch says of its build: compiler, flags, libraries, commit."""
    told = _CAPABILITY.sub("", torch.__config__.show())
    return hashlib.blake2b(told.encode("utf-8"), digest_size=8).hexdigest()


def _parallel_backend(torch: Any) -> str:
    found = re.search(r"ATen parallel backend: ([\w ]+)", torch.__config__.parallel_info())
    if found is None:
        raise Absent("torch does not tell")
    return found.group(1).strip()


def _deterministic(torch: Any) -> str:
    return {0: "off", 1: "warn", 2: "on"}[int(torch.get_deterministic_debug_mode())]


def _flag(torch: Any, backend: str) -> bool:
    """Whether a backend is switched on; torch before 2.6 cannot switch oneDNN off by a flag."""
    return bool(getattr(getattr(torch.backends, backend), "enabled", True))


def _precision(torch: Any, place: Any, old: Callable[[], str]) -> str:
    """What f32 is computed in: ieee, tf32 or bf16. place: backend and operator; old: for torch before 2.9, which has
    one function for each. A backend that says "none" follows the one above it."""
    backend = getattr(torch.backends, place[0])
    if not hasattr(torch.backends, "fp32_precision"):
        return old()
    wishes: List[Any] = [getattr(getattr(backend, place[1], None), "fp32_precision", "none")]
    wishes += [getattr(backend, "fp32_precision", "none"), torch.backends.fp32_precision]
    return forms.recorded(str(next((wish for wish in wishes if wish != "none"), "ieee")), _WORD)


def _old_matmul(torch: Any) -> str:
    return "bf16" if torch.get_float32_matmul_precision() == "medium" else "ieee"


def _tf32(allowed: bool) -> str:
    return "tf32" if allowed else "ieee"


def _switch(value: Any) -> str:
    """A flag, or two of them: since torch 2.9 the second says whether K may be split."""
    return ", ".join("on" if one else "off" for one in (value if isinstance(value, tuple) else (value,)))


def _variable(name: str) -> Optional[str]:
    """What NVIDIA's libraries find in a variable, which the process itself may have set; no function tells it."""
    return variables.shown(name, os.environ.get(name))


def _attention(torch: Any) -> List[str]:
    """The kinds of attention kernels that may be chosen."""
    cuda = torch.backends.cuda
    kinds = ("flash", "mem_efficient", "math", "cudnn")
    return [kind for kind in kinds if getattr(cuda, kind + "_sdp_enabled", lambda: False)()]


def _dotted(number: int) -> str:
    """cuDNN's 91002 is 9.10.2, its 8902 is 8.9.2."""
    factor = 10000 if number >= 90000 else 1000
    return "{}.{}.{}".format(number // factor, number % factor // 100, number % 100)


def _cublas() -> str:
    """The version that cuBLAS tells of itself: 120803 is 12.8.3. Raises Absent where it is not loaded."""
    function = ctypes.CDLL(mapped.find("libcublasLt")).cublasLtGetVersion
    function.restype = ctypes.c_size_t
    number = int(function())
    return "{}.{}.{}".format(number // 10000, number % 10000 // 100, number % 100)
