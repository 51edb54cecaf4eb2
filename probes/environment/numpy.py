"""numpy's own vector code in effect: what its build requires, and what it found on this processor.

Names differ between versions (2.4: X86_V3, X86_V4; 1.26: AVX2, FMA3, AVX512_SKX); they are compared as they are.
"""

import sys
from typing import Any, List

from ..facts import Absent, Facts
from .sources import forms

SCOPE = "effect"
NAMES = ("numpy.version", "numpy.simd_baseline", "numpy.simd_found", "numpy.blas_built")


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("numpy.version", "numpy.__version__", lambda: forms.version(str(_numpy().__version__)))
    facts.read("numpy.simd_baseline", "numpy's __cpu_baseline__", lambda: list(_core().__cpu_baseline__))
    facts.read("numpy.simd_found", "numpy's __cpu_features__ and __cpu_dispatch__", simd_found)
    facts.read("numpy.blas_built", "numpy.__config__", _blas_built)


def _numpy() -> Any:
    """The module, if this process has imported it (None: it could not): what it did not load is not in effect.

    Raises Absent."""
    if sys.modules.get("numpy") is None:
        raise Absent("this process did not import numpy")
    return sys.modules["numpy"]


def _core() -> Any:
    _numpy()
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "__cpu_features__"):
            return module
    raise Absent("this numpy does not tell its CPU features (it does since 1.17)")


def simd_found() -> List[str]:
    """Sorted dispatch targets that this process may use; NPY_DISABLE_CPU_FEATURES is applied. Raises Absent."""
    core = _core()
    features = core.__cpu_features__
    return sorted(name for name in core.__cpu_dispatch__ if features.get(name))


def _blas_built() -> str:
    """The name of the BLAS that numpy was built for: "scipy-openblas", "blas", "mkl", "accelerate"."""
    _numpy()
    built = getattr(sys.modules.get("numpy.__config__"), "CONFIG", None)
    if not isinstance(built, dict):
        raise Absent("this numpy does not record it (numpy does since 1.26)")
    name = built.get("Build Dependencies", {}).get("blas", {}).get("name")
    if not name:
        raise Absent("this numpy records no BLAS")
    return forms.recorded(str(name), forms.NAME)
