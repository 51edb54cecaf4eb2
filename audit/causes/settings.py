"""Settings: what pins a component, as data. One row a setting; its value comes from the other side's facts in effect.

A report is untrusted: the variable's name stands here and never comes from a report, and a value is built only from
words that match what the component can mean. To add a setting, add a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from audit.compare.side import Measured

_WORD = re.compile(r"[A-Za-z0-9_]{1,24}")


@dataclass(frozen=True)
class Setting:
    """A variable that pins a component. derive: from the fact's value that is wanted and the one that there is here to
    the variable's value; None where this side cannot be made to do that. library: of BLAS, for both sides."""

    variable: str
    component: str
    fact: str
    derive: Callable[[object, object], str | None]
    library: str = ""


def _kernel(wanted: object, have: object) -> str | None:
    return wanted if isinstance(wanted, str) and _WORD.fullmatch(wanted) else None


def _count(wanted: object, have: object) -> str | None:
    return str(wanted) if isinstance(wanted, int) and 0 < wanted < 10_000 else None


def _seed(wanted: object, have: object) -> str | None:
    return str(wanted) if isinstance(wanted, int) and 0 <= wanted < 1 << 32 else None


def _surplus(wanted: object, have: object) -> list[str] | None:
    """What is in effect here and not there; None if something is in effect there that this side does not have."""
    if not isinstance(wanted, list) or not isinstance(have, list):
        return None
    if any(item not in have for item in wanted):
        return None
    words = [item for item in have if item not in wanted]
    return words if all(isinstance(item, str) and _WORD.fullmatch(item) for item in words) else None


def _disabled(wanted: object, have: object) -> str | None:
    words = _surplus(wanted, have)
    return " ".join(words) if words else None


def _tunables(wanted: object, have: object) -> str | None:
    words = _surplus(wanted, have)
    return "glibc.cpu.hwcaps=" + ",".join("-" + word for word in words) if words else None


SETTINGS = (
    Setting("OPENBLAS_CORETYPE", "blas", "blas.kernel", _kernel, "openblas"),
    Setting("OPENBLAS_NUM_THREADS", "blas", "blas.threads", _count, "openblas"),
    Setting("NPY_DISABLE_CPU_FEATURES", "numpy", "numpy.simd_found", _disabled),
    Setting("GLIBC_TUNABLES", "libm", "libm.features", _tunables),
    Setting("PYTHONHASHSEED", "ordering", "python.hash_seed", _seed),
)

_VECTOR = ("sse4_2", "avx", "avx2", "fma", "avx512f")


def either(a: Measured, b: Measured, components: list[str]) -> tuple[Measured, dict[str, str]]:
    """The side that can imitate the other, and the variables for it: the second side if it can, else the first."""
    for here, there in ((b, a), (a, b)):
        found = derive(here, there, components)
        if found:
            return here, found
    return b, {}


def derive(here: Measured, there: Measured, components: list[str]) -> dict[str, str]:
    """The variables under which `here` should give the bits of `there`, for these components; {} if it cannot."""
    if not _downwards(here, there):
        return {}
    found: dict[str, str] = {}
    for setting in SETTINGS:
        wanted, have = there.fact(setting.fact), here.fact(setting.fact)
        libraries = {side.fact("blas.implementation") for side in (here, there)} if setting.library else set()
        if setting.component in components and wanted != have and libraries <= {setting.library}:
            value = setting.derive(wanted, have)
            if value is not None:
                found[setting.variable] = value
    return found


def _downwards(here: Measured, there: Measured) -> bool:
    """Whether this CPU has every vector extension of the other: imitation works downwards only."""
    mine, its = here.fact("cpu.flags"), there.fact("cpu.flags")
    if not isinstance(mine, list) or not isinstance(its, list):
        return mine == its
    return all(flag in mine for flag in its if flag in _VECTOR)
