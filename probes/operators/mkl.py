"""What PyTorch leaves to Intel's MKL on a CPU: products of f32 and f64, linear algebra, FFT, vector mathematics.

Measured with torch 2.13 by MKL_VERBOSE=1, MKL_CBWR=COMPATIBLE and AVX2, and an emulated Haswell. MKL_CBWR does not
reach all of its vector mathematics (exp, log, sin, sqrt ...), another processor does. The first call of these may race
where it is made by several threads (pytorch#188792), so a small one comes before any large one.
"""

from typing import Any, Callable, List

from ..facts import Absent
from . import Operator, summation
from .tensors import Row, Tensors, framework
from .tensors import operators as made
from .training import convolution, convolution_backward, function, linear, linear_backward, product, recurrent

_F64 = ("f64",)
_WIDE = ("f32", "f64")
_ALL = ("f32", "f64", "c64")


def operators() -> List[Operator]:
    """Vector mathematics, products, algebra, FFT, trees. Raises Absent where torch cannot be used or has no MKL."""
    if not framework().backends.mkl.is_available():
        raise Absent("this build of torch calls no MKL")
    return made("mkl", (*VECTOR_MATH, *PRODUCTS, *ALGEBRA, *TRANSFORMS, *TREES))


COUNT = 499
"""Fewer elements than those from which these functions are divided among threads."""

VECTOR_MATH = (
    Row("exp.@", function("exp", COUNT, low=-20, high=20), _WIDE),
    Row("log.@", function("log", COUNT, low=0.001, high=1000), _WIDE),
    Row("log2.@", function("log2", COUNT, low=0.001, high=1000), _WIDE),
    Row("sin.@", function("sin", COUNT, low=-30, high=30), _WIDE),
    Row("cos.@", function("cos", COUNT, low=-30, high=30), _WIDE),
    Row("tan.@", function("tan", COUNT, low=-3, high=3), _WIDE),
    Row("arcsin.@", function("asin", COUNT), _WIDE),
    Row("arctan.@", function("atan", COUNT, low=-20, high=20), _WIDE),
    Row("tanh.@", function("tanh", COUNT, low=-5, high=5), _WIDE),
    Row("erf.@", function("erf", COUNT, low=-3, high=3), _WIDE),
    Row("erfinv.@", function("erfinv", COUNT, low=-0.99, high=0.99), _WIDE),
    Row("sqrt.@", function("sqrt", COUNT, low=0, high=1000), _WIDE),
    Row("exp.@.large", function("exp", 40009, low=-20, high=20), threaded=True),
)

PRODUCTS = (
    Row("matmul.@.8x8x8", product((8, 8), (8, 8)), _ALL),
    Row("matmul.@.17x31x13", product((17, 31), (31, 13)), _ALL, threaded=True),
    Row("matmul.@.64x64x64", product((64, 64), (64, 64)), _ALL, threaded=True),
    Row("matmul.@.32x507x64", product((32, 507), (507, 64)), _WIDE, threaded=True),
    Row("matmul.@.128x300x96", product((128, 300), (300, 96)), _WIDE, threaded=True),
    Row("matmul.@.left_transposed", product((50, 40), (50, 30), "l"), _WIDE, threaded=True),
    Row("matmul.@.right_transposed", product((40, 50), (30, 50), "r"), _WIDE, threaded=True),
    Row("matmul.@.batched.6x12x20x9", product((6, 12, 20), (6, 20, 9)), _ALL, threaded=True),
    Row("matmul.@.batched.16x64x64x64", product((16, 64, 64), (16, 64, 64)), _WIDE, threaded=True),
    Row("gemv.@.80x90", product((80, 90), (90,)), _ALL),
    Row("gemv_t.@.90x80", product((80, 90), (80,), "l"), _WIDE),
    Row("gemv.@.1000x700", product((1000, 700), (700,)), _WIDE),
    Row("dot.@.1000", lambda t: t("a", 1000) @ t("b", 1000), _ALL),
    Row("dot.@.30011", lambda t: t("a", 30011) @ t("b", 30011), _WIDE, threaded=True),
    Row("linear.@.40x50x30", linear(40, 50, 30), _WIDE, threaded=True),
    Row("linear_backward.@.160x128x96", linear_backward(160, 128, 96), _WIDE, ("aten",), threaded=True),
    Row("distances.@", lambda t: t.torch.cdist(t("a", 40, 30), t("b", 40, 30)), _WIDE, ("aten",), threaded=True),
    # oneDNN has no f64, and torch does not give it a single small image.
    Row("conv2d.@.2x3x16x16", convolution((2, 3, 16, 16), (8, 3, 3, 3), padding=1), _F64, threaded=True),
    Row("conv2d_backward.@", convolution_backward((2, 3, 16, 16), (8, 3, 3, 3), padding=1), _F64, threaded=True),
    Row("conv2d.@.single", convolution((1, 3, 16, 16), (8, 3, 3, 3)), _WIDE, ("onednn",), threaded=True),
    Row("lstm.@", recurrent(), _F64, ("aten",), threaded=True),
)


