"""Environment variables that alter numerics, threads or text: an explicit list, and nothing beside it.

No prefixes: a variable that is not in the list may hold a password. And no value that the variable cannot mean: each
has its form, and another text is "(not recorded)". One that is unset has the value None, so every report has every row.
"""

import os
import re
from typing import Any, Callable, Dict, Optional, Union

from ..facts import Facts
from .sources import forms

SCOPE = "machine"


def _tunables(value: str) -> str:
    return forms.items(value, ":", _TUNABLE, forms.TUNED_FEATURES + r"|0x[0-9a-f]{1,16}|\d{1,20}|" + forms.SWITCH)


def _preload(value: str) -> str:
    # The loader takes spaces and colons; a folder names people and projects, a library's own name does not.
    files = re.sub(r"(?<![^\s:])[^\s:]*/", "", value)  # from where a word begins: in linear time
    return forms.items(files, r"\s:", r"[\w.+-]{1,80}\.so[.\d]{0,16}")


def _devices(value: str) -> str:
    # A device's UUID says which machine it is, whole or shortened.
    impersonal = re.sub(r"\b(GPU-|MIG-(?:GPU-)?)[0-9a-fA-F-]+", r"\1...", value)
    return forms.recorded(
        impersonal, forms.listed(r"-?\d{1,3}|(?:GPU|MIG|MIG-GPU)-\.\.\.(?:/\d+){0,2}|NoDevFiles|all|none|void")
    )


def _xla(value: str) -> str:
    # XLA ends a program at a flag that it does not know, so a name of its form is one of its names.
    known = "|".join((forms.NUMBER, forms.SWITCH, forms.FEATURE, forms.PROCESSOR))
    return forms.items(value, r"\s", "--?xla_[a-z0-9_]{1,80}", known)


def _zone(value: str) -> str:
    return forms.recorded(re.sub(r"^:?/.*zoneinfo/", "", value), forms.ZONE)


def _whether_set(value: str) -> str:
    return "(set)"  # folders and nothing else


Form = Union[str, Callable[[str], str]]
"""A regular expression that all of a value must match, or a function from a value to what a report may hold of it."""

