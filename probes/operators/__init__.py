"""The battery: small seeded computations whose output bits are recorded, one file a component.

Contract of a file here: it is named after its component and has a function `operators()` that returns the component's
operators in a fixed order (and imports its framework guarded: `operators()` raises `Absent` with a reason where it is
not installed). To add an operator, add one function and its `Operator` row to the component's file.
"""

from typing import Any, Callable, Dict, NamedTuple, Tuple

COMPONENTS = ("python", "ordering", "libm", "fpu", "numpy", "random", "blas", "aten", "onednn", "mkl", "cuda", "xla")
"""Every component that has a battery file, in the order in which they run: those of a framework that takes seconds to
import, and brings libraries of its own into the process, behind all others."""

FRAMEWORKS: Dict[str, str] = {"aten": "torch", "onednn": "torch", "mkl": "torch", "cuda": "torch", "xla": "jax"}
"""The framework that a component is part of. Where it is not installed, nothing is said of the component."""


class Operator(NamedTuple):
    """One small computation. `function` takes nothing and returns what `digest.tensor` accepts.

    name: unique, dotted, starts with the component: "blas.matmul.f32.64x64x64".
    component: what decides its bits first; `through`: other components that it passes through.
    control: never moves under any setting within one library version.
    threaded: its shape is above the size at which the library uses several threads.
    wide: (fpu only) when this differs, every floating-point result may: the rounding mode, not only denormals.
    hazard: varies by design, so it is shown and never compared.
    version: moves when the computation changes, so that two probes' versions never compare different things.
    """

    name: str
    component: str
    function: Callable[[], Any]
    through: Tuple[str, ...] = ()
    control: bool = False
    threaded: bool = False
    wide: bool = False
    hazard: bool = False
    version: int = 1