def _conditioned(a: Any) -> Any:
    return a + len(a) ** 0.5 * a.new_ones(len(a)).diag()


def _positive(a: Any) -> Any:
    """Symmetric and positive definite, without a product or a sum of many terms."""
    return (a + a.T) / 2 + len(a) * a.new_ones(len(a)).diag()


def _algebra(size: int, compute: Callable[[Any, Any], Any]) -> Callable[[Tensors], Any]:
    """compute: from torch.linalg and a square matrix."""
    return lambda t: compute(t.torch.linalg, t("a", size, size))


ALGEBRA = (
    Row("solve.@.30", _algebra(30, lambda la, a: la.solve(_conditioned(a), a[:, :3])), _WIDE, threaded=True),
    Row("solve.@.100", _algebra(100, lambda la, a: la.solve(_conditioned(a), a[:, :3])), _WIDE, threaded=True),
    Row("inv.@.30", _algebra(30, lambda la, a: la.inv(_conditioned(a))), _WIDE, threaded=True),
    Row("cholesky.@.100", _algebra(100, lambda la, a: la.cholesky(_positive(a))), _WIDE, threaded=True),
    Row("lu.@.30", _algebra(30, lambda la, a: la.lu_factor(_conditioned(a))[0]), _WIDE),
    Row("det.@.30", _algebra(30, lambda la, a: la.det(a)), _WIDE, ("aten",)),
    Row("qr.@.30", _algebra(30, lambda la, a: la.qr(a)[1]), _WIDE, threaded=True),
    Row("qr.@.100", _algebra(100, lambda la, a: la.qr(a)[1]), _WIDE, threaded=True),
    Row("svd.@.30", _algebra(30, lambda la, a: la.svd(a)[0]), _WIDE, threaded=True),
    Row("eigh.@.30", _algebra(30, lambda la, a: la.eigh(_positive(a))[0]), _WIDE, threaded=True),
    Row("eigvals.@.30", _algebra(30, lambda la, a: la.eigvals(a)), ("f32",)),
    Row("triangular.@.30", _algebra(30, lambda la, a: _triangular(la, a)), _WIDE, threaded=True),
    Row("matrix_exp.@.30", _algebra(30, lambda la, a: la.matrix_exp(a * 0.1)), _WIDE, ("aten",), threaded=True),
)


def _triangular(la: Any, a: Any) -> Any:
    return la.solve_triangular(_conditioned(a).tril(), a[:, :3], upper=False)


TRANSFORMS = (
    Row("fft.@.600", lambda t: t.torch.fft.fft(t("x", 600)), _WIDE),
    Row("rfft.@.997", lambda t: t.torch.fft.rfft(t("x", 997)), _WIDE),
    Row("irfft.@.600", lambda t: t.torch.fft.irfft(t("x", 301)), ("c64",)),
    Row("fft2.@.30x20", lambda t: t.torch.fft.fft2(t("x", 30, 20)), _WIDE, threaded=True),
)


def _tree(leaves: int, box: Callable[[Tensors, int], summation.Box]) -> Callable[[Tensors], str]:
    return lambda t: summation.reveal(box(t, leaves), leaves, t.dtype)


def _dot_box(t: Tensors, leaves: int) -> summation.Box:
    make = t.torch.tensor
    return lambda left, right: float(make(left, dtype=t.type) @ make(right, dtype=t.type))


def _gemv_box(t: Tensors, leaves: int) -> summation.Box:
    """The first element of a matrix times a vector; the other rows are zero."""
    matrix = t.zeros(16, leaves)

    def box(left: List[float], right: List[float]) -> float:
        matrix[0] = t.torch.tensor(left, dtype=t.type)
        return float((matrix @ t.torch.tensor(right, dtype=t.type))[0])

    return box


def _matmul_box(t: Tensors, leaves: int) -> summation.Box:
    """The first element of a matrix product; the other rows and columns are zero."""
    first, second = t.zeros(16, leaves), t.zeros(leaves, 16)

    def box(left: List[float], right: List[float]) -> float:
        first[0], second[:, 0] = t.torch.tensor(left, dtype=t.type), t.torch.tensor(right, dtype=t.type)
        return float((first @ second)[0, 0])

    return box


# Leaves as in blas.py: several registers of the widest kernels. A product of matrices, whose kernels keep an element in
# one place of a register, needs no more than the unrolling of its loops.
TREES = (
    Row("tree.dot.@", _tree(48, _dot_box), _WIDE),
    Row("tree.gemv.@", _tree(48, _gemv_box), _WIDE),
    Row("tree.matmul.@", _tree(20, _matmul_box), _WIDE, threaded=True),
)
