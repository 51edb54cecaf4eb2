"""XLA in effect, as JAX calls it: versions, what it compiles for, its threads, JAX's own choices of precision.

Nothing is recorded where the process did not import JAX. Where it did not compute with it, nothing is asked that would
start XLA: it takes most of a GPU's memory.

XLA has a oneDNN of its own inside for convolutions and some products. It tells nothing of itself, so what is in effect
follows from its rule; where torch is in the process as well, its oneDNN has told, which goes by the same rule.
"""

import os
import re
import sys
from typing import Any, List

from ..facts import Absent, Facts, text
from . import cpu
from .sources import forms, native
from .variables import shown

SCOPE = "effect"
NAMES = ()

_BESIDE = re.compile(r"--?xla_(?:dump|hlo_profile|gpu_dump|cpu_enable_xprof)")
"""Flags that write files beside the computation."""

_TARGET = re.compile(rb"[+-][a-z0-9][a-z0-9._-]*(?:,[+-][a-z0-9][a-z0-9._-]*){7,}")
_ARITHMETIC = re.compile(
    r"(?:avx|amx|fma|f16c|sse|prefer-|neon|fp-armv8|fullfp16|bf16|i8mm|sve|sme|vsx)[a-z0-9.-]{0,30}"
)
"""Of the features of LLVM's targets, those that decide how it computes with numbers."""

_POOL = "tf_XLAEigen"

_ISAS = (
    ("AVX512_CORE_FP16", "avx512_fp16"),
    ("AVX512_CORE_BF16", "avx512_bf16"),
    ("AVX512_CORE_VNNI", "avx512_vnni"),
    ("AVX512_CORE", "avx512bw"),
    ("AVX2_VNNI", "avx_vnni"),
    ("AVX2", "avx2"),
    ("AVX", "avx"),
    ("SSE41", "sse4_1"),
)
"""What oneDNN makes its loops for, highest first, each with the feature by which it is known (oneDNN,
cpu/x64/cpu_isa_traits.hpp)."""


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    jax, jaxlib = sys.modules.get("jax"), sys.modules.get("jaxlib")
    if jax is None or jaxlib is None:
        return
    facts.read("xla.version", "jaxlib.__version__", lambda: forms.version(str(jaxlib.__version__)))
    facts.read("xla.jax_version", "jax.__version__", lambda: forms.version(str(jax.__version__)))
    facts.read("xla.platform", "jax.default_backend", lambda: _platform(jax))
    facts.read("xla.devices", "jax.device_count", lambda: _devices(jax))
    facts.read("xla.features", "an executable of XLA's", lambda: _features(jax))
    if "onednn.isa" not in facts.records:
        facts.read("onednn.isa", "the processor and ONEDNN_MAX_CPU_ISA", _onednn_isa)
    facts.read("xla.threads", "this process's threads", _threads)
    facts.read("xla.flags", "XLA_FLAGS", _flags)
    facts.read("xla.jit", "jax_disable_jit", lambda: not _setting(jax, "jax_disable_jit"))
    facts.read("xla.x64", "jax_enable_x64", lambda: bool(_setting(jax, "jax_enable_x64")))
    facts.read("xla.matmul_precision", "jax_default_matmul_precision", lambda: _precision(jax))
    facts.read("xla.random", "jax_default_prng_impl", lambda: _random(jax))
    name = "jax_threefry_partitionable"
    facts.read("xla.random_partitionable", name, lambda: bool(_setting(jax, name)))


def _computed() -> None:
    """Raises Absent unless this process has computed with jax."""
    started = getattr(sys.modules.get("jax._src.xla_bridge"), "backends_are_initialized", None)
    if started is None or not started():
        raise Absent("this process did not compute with jax")


def _setting(jax: Any, name: str) -> Any:
    """A setting of jax's, whoever made it: a variable or a call. Raises Absent."""
    if name not in jax.config.values:
        raise Absent("this jax has no setting {}".format(name))
    return jax.config.values[name]


def _platform(jax: Any) -> str:
    _computed()
    return forms.recorded(str(jax.default_backend()), "[a-z]{2,12}")


def _devices(jax: Any) -> int:
    _computed()
    return int(jax.device_count())


def _features(jax: Any) -> List[str]:
    """Sorted features of the processor that XLA compiles for, "avx2"; it writes them into an executable of its own.
    Raises Absent."""
    _computed()
    if jax.default_backend() != "cpu":
        raise Absent("XLA computes on another device than the CPU")
    executable = jax.jit(lambda x: x + 1).lower(1.0).compile().runtime_executable()
    lists = _TARGET.findall(executable.serialize())
    if not lists:
        raise Absent("this jaxlib does not write them into its executables")
    names = [one[1:] for one in max(lists, key=len).decode("ascii").split(",") if one.startswith("+")]
    return sorted(name for name in names if _ARITHMETIC.fullmatch(name))


def _onednn_isa() -> str:
    """The name by which ONEDNN_MAX_CPU_ISA knows it. Raises Absent."""
    _computed()
    usable = cpu.flags_from(native.cpuid, native.xcr0(), native.cpuid(0).eax)
    cap = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()
    names = [name for name, _ in _ISAS]
    allowed = _ISAS[names.index(cap) if cap in names else 0 :]
    found = next((name for name, feature in allowed if feature in usable), None)
    if found is None:
        raise Absent("oneDNN makes no loops for this processor")
    return found


def _threads() -> int:
    """Threads that XLA may use for one computation on the CPU. Raises Absent, OSError."""
    _computed()
    folder = "/proc/self/task"
    names = [text("{}/{}/comm".format(folder, task)) for task in os.listdir(folder)]
    if _POOL not in names:
        raise Absent("no thread has the name of XLA's")
    return names.count(_POOL)


def _flags() -> List[str]:
    """Sorted flags that XLA was started with, in the form in which a report may hold them. Raises Absent."""
    _computed()
    flags = os.environ.get("XLA_FLAGS", "").split()
    return sorted({str(shown("XLA_FLAGS", flag)) for flag in flags if not _BESIDE.match(flag)})


def _precision(jax: Any) -> str:
    value = _setting(jax, "jax_default_matmul_precision")
    return "default" if value is None else forms.recorded(str(value), "[A-Za-z0-9_]{2,40}")


def _random(jax: Any) -> str:
    return forms.recorded(str(_setting(jax, "jax_default_prng_impl")), "threefry2x32|rbg|unsafe_rbg")
