"""Values of the settings of PyTorch and of the libraries that it calls, from facts in effect."""

from __future__ import annotations

import re
from collections.abc import Callable

from audit.causes.extensions import LEVELS, NEWEST, cpu, level
from audit.compare.side import Measured

_CODE = {"AVX512": NEWEST, "AVX2": LEVELS["a CPU without AVX-512"], "DEFAULT": frozenset[str]()}
"""What each of ATen's code paths needs, by the name that it tells; the variable takes it in small letters."""

_AVX2 = LEVELS["a CPU without AVX-512"]

_ISAS = {
    "AVX512_CORE_FP16": NEWEST,
    "AVX512_CORE_BF16": NEWEST,
    "AVX512_CORE_VNNI": NEWEST,
    "AVX512_CORE": NEWEST,
    "AVX2_VNNI_2": _AVX2,
    "AVX2_VNNI": _AVX2,
    "AVX2": _AVX2,
    "AVX": LEVELS["a CPU without AVX2 and FMA"],
    "SSE41": frozenset[str](),
}
"""Values of ONEDNN_MAX_CPU_ISA, highest first, and the vector extensions that they need."""

_PLAIN = ("AVX512_CORE", "AVX2", "AVX", "SSE41")
"""Those that are no more than a level of vector extensions."""

_BRANCHES = ("AVX512_E1", "AVX512", "AVX2", "AVX", "SSE4_2", "SSE4_1", "SSSE3", "SSE2")
"""MKL's branches for Intel's processors, highest first."""


def code(wanted: object, have: object, here: Measured) -> str | None:
    """ATEN_CPU_CAPABILITY, for what is in effect there."""
    needs = _CODE.get(str(wanted)) if have is not None else None  # without torch there is nothing to set
    return str(wanted).lower() if needs is not None and needs <= cpu(here) else None


def codes(here: Measured) -> list[str]:
    have = here.fact("aten.capability")
    return [name.lower() for name, needs in _CODE.items() if have in _CODE and needs <= cpu(here) and name != have]


def code_under(here: Measured, left: frozenset[str]) -> str | None:
    have = _CODE.get(str(here.fact("aten.capability")))
    if have is None or have <= left:
        return None
    return next(name.lower() for name, needs in _CODE.items() if needs <= left)


def level_of_code(value: str) -> str:
    return level(_CODE.get(value.upper()))


def isa(wanted: object, have: object, here: Measured) -> str | None:
    """ONEDNN_MAX_CPU_ISA; only downwards, for it is a cap."""
    names = [*_ISAS]
    if have is None or wanted not in names or (have in names and names.index(str(wanted)) <= names.index(str(have))):
        return None
    return str(wanted)


def isas(here: Measured) -> list[str]:
    have = here.fact("onednn.isa")
    return [name for name in _PLAIN if _ISAS[name] <= cpu(here) and name != have] if have is not None else []


def isa_under(here: Measured, left: frozenset[str]) -> str | None:
    have = here.fact("onednn.isa")
    if have is None or _ISAS.get(str(have), NEWEST) <= left:  # a name that is not known here is a newer one's
        return None
    return next(name for name in _PLAIN if _ISAS[name] <= left)


def level_of_isa(value: str) -> str:
    return level(_ISAS.get(value)) if value in _PLAIN else ""


def mode(wanted: object, have: object, here: Measured) -> str | None:
    """MKL_CBWR. COMPATIBLE can be had everywhere; a branch only on one of Intel's processors."""
    word, _, strict = str(wanted).partition(",")
    if word in _BRANCHES and here.fact("mkl.intel") is True:
        return f"{word},STRICT" if strict == "STRICT" else word
    return word if word in ("AUTO", "COMPATIBLE") and not strict else None


def modes(here: Measured) -> list[str]:
    have, branch = here.fact("mkl.mode"), here.fact("mkl.branch")
    if have is None:
        return []
    lower = _BRANCHES[_BRANCHES.index(str(branch)) :] if branch in _BRANCHES else ()
    return [one for one in ("AUTO", *lower, "COMPATIBLE") if one != have]


def mode_under(here: Measured, left: frozenset[str]) -> str | None:
    """MKL chooses by whose processor it is, too, so what it does on another one only COMPATIBLE does here."""
    return None if here.fact("mkl.mode") in (None, "COMPATIBLE") else "COMPATIBLE"


# What a GPU computes. Nothing of it is possible where the process computes on none.

_DETERMINISTIC = {"on": "error", "warn": "warn"}
"""Torch's words for its deterministic modes, by what is in effect."""


def _has_gpu(here: Measured) -> bool:
    return here.fact("cuda.device") is not None


def one_of(*words: str) -> Callable[[object, object, Measured], str | None]:
    """The word that is in effect there, if it is one of these."""
    return lambda wanted, have, here: wanted if isinstance(wanted, str) and wanted in words and _has_gpu(here) else None


def others_of(fact: str, *words: str) -> Callable[[Measured], list[str]]:
    return lambda here: [one for one in words if one != here.fact(fact)] if _has_gpu(here) else []


def workspace(wanted: object, have: object, here: Measured) -> str | None:
    """CUBLAS_WORKSPACE_CONFIG: pairs of a size in KiB and a number of such pieces."""
    fits = isinstance(wanted, str) and re.fullmatch(r"(:[1-9][0-9]{0,6}:[1-9][0-9]{0,2}){1,4}", wanted)
    return str(wanted) if fits and _has_gpu(here) else None


def deterministic(wanted: object, have: object, here: Measured) -> str | None:
    """A mode of torch, on a CPU as well; a call can ask for one, and not take back what a program asks for."""
    return _DETERMINISTIC.get(str(wanted)) if have is not None else None


def deterministics(here: Measured) -> list[str]:
    return ["error"] if _has_gpu(here) and here.fact("torch.deterministic") == "off" else []


def benchmark(wanted: object, have: object, here: Measured) -> str | None:
    return str(wanted) if isinstance(wanted, bool) and _has_gpu(here) else None


def benchmarks(here: Measured) -> list[str]:
    have = here.fact("cuda.cudnn_benchmark")
    return [str(not have)] if _has_gpu(here) and isinstance(have, bool) else []
