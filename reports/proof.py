"""Whether a reproduction proves what it says, worked out from the digests of its children alone.

Sufficient: under all settings every child gave the wanted bits, in each work at least twice. Necessary: without any one
of them, at least twice, some result was another, and the same other one each time: what only wavers is no effect of it,
unless it was taken from it by design.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from .reproduction import Child, Reproduction

TIMES = 2

STEADIES = ("PYTHONHASHSEED",)
"""What lets results waver where it is not set: without it every process draws its own."""


def combined(results: Mapping[str, str]) -> str:
    """One digest (BLAKE2b-128, hex) over the digests of a work's results by name."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(results.items()))
    return hashlib.blake2b(lines.encode("utf-8"), digest_size=16).hexdigest()


def of_work(results: Mapping[str, str], work: str) -> dict[str, str]:
    """Those of a work: a job's own, or all that are of no job."""
    return {name: one for name, one in results.items() if (name if name.startswith("job ") else "operators") == work}


def gave(child: Child, wanted: Mapping[str, str]) -> bool:
    """Whether a child gave exactly the wanted bits in all that it ran, as its digests say."""
    if child.died or child.failed or not child.works:
        return False
    return all(child.digests.get(work) == combined(of_work(wanted, work)) for work in child.works)


def consistent(child: Child, wanted: Mapping[str, str]) -> bool:
    """Whether the digests of a child's works are those of the results that it lists."""
    results = {**wanted, **child.changed}
    return bool(child.died) or all(
        child.digests.get(work)
        == combined({name: one for name, one in of_work(results, work).items() if name not in child.failed})
        for work in child.works
    )


def missing(one: Reproduction) -> str:
    """What the proof lacks, in words; "" if it is whole."""
    wanted, under = one.wanted, (one.settings, one.packages)
    if not wanted:
        return "nothing was compared"
    if not all(consistent(child, wanted) for child in one.children):
        return "digests that do not belong to what it lists"
    if not one.settings and not one.packages:
        return "nothing that was set"
    for work in sorted({name if name.startswith("job ") else "operators" for name in wanted}):
        with_it = [child for child in one.children if (child.settings, child.packages) == under and work in child.works]
        if len(with_it) < TIMES or not all(gave(child, wanted) for child in with_it):
            return f"{TIMES} runs with it that give the wanted bits ({work})"
    for name in (*one.settings, *one.packages):
        without = [child for child in one.children if _without(child, one, name)]
        if sum(bool(child.changed) for child in without) < TIMES:
            return f"{TIMES} runs without {name} that give other bits"
        for work in sorted({work for child in without for work in child.works}):
            given = {child.digests.get(work) for child in without if work in child.works}
            if len(given) > 1 and name not in STEADIES:
                return f"runs without {name} that give the same bits each time ({work})"
    return ""


def _without(child: Child, one: Reproduction, name: str) -> bool:
    """Whether a child ran under everything but one setting or package."""
    settings = {key: value for key, value in one.settings.items() if key != name}
    packages = {key: value for key, value in one.packages.items() if key != name}
    return not child.died and (child.settings, child.packages) == (settings, packages)
