"""What settings came to in a child, in words: its facts in effect, and the libraries whose code was chosen between."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from audit.causes.settings import BY_NAME
from audit.compare.side import Measured


def shown(value: object) -> str:
    """A fact in effect in a few words."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def effect(names: Iterable[str], side: Measured | None) -> str:
    """The facts in effect that these settings decide: "blas.kernel Haswell"; "" where nothing was measured."""
    facts = dict.fromkeys(BY_NAME[name].fact for name in names) if side else {}
    return ", ".join(f"{fact} {shown(side.fact(fact))}" for fact in facts if side)


def libraries(side: Measured, components: Collection[str] | None = None) -> list[str]:
    """The libraries that decide these components, or all that settings choose code of: with others it has to be
    measured again."""
    openblas = side.fact("blas.implementation") == "openblas"
    named = {
        "blas": ("OpenBLAS", side.fact("blas.version") if openblas else None),
        "numpy": ("numpy", side.fact("numpy.version")),
        "libm": (side.fact("libc.name"), side.fact("libc.version")),
        "aten": ("torch", side.fact("torch.version")),
        "cuda": ("CUDA", side.fact("cuda.version")),
        "mkl": ("MKL", side.fact("mkl.version")),
        "onednn": ("oneDNN", side.fact("onednn.version")),
        "xla": ("XLA of jaxlib", side.fact("xla.version")),
        "ordering": ("Python", side.fact("python.version")),
    }
    wanted = named if components is None else components
    return [f"{name} {version}" for component, (name, version) in named.items() if version and component in wanted]