_TUNABLE = r"glibc\.(?:{})".format(
    "|".join(
        (
            r"(?:cpu|tune)\.(?:hwcaps|hwcap_mask|name|cached_memopt|prefer_map_32bit_exec|plt_rewrite|aarch64_gcs)",
            r"(?:cpu|tune)\.x86_(?:(?:data|shared)_cache_size|(?:memset_)?non_temporal_threshold|ibt|shstk)",
            r"(?:cpu|tune)\.x86_rep_(?:movsb|stosb)(?:_stop)?_threshold",
            r"malloc\.(?:check|top_pad|perturb|mmap_max|mmap_threshold|trim_threshold|arena_max|arena_test|hugetlb)",
            r"malloc\.(?:tcache_max|tcache_count|tcache_unsorted_limit|mxfast)",
            r"elision\.(?:enable|tries|skip_lock_busy|skip_lock_internal_abort|skip_lock_after_retries)",
            r"elision\.skip_trylock_internal_abort|mem\.(?:tagging|decorate_maps)|gmon\.(?:minarcs|maxarcs)",
            r"rtld\.(?:nns|optional_static_tls|dynamic_sort|enable_secure|execstack)",
            r"pthread\.(?:rseq|mutex_spin_count|stack_cache_size|stack_hugetlb)",
        )
    )
)
_PRECISION = forms.words("strict bf16 f16 tf32 any")
_ISA = forms.words("all default auto") + "|" + forms.FEATURE
_HINTS = forms.words("no_hints prefer_ymm")
_VERBOSE = forms.listed(r"\d|" + forms.words("none error warn check dispatch profile profile_exec profile_create all"))
_CORE = forms.PROCESSOR + r"|\d{1,3}"
_AFFINITY = forms.listed(
    forms.words(
        "verbose noverbose warnings nowarnings respect norespect reset noreset compact scatter balanced disabled none",
        "explicit logical physical",
    )
    + r"|granularity=(?:fine|thread|core|tile|module|die|node|group|socket|package|ll_cache)"
    + r"|proclist=\[[\d,{}:-]{1,200}\]|\d{1,5}",
    r"\s,",
)
_BLAS_DOMAINS = r"MKL_(?:DOMAIN_)?(?:ALL|BLAS|LAPACK|FFT|VML|PARDISO)\s*[=:]\s*\d{1,4}"
_VML_MODES = forms.words(
    "VML_LA VML_HA VML_EP VML_FTZDAZ_ON VML_FTZDAZ_OFF VML_FTZDAZ_CURRENT VML_ERRMODE_IGNORE VML_ERRMODE_ERRNO",
    "VML_ERRMODE_STDERR VML_ERRMODE_EXCEPT VML_ERRMODE_CALLBACK VML_ERRMODE_DEFAULT VML_ERRMODE_NOERR",
)
_NCCL = forms.listed(
    r"\^?"
    + forms.words(
        "ring tree collnetdirect collnetchain nvls nvlstree pat ll ll128 simple",
        "allreduce allgather reducescatter broadcast reduce",
    ),
    r"\s,;:",
)
_JAX_PRECISION = forms.words(
    "default high highest fastest bfloat16 bfloat16_3x tensorfloat32 float16 float32 float64 any_f8_any_f8_f32",
    "f16_f16_f16 f16_f16_f32 bf16_bf16_bf16 bf16_bf16_f32 bf16_bf16_f32_x3 bf16_bf16_f32_x6 bf16_bf16_f32_x9",
    "tf32_tf32_f32 tf32_tf32_f32_x3 f32_f32_f32 f64_f64_f64",
)
_CODEC = "(?:{})?(?::{})?".format(
    forms.ENCODING,
    forms.words("strict ignore replace backslashreplace surrogateescape surrogatepass namereplace xmlcharrefreplace"),
)
_ALLOCATOR = forms.listed(
    r"(?:backend:(?:native|cudaMallocAsync)|roundup_power2_divisions:\[[\d:,>\s]{1,100}\]|(?:max_split_size_mb"
    r"|max_non_split_rounding_mb|roundup_power2_divisions|garbage_collection_threshold|expandable_segments"
    r"|release_lock_on_cudamalloc|pinned_use_cuda_host_register|pinned_num_register_threads"
    r"|pinned_use_background_threads|pinned_reserve_segment_size_mb|graph_capture_record_stream_reuse)"
    r":\s*(?:" + forms.NUMBER + r"|True|False))"
)

