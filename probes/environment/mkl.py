"""The MKL in effect that torch calls: its version, the code path that it chose, by processor and by whose it is.

It is linked into torch's own library, where threadpoolctl does not look; so its functions are called there. Some are
documented (mkl_cbwr.h), some are what MKL itself asks before it chooses (`mkl_serv_*`). Nothing is recorded where the
process did not import torch.

Where the processor is not Intel's, or all are to compute alike (COMPATIBLE), its sqrt, tan, asin, acos and atan begin
with what the processor itself takes for 1/sqrt(x) and 1/x, and each maker's processors take something else. Measured
with MKL 2024.2: natively and on an emulated processor of the same make, these differ, and nothing else of it does.
"""

import ctypes
import hashlib
import re
import sys
from typing import Any, Callable, Dict, List

from ..facts import Absent, Facts
from .sources import forms, mapped, native

SCOPE = "effect"
NAMES = ()

_ALL = -1  # MKL_CBWR_ALL: branch and flags
_STRICT = 0x10000

# Source: mkl_types.h, MKL_CBWR_*
BRANCHES = {
    1: "OFF", 2: "AUTO", 3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1", 8: "SSE4_2", 9: "AVX", 10: "AVX2",
    11: "AVX512_MIC", 12: "AVX512", 13: "AVX512_MIC_E1", 14: "AVX512_E1", 15: "AVX512_E2", 16: "AVX512_E3",
    17: "AVX512_E4",
}  # fmt: skip


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "_C"):
        return
    if not torch.backends.mkl.is_available():
        facts.missing("mkl.version", "absent", "this build of torch calls no MKL")
        return
    for name, function in _readings(torch, _libraries()).items():
        facts.read("mkl." + name, "MKL's own functions", function)
    facts.read("mkl.approximations", "RSQRTPS and RCPPS", _approximations)


def _readings(torch: Any, libraries: List[Any]) -> Dict[str, Callable[[], Any]]:
    def ask(symbol: str, *arguments: int) -> int:
        for library in libraries:
            if hasattr(library, symbol):
                return int(getattr(library, symbol)(*(ctypes.c_int(one) for one in arguments)))
        raise Absent("no library of this process has {}".format(symbol))

    return {
        "version": lambda: _version(torch),
        "mode": lambda: _branch(ask("mkl_serv_cbwr_get", _ALL)),
        "branch": lambda: _branch(ask("mkl_serv_cbwr_get_auto_branch")),
        "intel": lambda: bool(ask("mkl_serv_intel_cpu_true")),
        "kernel": lambda: ask("mkl_serv_cpu_detect"),
        "vector_kernel": lambda: ask("mkl_serv_vml_cpu_detect"),
        "threads": lambda: ask("MKL_Get_Max_Threads"),
    }


def _libraries() -> List[Any]:
    """Where MKL's functions can be: in torch's library, or in MKL's own, as conda installs them."""
    found = mapped.by_name()
    return [ctypes.CDLL(found[name]) for name in ("libtorch_cpu", "libmkl_core", "libmkl_rt") if name in found]


def _version(torch: Any) -> str:
    told = re.search(r"Math Kernel Library Version ([\d.]+)", torch.__config__.show())
    if told is None:
        raise Absent("torch does not tell")
    return forms.recorded(told.group(1), r"[\d.]{1,20}")


def _approximations() -> str:
    return hashlib.blake2b(native.approximations(), digest_size=8).hexdigest()


def _branch(code: int) -> str:
    """A mode or branch by its name in MKL's header; an error's code (below 0) is no name."""
    plain = code & ~_STRICT if code >= 0 else code
    word = BRANCHES.get(plain, "branch {}".format(plain))
    return word if plain == code else word + ",STRICT"
