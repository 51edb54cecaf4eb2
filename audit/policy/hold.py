"""What of a report a baseline holds, and what says which class of hardware it ran on.

Held is what can change bits, and limits that change speed. Not held is what only tells one processor or machine from
another: two with the same code paths are one class, whatever they are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from audit.compare.side import Measured
from reports.catalogue import Catalogue, Kind
from reports.report import Facts, Value

KNOWN_BY = ("cpu.machine", "blas.kernel", "numpy.simd_found", "libm.features", "gpu.*.architecture")
"""The facts that make a class: the architecture, and the code paths in effect."""

FOLDED_BY = ("image.digests", "image.layers")
"""Held though they change nothing by themselves: they say that all the rest came with another image."""

_HARDWARE = (
    "cpu.[!c]*",  # vendor, model, flags, level: what code paths follow from, and no code path
    "cpu.caches",
    "cpu.cores",
    "memory.*",
    "gpu.*.clock_*",
    "gpu.*.power_limit",
    "gpu.*.memory",
    "limits.processes",  # what the kernel makes of the memory
    "limits.cgroup_processes",
)
"""What follows from the machine alone and is another on the next runner of the same class."""

_ABOVE_CLASSES = ("cpu.flags", "cpu.model", "cpu.count")
"""What these decide is a class's own; only cpu.machine, which they decide too, is told by the class itself."""

DIGITS = 8
"""Hexadecimal digits of an operator's digest that are held: 32 bits tell two results apart, and `results` has more."""

COMPONENT_DIGITS = 16


@dataclass
class Held:
    """What is held of one class. facts: by name, None for what was not set; results: a digest a component and one a
    job ("job numpy"); operators: short digests by name (and version, where it is not 1)."""

    known_by: dict[str, Value] = field(default_factory=dict)
    facts: dict[str, Value] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.facts or self.results or self.operators)


def of(side: Measured, rows: Catalogue, also: Iterable[str] = ()) -> Held:
    """What a baseline holds of a target. also: patterns of further facts, which a policy has a severity for."""
    facts = in_effect(side)
    held = Held()
    for name in sorted(facts):
        row, fact = rows.row(name), facts[name]
        if row is None or fact.status is not None or name in side.target.unsteady:
            continue
        if matches(name, KNOWN_BY):
            held.known_by[name] = fact.value
        elif is_held(name, row.kind, tuple(also)):
            held.facts[name] = fact.value
    digests = operators(side)
    held.operators = {name: digest[:DIGITS] for name, digest in digests.items()}
    held.results = {**combined(side, digests), **jobs(side)}
    return held


def in_effect(side: Measured) -> Facts:
    """Machine facts, and those in effect after the operators; where those were not run, after the jobs."""
    works = side.works()
    chosen = [works["operators"]] if "operators" in works else [works[name] for name in sorted(works)]
    found: Facts = {}
    for facts in (*chosen, side.target.facts):
        for name, fact in facts.items():
            if name not in found or found[name].status is not None:
                found[name] = fact
    return found


def operators(side: Measured) -> dict[str, str]:
    """The whole digests of the operators that a side repeats, by name and version."""
    found = side.operators.values()
    steady = [one for one in found if one.result and not one.hazard and not one.repeats]
    return {key(one.name, one.version): one.result.digest for one in steady if one.result}


def key(name: str, version: int) -> str:
    """An operator's name in a baseline: another version is another computation."""
    return name if version == 1 else f"{name}@{version}"


def combined(side: Measured, digests: dict[str, str]) -> dict[str, str]:
    """One digest a component, over the digests of its operators by name."""
    lines: dict[str, list[str]] = {}
    for one in side.operators.values():
        name = key(one.name, one.version)
        if name in digests:
            lines.setdefault(one.component, []).append(f"{name}\0{digests[name]}\n")
    return {
        component: hashlib.blake2b("".join(sorted(of)).encode("utf-8"), digest_size=COMPONENT_DIGITS // 2).hexdigest()
        for component, of in sorted(lines.items())
    }


def jobs(side: Measured) -> dict[str, str]:
    """What each job that repeats itself came to; different jobs are never equal."""
    return {f"job {name}": ran.key for name, ran in sorted(side.outline.jobs.items()) if ran.steady}


@lru_cache(maxsize=4096)
def is_held(name: str, kind: Kind, also: tuple[str, ...] = ()) -> bool:
    """Whether a baseline holds this fact; those that make the class are held apart."""
    if matches(name, also) or name in FOLDED_BY:
        return kind != "volatile"
    return kind in ("numeric", "performance") and not (matches(name, _HARDWARE) and name != "cpu.count")


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


@lru_cache(maxsize=4096)
def of_class(name: str, rows: Catalogue) -> bool:
    """Whether a fact belongs to a class of hardware rather than to what is installed: a processor decides it, itself or
    through others."""
    if name.startswith("gpu.") and name not in ("gpu.driver", "gpu.cuda_driver"):
        return True
    return _decided(name, rows, ())


def _decided(name: str, rows: Catalogue, seen: tuple[str, ...]) -> bool:
    if name in seen:
        return False
    if name in _ABOVE_CLASSES:
        return True
    above = [edge.fact for edge in rows.deciders(name) if edge.fact != "cpu.machine"]
    return any(_decided(one, rows, (*seen, name)) for one in above)
