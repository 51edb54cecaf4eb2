"""What the components of PyTorch share: seeded tensors of any type on any device, and a row a computation.

A computation takes `Tensors`, so that the same one runs on a CPU and on a GPU. Torch's own random streams make no
input: they are operators themselves.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

from .. import inputs
from ..facts import Absent, Wrong
from . import Operator

OLDEST = (2, 2)
"""The oldest version of torch that has every function that is called here."""

DTYPES = {"f32": "float32", "f64": "float64", "bf16": "bfloat16", "f16": "float16", "c64": "complex64"}

FLOATS = ("f32", "f64", "bf16", "f16")


def framework() -> Any:
    """The module torch. Raises Absent where it is not installed or too old, or without numpy, which inputs need."""
    try:
        import numpy  # noqa: F401
        import torch
    except ImportError as error:
        raise Absent("{} is not installed".format(error.name or "torch")) from None
    version = str(torch.__version__).split(".")[:2]
    if [int(part) for part in version] < list(OLDEST):
        raise Absent("torch {}: the probes need {}.{} or newer".format(".".join(version), *OLDEST))
    return torch


class Tensors(NamedTuple):
    """Makes the inputs of one computation. name: of the row; dtype: a key of DTYPES; device: "cpu" or "cuda"."""

    torch: Any
    name: str
    dtype: str
    device: str

    @property
    def type(self) -> Any:
        """The torch type of `dtype`."""
        return getattr(self.torch, DTYPES[self.dtype])

    def __call__(self, name: str, *shape: int, low: float = -1.0, high: float = 1.0) -> Any:
        """A tensor of numbers in [low, high), the same bits everywhere: each step rounds once. A complex one has both
        parts in [-1, 1)."""
        made = {"f64": "float64", "c64": "complex64"}.get(self.dtype, "float32")
        array = inputs.array("torch.{}.{}".format(self.name, name), shape, made)
        if (low, high) != (-1.0, 1.0):
            number = array.dtype.type
            array = (array + number(1)) * number((high - low) / 2) + number(low)
        return self.torch.from_numpy(array).to(device=self.device, dtype=self.type)

    def whole(self, name: str, below: int, *shape: int) -> Any:
        """A tensor of whole numbers (i8) in [0, below)."""
        count = 1
        for length in shape:
            count *= length
        numbers = [number % below for number in inputs.integers("torch.{}.{}".format(self.name, name), count)]
        return self.torch.tensor(numbers, device=self.device).view(shape)

    def zeros(self, *shape: int) -> Any:
        return self.torch.zeros(shape, dtype=self.type, device=self.device)

    def learned(self, name: str, *shape: int) -> Any:
        """A tensor that has gradients."""
        return self(name, *shape).requires_grad_()

    def gradients(self, output: Any, *learned: Any) -> Any:
        """What autograd gives for a seeded gradient of `output`, one flat tensor. As the gradient of a sum of products,
        which is exactly that: handing it over imports sympy, which takes longer than all operators."""
        total = (output * self("gradient", *output.shape)).sum()
        found = self.torch.autograd.grad(total, learned)
        return self.torch.cat([one.reshape(-1) for one in found])


Compute = Callable[[Tensors], Any]

_FAR = 0.1

_NO_KERNEL = "not implemented for '"  # aten/src/ATen/Dispatch.h


def near(result: Any, exact: Any) -> Any:
    """`result`, which is not far from what double precision gives. Raises Wrong if it is: qemu 7.2 emulates some of
    AVX2 so that a sampled grid and an LSTM are other numbers altogether."""
    if not bool((abs(result.double() - exact) < _FAR).all()):
        raise Wrong("far from the result in double precision")
    return result


class Row(NamedTuple):
    """One computation for several types; "@" in its name stands for the type. The flags are `Operator`'s."""

    name: str
    compute: Compute
    dtypes: Tuple[str, ...] = ("f32",)
    through: Tuple[str, ...] = ()
    control: bool = False
    threaded: bool = False
    hazard: bool = False


def _computed(compute: Compute, given: Tensors) -> Any:
    """The result. Raises Absent where this torch has no kernel for the type, as older ones have few for half precision
    on a CPU."""
    try:
        return compute(given)
    except RuntimeError as error:
        if _NO_KERNEL in str(error):
            raise Absent("this torch has no kernel of it for this type") from None
        raise


def operators(component: str, rows: Tuple[Row, ...], device: str = "cpu") -> List[Operator]:
    """The rows of a component as operators, each type one. Raises Absent where torch cannot be used."""
    torch = framework()
    return [
        Operator(
            "{}.{}".format(component, row.name.replace("@", dtype)),
            component,
            partial(_computed, row.compute, Tensors(torch, row.name, dtype, device)),
            row.through,
            control=row.control,
            threaded=row.threaded,
            hazard=row.hazard,
        )
        for row in rows
        for dtype in row.dtypes
    ]
