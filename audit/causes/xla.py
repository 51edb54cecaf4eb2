"""Values of the settings of XLA on a CPU, from facts in effect."""

from __future__ import annotations

import re

from audit.causes.extensions import LEVELS, cpu, extensions, level, listed
from audit.compare.side import Measured

_CAP = "--xla_cpu_max_isa="

_ISAS = (
    ("AVX512_BF16", "avx512bf16"),
    ("AVX512_VNNI", "avx512vnni"),
    ("AVX512", "avx512f"),
    ("AVX2", "avx2"),
    ("AVX", "avx"),
    ("SSE4_2", "sse4.2"),
)
"""What the cap may be, highest first, each with the feature by which LLVM knows it."""

_LEFT = {
    "AVX2": LEVELS["a CPU without AVX-512"],
    "AVX": LEVELS["a CPU without AVX2 and FMA"],
    "SSE4_2": frozenset[str](),
}


def isa(wanted: object, have: object, here: Measured) -> str | None:
    """XLA_FLAGS that cap the instructions at those in effect there. Its other flags stay: one variable has them all."""
    if not isinstance(wanted, list) or not extensions(wanted) <= cpu(here):
        return None
    flags = [str(flag) for flag in listed(here.fact("xla.flags")) if not str(flag).startswith(_CAP)]
    name, now = _name(wanted), _name(listed(have))
    if name in ("", now) or not all(re.fullmatch(r"--?xla_\w+(=[\w.+-]+)?", flag) for flag in flags):
        return None
    return " ".join([*flags, _CAP + name])


def isas(here: Measured) -> list[str]:
    found = [isa_under(here, left) for left in LEVELS.values()]
    return list(dict.fromkeys(filter(None, found)))


def isa_under(here: Measured, left: frozenset[str]) -> str | None:
    have = listed(here.fact("xla.features"))
    return isa([one for one in have if extensions([one]) <= left], have, here)


def level_of_isa(value: str) -> str:
    return level(_LEFT.get(value.rpartition("=")[2]))


def threads(wanted: object, have: object, here: Measured) -> str | None:
    """NPROC. XLA takes any number, also more than there are CPUs."""
    fits = isinstance(wanted, int) and not isinstance(wanted, bool) and 0 < wanted <= 256
    return str(wanted) if fits else None


def _name(features: list[object]) -> str:
    return next((name for name, feature in _ISAS if feature in features), "")
