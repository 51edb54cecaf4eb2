"""What vector extensions mean to libraries: there are four that a numeric library chooses code by."""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit.compare.side import Measured

LEVELS: dict[str, frozenset[str]] = {
    "a CPU without AVX-512": frozenset({"avx2", "fma", "avx"}),
    "a CPU without AVX2 and FMA": frozenset({"avx"}),
    "a CPU without AVX": frozenset(),
}
"""The extensions that are left on each level below the newest, downwards (x86-64-v3, Sandy Bridge, x86-64-v2)."""

NEWEST = frozenset({"avx512", "avx2", "fma", "avx"})

_FEATURES = (
    (re.compile(r"avx512\w*|x86_v4", re.IGNORECASE), NEWEST),
    (re.compile(r"x86_v3", re.IGNORECASE), LEVELS["a CPU without AVX-512"]),
    (re.compile(r"avx2|avx2_\w+", re.IGNORECASE), frozenset({"avx2", "avx"})),
    (re.compile(r"fma[34]?|fma_usable", re.IGNORECASE), frozenset({"fma", "avx"})),
    (re.compile(r"avx|f16c|xop", re.IGNORECASE), frozenset({"avx"})),
)
"""What a feature needs, by the names that CPUs, numpy and glibc have for it. Those of a numpy before 2.4 are single
features (AVX2, FMA3, AVX512_SKX), those of a later one are levels (X86_V3, X86_V4)."""


def extensions(names: Iterable[object]) -> frozenset[str]:
    """The vector extensions that features, by anybody's names, need."""
    found: frozenset[str] = frozenset()
    for name in names:
        found |= next((needs for pattern, needs in _FEATURES if pattern.fullmatch(str(name))), frozenset())
    return found


def cpu(side: Measured) -> frozenset[str]:
    """The vector extensions of a side's CPU."""
    return extensions(listed(side.fact("cpu.flags")))


def listed(value: object) -> list[object]:
    """A fact that is a list; an empty one where it is not known."""
    return value if isinstance(value, list) else []


def level(left: frozenset[str] | None) -> str:
    """The level that leaves exactly these extensions; "" where none does."""
    return next((words for words, one in LEVELS.items() if one == left), "")
