"""The mathematical library in effect: which file, and which of its variants the C library may choose.

glibc's libm has up to four variants of exp, log, pow, sin, cos, tan, atan and others (sse2, avx, fma4, fma), picked
once by the *active* CPU features, which GLIBC_TUNABLES can hide. Source: glibc sysdeps/x86_64/fpu/multiarch/ifunc-*.h.
"""

import platform
from typing import Any, Dict, List, Set, Tuple

from ..facts import Absent, Facts
from . import cpu, libc
from .sources import elf, mapped, native

SCOPE = "effect"
NAMES = ("libm.features", "libm.build_id")

# name: (glibc's leaf index, register, bit); what libm and libmvec choose by
_FEATURES: Dict[str, Tuple[int, str, int]] = {
    "SSE4_1": (0, "ecx", 19),
    "AVX": (0, "ecx", 28),
    "FMA": (0, "ecx", 12),
    "AVX2": (1, "ebx", 5),
    "AVX512F": (1, "ebx", 16),
    "AVX512DQ": (1, "ebx", 17),
    "FMA4": (2, "ecx", 16),
}


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    if _old_glibc():
        facts.read("libm.features", "CPUID and GLIBC_TUNABLES (glibc < 2.33 does not tell)", _features_by_rule)
    else:
        facts.read("libm.features", "glibc's active CPU features", features)
    facts.read("libm.build_id", mapped.SOURCE, _build_id)


def features() -> List[str]:
    """Sorted names of the active features; empty where libm has one variant only. Raises Absent."""
    if libc.name() == "musl" or (libc.name() == "glibc" and platform.machine() == "aarch64"):
        return []
    return sorted(
        name
        for name, (index, register, bit) in _FEATURES.items()
        if getattr(native.glibc_leaf(index, True), register) >> bit & 1
    )


def _old_glibc() -> bool:
    try:
        return libc.name() == "glibc" and tuple(map(int, libc.version().split(".")[:2])) < (2, 33)
    except (Absent, ValueError):
        return False


def _features_by_rule() -> List[str]:
    """What glibc before 2.33 makes of the processor: usable by XCR0, less what the tunable hides."""
    if not native.is_x86_64():
        return []
    usable = set(cpu.flags_from(native.cpuid, native.xcr0(), native.cpuid(0).eax))
    names = {name for name in _FEATURES if name.lower() in usable}
    return sorted(names - hidden(libc.tunables()))


def hidden(tunables: List[str]) -> Set[str]:
    """Features that the tunables take away: "glibc.cpu.hwcaps=-AVX2_Usable,-FMA" hides AVX2 and FMA."""
    found: Set[str] = set()
    for tunable in tunables:
        key, _, value = tunable.partition("=")
        if key in ("glibc.cpu.hwcaps", "glibc.tune.hwcaps"):
            found.update(part[1:].replace("_Usable", "") for part in value.split(",") if part.startswith("-"))
    return found


def _build_id() -> str:
    # musl keeps its mathematics in the C library itself.
    return elf.identity(mapped.find("libm", "libc.musl-{}".format(platform.machine()), "ld-musl", "libc", "ld"))
