"""Linear algebra that numpy leaves to its BLAS and LAPACK library: kernels, threads, summation order.

Shapes: OpenBLAS uses several threads above a size of its own for each routine. A row whose shape is above it says
`threaded`; the others were measured to run on the calling thread alone with OpenBLAS 0.3.23 to 0.3.31 (worker threads
get no CPU time: test_battery_threads.py). So a differing thread count can move threaded rows only.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

from .. import inputs
from ..facts import Absent
from . import Operator, summation

Compute = Callable[..., Any]

DTYPES = {"f32": "float32", "f64": "float64", "c64": "complex64", "c128": "complex128"}


class Row(NamedTuple):
    """One computation for several dtypes. `compute` takes numpy and then an array for each of `shapes`."""

    name: str
    shapes: Tuple[Any, ...]
    compute: Compute
    dtypes: Tuple[str, ...] = ("f32", "f64")
    threaded: Tuple[str, ...] = ()  # the dtypes for which the shape is above the threading size
    through: Tuple[str, ...] = ()


_ALL = tuple(DTYPES)


def operators() -> List[Operator]:
    """Products, layouts, LAPACK and summation trees. Raises Absent without numpy."""
    try:
        import numpy
    except ImportError:
        raise Absent("numpy is not installed") from None
    rows = [*PRODUCTS, *LAYOUTS, *THREADED, *LAPACK]
    return [operator for row in rows for operator in _of_row(numpy, row)] + _trees(numpy)


def _of_row(np: Any, row: Row) -> List[Operator]:
    return [
        Operator(
            "blas.{}".format(row.name.replace("@", dtype)),
            "blas",
            partial(_compute, np, row, DTYPES[dtype]),
            row.through,
            threaded=dtype in row.threaded,
        )
        for dtype in row.dtypes
    ]


def _compute(np: Any, row: Row, dtype: str) -> Any:
    arrays = [
        inputs.array("blas.{}.{}".format(row.name, place), shape, dtype) for place, shape in enumerate(row.shapes)
    ]
    return row.compute(np, *arrays)


def _matmul(np: Any, a: Any, b: Any) -> Any:
    return a @ b


PRODUCTS = (
    Row("dot.@.1000", (1000, 1000), lambda np, a, b: np.dot(a, b), _ALL),
    Row("dot.@.37", (37, 37), lambda np, a, b: np.dot(a, b)),
    Row("vdot.@.501", (501, 501), lambda np, a, b: np.vdot(a, b), ("c64", "c128")),
    Row("norm.@.700", (700,), lambda np, a: np.linalg.norm(a)),
    Row("gemv.@.80x90", ((80, 90), 90), _matmul),
    Row("gemv.@.50x60", ((50, 60), 60), _matmul, ("c64", "c128")),
    Row("gemv_t.@.90x80", ((90, 80), 90), lambda np, a, x: a.T @ x),
    Row("gemv_t.@.60x50", ((60, 50), 60), lambda np, a, x: a.T @ x, ("c64", "c128")),
    Row("gevm.@.80x90", (80, (80, 90)), _matmul),
    Row("outer_product.@.60x1x50", ((60, 1), (1, 50)), _matmul),
    Row("matmul.@.8x8x8", ((8, 8), (8, 8)), _matmul),
    Row("matmul.@.17x31x13", ((17, 31), (31, 13)), _matmul, _ALL),
    Row("matmul.@.64x64x64", ((64, 64), (64, 64)), _matmul, ("f32", "f64")),
    Row("matmul.@.24x24x24", ((24, 24), (24, 24)), _matmul, ("c64", "c128")),
    Row("matmul.@.4x600x4", ((4, 600), (600, 4)), _matmul),
    Row("matmul.@.batched.5x12x20x9", ((5, 12, 20), (5, 20, 9)), _matmul),
    Row("syrk.@.40x50", ((40, 50),), lambda np, a: a @ a.T),
    Row("syrk.@.16x20", ((16, 20),), lambda np, a: a @ a.T, ("c64", "c128")),
    Row("syrk_t.@.50x40", ((50, 40),), lambda np, a: a.T @ a),
    Row(
        "tensordot.@.6x7x8",
        ((6, 7, 8), (8, 7, 5)),
        lambda np, a, b: np.tensordot(a, b, axes=([1, 2], [1, 0])),
    ),
    Row(
        "einsum_optimized.@.6x7x8",
        ((6, 7, 8), (8, 20)),
        lambda np, a, b: np.einsum("ijk,kl->ijl", a, b, optimize=True),
    ),
    Row("convolve.@.300x33", (300, 33), lambda np, a, b: np.convolve(a, b)),
    Row(
        "multi_dot.@.20x30x10x25",
        ((20, 30), (30, 10), (10, 25)),
        lambda np, a, b, c: np.linalg.multi_dot([a, b, c]),
    ),
)

LAYOUTS = (
    Row("matmul.@.left_transposed", ((50, 40), (50, 30)), lambda np, a, b: a.T @ b),
    Row("matmul.@.right_transposed", ((40, 50), (30, 50)), lambda np, a, b: a @ b.T),
    Row("matmul.@.both_transposed", ((50, 40), (30, 50)), lambda np, a, b: a.T @ b.T),
    Row("matmul.@.fortran", ((40, 50), (50, 30)), lambda np, a, b: np.asfortranarray(a) @ np.asfortranarray(b)),
    # numpy before 2.3 multiplies these by a loop of its own instead of copying them for BLAS.
    Row("matmul.@.strided", ((80, 50), (50, 60)), lambda np, a, b: a[::2] @ b[:, ::2], through=("numpy",)),
    Row("matmul.@.window", ((50, 70), (70, 50)), lambda np, a, b: a[5:45, 3:53] @ b[3:53, 5:45]),
    Row("dot.@.strided", (900, 600), lambda np, a, b: np.dot(a[::3], b[::2])),
)


def _tiled_gemv_t(np: Any, base: Any, x: Any) -> Any:
    # A million numbers from a prime number of them: rows all differ, and building them costs a copy.
    return np.resize(base, (1000, 1000)).T @ x


def _well_conditioned(np: Any, a: Any) -> Any:
    return a + a.dtype.type(len(a) ** 0.5) * np.eye(len(a), dtype=a.dtype)


def _positive(np: Any, a: Any) -> Any:
    """Symmetric, positive definite and the same bits everywhere: no BLAS in its making, and no sum of many terms."""
    return (a + a.T) / 2 + a.dtype.type(len(a)) * np.eye(len(a), dtype=a.dtype)


THREADED = (
    Row("dot.@.30011", (30011, 30011), lambda np, a, b: np.dot(a, b), ("f64",), ("f64",)),
    Row("gemv_t.@.1000x1000", (4099, 1000), _tiled_gemv_t, ("f32",), ("f32",)),
    Row("matmul.@.32x507x64", ((32, 507), (507, 64)), _matmul, ("f32", "f64"), ("f32", "f64")),
    Row("matmul.@.128x300x96", ((128, 300), (300, 96)), _matmul, ("f32", "f64"), ("f32", "f64")),
    Row(
        "solve.@.100",
        ((100, 100), (100, 3)),
        lambda np, a, b: np.linalg.solve(_well_conditioned(np, a), b),
        ("f64",),
        ("f64",),
    ),
    Row(
        "cholesky.@.200",
        ((200, 200),),
        lambda np, a: np.linalg.cholesky(_positive(np, a)),
        ("f64",),
        ("f64",),
    ),
)

# solve and inv: OpenBLAS before 0.3.24 spreads their triangular solves over threads whatever the size.
LAPACK = (
    Row(
        "solve.@.24",
        ((24, 24), (24, 1)),
        lambda np, a, b: np.linalg.solve(_well_conditioned(np, a), b),
        threaded=("f32", "f64"),
    ),
    Row("cholesky.@.30", ((30, 30),), lambda np, a: np.linalg.cholesky(_positive(np, a))),
    Row(
        "inv.@.24",
        ((24, 24),),
        lambda np, a: np.linalg.inv(_well_conditioned(np, a)),
        threaded=("f32", "f64"),
    ),
    # numpy multiplies a determinant up as logarithms.
    Row("det.@.24", ((24, 24),), lambda np, a: np.linalg.det(a), through=("libm",)),
    Row("qr.@.40x20", ((40, 20),), lambda np, a: np.concatenate([part.ravel() for part in np.linalg.qr(a)])),
    Row("svd.@.30x20", ((30, 20),), lambda np, a: np.concatenate([part.ravel() for part in np.linalg.svd(a)])),
    Row(
        "eigh.@.24",
        ((24, 24),),
        lambda np, a: np.concatenate([part.ravel() for part in np.linalg.eigh(_positive(np, a))]),
    ),
    Row("eigvals.@.20", ((20, 20),), lambda np, a: np.linalg.eigvals(a)),
    Row("lstsq.@.40x12", ((40, 12), (40, 3)), lambda np, a, b: np.linalg.lstsq(a, b, rcond=None)[0]),
    Row("pinv.@.20x12", ((20, 12),), lambda np, a: np.linalg.pinv(a)),
    Row("matrix_power.@.12", ((12, 12),), lambda np, a: np.linalg.matrix_power(a, 5)),
)

TREE_LEAVES = 48
"""Enough for several vector registers of the widest kernels, so that kernels give different trees."""


def _trees(np: Any) -> List[Operator]:
    boxes = (("dot", _dot_box), ("gemv", _gemv_box), ("matmul", _matmul_box))
    return [
        Operator("blas.tree.{}.{}".format(name, dtype), "blas", partial(_tree, np, box, dtype))
        for name, box in boxes
        for dtype in ("f32", "f64")
    ]


def _tree(np: Any, box: Callable[[Any, str], summation.Box], dtype: str) -> str:
    return summation.reveal(box(np, DTYPES[dtype]), TREE_LEAVES, dtype)


def _dot_box(np: Any, dtype: str) -> summation.Box:
    return lambda left, right: float(np.dot(np.array(left, dtype), np.array(right, dtype)))


def _gemv_box(np: Any, dtype: str) -> summation.Box:
    """The first element of a matrix times a vector; the other rows are zero."""
    matrix = np.zeros((16, TREE_LEAVES), dtype)

    def box(left: List[float], right: List[float]) -> float:
        matrix[0] = left
        return float((matrix @ np.array(right, dtype))[0])

    return box


def _matmul_box(np: Any, dtype: str) -> summation.Box:
    """The first element of a matrix product; the other rows and columns are zero."""
    first, second = np.zeros((16, TREE_LEAVES), dtype), np.zeros((TREE_LEAVES, 16), dtype)

    def box(left: List[float], right: List[float]) -> float:
        first[0], second[:, 0] = left, right
        return float((first @ second)[0, 0])

    return box
