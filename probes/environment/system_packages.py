"""Packages of the distribution: the version of each that can change numbers, and one digest over all of them.

Only packages that are everybody's and that computing goes through are named. A package of somebody's own is counted and
is in the digest, which tells that something else moved and never what.
"""

import hashlib
import re
from typing import Any, Dict

from ..facts import Facts
from .sources import databases, forms

SCOPE = "machine"
NAMES = ("system_packages.count", "system_packages.digest")

SOURCE = "the distribution's package database"

# As Debian, Ubuntu, NVIDIA, Intel and Alpine name what carries the code; what only depends on it is left out.
_COMPUTES = re.compile(
    r"libc6|musl|libstdc\+\+6?|libgomp1?|libgfortran[345]?|libomp5(?:-\d\d)?|libiomp5|libtbb\d{1,2}"
    r"|(?:lib)?blas3?|(?:lib)?lapack3?|openblas(?:-ilp64)?|libopenblas(?:64-)?0?-(?:pthread|openmp|serial|base)"
    r"|libatlas3-base|libblis(?:64-)?\d?(?:-(?:pthread|openmp|serial))?|libmkl-(?:rt|core|def|avx2|avx512)"
    r"|intel-oneapi-mkl(?:-core)?(?:-\d{4}\.\d)?|libfftw3-(?:single|double|long|quad)3|libsleef3|libopenmpi\d{1,2}"
    r"|libmpich12|python3(?:\.\d{1,2}-minimal)?|(?:python3|py3)-(?:numpy|scipy|torch|pandas|sklearn|numba|jax)"
    r"|libcuda1|libnvidia-(?:compute|ptxjitcompiler)-\d{3}(?:-server|-open)?|libcudart\d\d(?:\.\d)?|libcublas\d\d"
    r"|libcudnn\d{1,2}(?:-cuda-\d\d)?|libnccl2|(?:cuda-(?:cudart|compat|nvrtc)|libcu(?:blas|fft|rand|solver|sparse))"
    r"-\d\d-\d|rocblas\d{0,6}|hipblas(?:lt)?\d{0,6}|miopen-hip\d{0,6}",
    re.ASCII,
)


def capture(facts: Facts, options: Any = None) -> None:
    """Record `system_packages.<name>.version` and what NAMES says."""
    record(facts, databases.local, SOURCE)


def record(facts: Facts, read: databases.Read, source: str) -> None:
    """The same of any system's files: of an image's, too."""
    found: Dict[str, str] = {}

    def count() -> int:
        found.update(databases.packages(read))
        return len(found)

    if facts.read("system_packages.count", source, count) is None:
        facts.records["system_packages.digest"] = dict(facts.records["system_packages.count"])
        return
    facts.add("system_packages.digest", digest(found), source)
    for name in sorted(filter(_COMPUTES.fullmatch, found)):
        key = "system_packages.{}.version".format(name)
        facts.add(key, forms.recorded(found[name], forms.SYSTEM_VERSION), source)


def digest(packages: Dict[str, str]) -> str:
    """64-bit BLAKE2b, hexadecimal, over name and version of every package, in order."""
    lines = ("{} {}\n".format(name, version) for name, version in sorted(packages.items()))
    return hashlib.blake2b("".join(lines).encode("utf-8", "replace"), digest_size=8).hexdigest()