FORMS: Dict[str, Form] = {
    "ATEN_CPU_CAPABILITY": _ISA,
    "BLIS_ARCH_TYPE": _CORE,
    "BLIS_JC_NT": forms.NUMBER,
    "BLIS_NUM_THREADS": forms.NUMBER,
    "CUBLASLT_WORKSPACE_SIZE": forms.NUMBER,
    "CUBLAS_WORKSPACE_CONFIG": r"(?::\d{1,9}){1,8}",
    "CUDA_DEVICE_ORDER": forms.words("FASTEST_FIRST PCI_BUS_ID"),
    "CUDA_LAUNCH_BLOCKING": forms.SWITCH,
    "CUDA_VISIBLE_DEVICES": _devices,
    "CUDNN_CONV_WSCAP_DBG": forms.NUMBER,
    "DISABLE_ADDMM_CUDA_LT": forms.SWITCH,
    "DNNL_CPU_ISA_HINTS": _HINTS,
    "DNNL_DEFAULT_FPMATH_MODE": _PRECISION,
    "DNNL_MAX_CPU_ISA": _ISA,
    "DNNL_VERBOSE": _VERBOSE,
    "FLAGS_cudnn_deterministic": forms.SWITCH,
    "GLIBC_TUNABLES": _tunables,
    "GOMP_CPU_AFFINITY": forms.RANGES,
    "GOTO_NUM_THREADS": forms.NUMBER,
    "JAX_DEFAULT_MATMUL_PRECISION": _JAX_PRECISION,
    "JAX_DEFAULT_PRNG_IMPL": forms.words("threefry2x32 rbg unsafe_rbg"),
    "JAX_DISABLE_JIT": forms.SWITCH,
    "JAX_ENABLE_X64": forms.SWITCH,
    "JAX_PLATFORMS": forms.listed(forms.words("cpu gpu cuda rocm tpu metal interpreter")),
    "JAX_THREEFRY_PARTITIONABLE": forms.SWITCH,
    "KMP_AFFINITY": _AFFINITY,
    "KMP_DETERMINISTIC_REDUCTION": forms.SWITCH,
    "KMP_NUM_THREADS": forms.NUMBERS,
    "LANG": forms.LOCALE,
    "LC_ALL": forms.LOCALE,
    "LC_COLLATE": forms.LOCALE,
    "LC_CTYPE": forms.LOCALE,
    "LC_NUMERIC": forms.LOCALE,
    "LD_BIND_NOW": forms.SWITCH,
    "LD_LIBRARY_PATH": _whether_set,
    "LD_PRELOAD": _preload,
    "MALLOC_ARENA_MAX": forms.NUMBER,
    "MALLOC_PERTURB_": forms.NUMBER,
    "MKL_CBWR": forms.listed(forms.words("compatible auto off strict") + "|" + forms.FEATURE),
    "MKL_DEBUG_CPU_TYPE": forms.NUMBER,
    "MKL_DOMAIN_NUM_THREADS": forms.listed(_BLAS_DOMAINS, r"\s,;"),
    "MKL_DYNAMIC": forms.SWITCH,
    "MKL_ENABLE_INSTRUCTIONS": forms.FEATURE,
    "MKL_INTERFACE_LAYER": forms.listed(forms.words("LP64 ILP64 GNU")),
    "MKL_NUM_THREADS": forms.NUMBERS,
    "MKL_THREADING_LAYER": forms.words("INTEL GNU PGI SEQUENTIAL TBB"),
    "MKL_VML_MODE": forms.listed(_VML_MODES, r"\s,|"),
    "NCCL_ALGO": _NCCL,
    "NCCL_MAX_NCHANNELS": forms.NUMBER,
    "NCCL_MIN_NCHANNELS": forms.NUMBER,
    "NCCL_PROTO": _NCCL,
    "NPROC": forms.NUMBER,
    "NPY_DISABLE_CPU_FEATURES": forms.FEATURES,
    "NPY_ENABLE_CPU_FEATURES": forms.FEATURES,
    "NPY_PROMOTION_STATE": forms.words("legacy weak weak_and_warn"),
    "NUMBA_CPU_FEATURES": forms.FEATURES,
    "NUMBA_CPU_NAME": forms.PROCESSOR,
    "NUMBA_DISABLE_INTEL_SVML": forms.SWITCH,
    "NUMBA_DISABLE_JIT": forms.SWITCH,
    "NUMBA_NUM_THREADS": forms.NUMBER,
    "NUMBA_THREADING_LAYER": forms.words("default safe forksafe threadsafe tbb omp workqueue"),
    "NUMEXPR_MAX_THREADS": forms.NUMBER,
    "NUMEXPR_NUM_THREADS": forms.NUMBER,
    "NVIDIA_TF32_OVERRIDE": forms.SWITCH,
    "OMP_DYNAMIC": forms.SWITCH,
    "OMP_NUM_THREADS": forms.NUMBERS,
    "OMP_PLACES": forms.words("threads cores ll_caches sockets numa_domains") + r"(?:\(\d+\))?|[\d{}:,!\s-]{1,500}",
    "OMP_PROC_BIND": forms.listed(forms.words("true false master primary close spread")),
    "OMP_SCHEDULE": r"(?i:(?:non)?monotonic:)?(?i:static|dynamic|guided|auto)(?:\s*,\s*\d{1,9})?",
    "OMP_THREAD_LIMIT": forms.NUMBER,
    "ONEDNN_CPU_ISA_HINTS": _HINTS,
    "ONEDNN_DEFAULT_FPMATH_MODE": _PRECISION,
    "ONEDNN_MAX_CPU_ISA": _ISA,
    "ONEDNN_VERBOSE": _VERBOSE,
    "OPENBLAS_CORETYPE": _CORE,
    "OPENBLAS_DEFAULT_NUM_THREADS": forms.NUMBER,
    "OPENBLAS_L2_SIZE": forms.NUMBER,
    "OPENBLAS_MAIN_FREE": forms.NUMBER,
    "OPENBLAS_NUM_THREADS": forms.NUMBER,
    "OPENBLAS_VERBOSE": forms.NUMBER,
    "PJRT_NPROC": forms.NUMBER,
    "PYTHONFAULTHANDLER": forms.SWITCH,
    "PYTHONHASHSEED": r"\d{1,10}|random",
    "PYTHONIOENCODING": _CODEC,
    "PYTHONMALLOC": forms.words("default malloc pymalloc mimalloc debug malloc_debug pymalloc_debug mimalloc_debug"),
    "PYTHONNOUSERSITE": forms.SWITCH,
    "PYTHONOPTIMIZE": forms.SWITCH,
    "PYTHONUTF8": forms.SWITCH,
    "PYTORCH_ALLOC_CONF": _ALLOCATOR,
    "PYTORCH_CUDA_ALLOC_CONF": _ALLOCATOR,
    "PYTORCH_JIT": forms.SWITCH,
    "PYTORCH_NO_CUDA_MEMORY_CACHING": forms.SWITCH,
    "PYTORCH_TUNABLEOP_ENABLED": forms.SWITCH,
    "TF_CUDNN_DETERMINISTIC": forms.SWITCH,
    "TF_DETERMINISTIC_OPS": forms.SWITCH,
    "TF_ENABLE_ONEDNN_OPTS": forms.SWITCH,
    "TF_NUM_INTEROP_THREADS": forms.NUMBER,
    "TF_NUM_INTRAOP_THREADS": forms.NUMBER,
    "TORCHDYNAMO_DISABLE": forms.SWITCH,
    "TORCHINDUCTOR_EMULATE_PRECISION_CASTS": forms.SWITCH,
    "TORCHINDUCTOR_MAX_AUTOTUNE": forms.SWITCH,
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": forms.SWITCH,
    "TORCH_BLAS_PREFER_CUBLASLT": forms.SWITCH,
    "TORCH_COMPILE_DISABLE": forms.SWITCH,
    "TORCH_CUDNN_SDPA_ENABLED": forms.SWITCH,
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B": forms.SWITCH,
    "TORCH_CUDNN_V8_API_DISABLED": forms.SWITCH,
    "TORCH_LINALG_PREFER_CUSOLVER": forms.SWITCH,
    "TZ": _zone,
    "VECLIB_MAXIMUM_THREADS": forms.NUMBER,
    "XLA_FLAGS": _xla,
}
"""Every variable that is captured, with the form of its values. Each has its row in the catalogue."""

NAMES = tuple("variables." + name for name in FORMS)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    for name in FORMS:
        facts.add("variables." + name, shown(name, os.environ.get(name)), "the environment")


def shown(name: str, value: Optional[str]) -> Optional[str]:
    """A variable's value as a report may hold it; None where it is unset."""
    if value is None:
        return None
    form = FORMS[name]
    return forms.recorded(value, form) if isinstance(form, str) else form(value)
