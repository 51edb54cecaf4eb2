"""Environment variables that alter numerics, threads or text: an explicit list, and nothing beside it.

No prefixes: a variable that is not in the list may hold a password. One that is unset has the value None, so every
report has every row. Folders are cut from values, because they name people and projects.
"""

import os
import re
from typing import Any, Optional

from ..facts import Facts
from .sources import privacy

SCOPE = "machine"

ALLOWED = (
    "ATEN_CPU_CAPABILITY",
    "BLIS_ARCH_TYPE",
    "BLIS_JC_NT",
    "BLIS_NUM_THREADS",
    "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "CUDNN_CONV_WSCAP_DBG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "FLAGS_cudnn_deterministic",
    "GLIBC_TUNABLES",
    "GOMP_CPU_AFFINITY",
    "GOTO_NUM_THREADS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "JAX_PLATFORMS",
    "JAX_THREEFRY_PARTITIONABLE",
    "KMP_AFFINITY",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_NUM_THREADS",
    "LANG",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_NUMERIC",
    "LD_BIND_NOW",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_PERTURB_",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_INTERFACE_LAYER",
    "MKL_NUM_THREADS",
    "MKL_THREADING_LAYER",
    "MKL_VML_MODE",
    "NCCL_ALGO",
    "NCCL_MAX_NCHANNELS",
    "NCCL_MIN_NCHANNELS",
    "NCCL_PROTO",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NPY_PROMOTION_STATE",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_DISABLE_INTEL_SVML",
    "NUMBA_DISABLE_JIT",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "NUMEXPR_MAX_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_DEFAULT_NUM_THREADS",
    "OPENBLAS_MAIN_FREE",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_VERBOSE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE",
    "PYTHONUTF8",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TZ",
    "VECLIB_MAXIMUM_THREADS",
    "XLA_FLAGS",
)
"""Every variable that is captured. Each has its row in the catalogue, with what it does."""

_ONLY_WHETHER_SET = ("LD_LIBRARY_PATH",)
"""Folders and nothing else: only whether it is set."""

NAMES = tuple("variables." + name for name in ALLOWED)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    for name in ALLOWED:
        facts.add("variables." + name, shown(name, os.environ.get(name)), "the environment")


def shown(name: str, value: Optional[str]) -> Optional[str]:
    """A variable's value as a report may hold it: no folders, at most 512 characters; None where it is unset."""
    if value is None:
        return None
    if name in _ONLY_WHETHER_SET:
        return "(set)"
    if name == "TZ":  # Europe/Berlin is no path
        value = re.sub(r"^:?/.*zoneinfo/", "", value)
        value = value if not value.lstrip(":").startswith("/") else privacy.without_folders(value)
    else:
        value = privacy.without_folders(value)
    value = re.sub(r"((?:GPU|MIG)-)[0-9a-fA-F-]+", r"\1...", value)  # a device's UUID says which machine it is
    return value if len(value) <= privacy.TEXT_LIMIT else value[: privacy.TEXT_LIMIT - 3] + "..."
