"""numpy's own compiled loops: vector code that numpy chooses by CPU features when it is imported.

A row that also says `libm` reaches the C library's functions on some CPUs or in some numpy versions (measured by
masking glibc's vector variants with and without numpy's). `control` rows never moved under any setting tried within
one version.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

from .. import inputs
from ..facts import Absent, Wrong
from . import Operator

COUNT = 4099
"""Elements of a grid: log f64 differs in 0.15% of them between two CPUs, and 4099 is no multiple of a vector length."""

LIBM = ("libm",)


def operators() -> List[Operator]:
    """Elementwise functions, binary functions, then the computations. Raises Absent without numpy."""
    try:
        import numpy
    except ImportError:
        raise Absent("numpy is not installed") from None
    return _elementwise(numpy) + _binary(numpy) + _computations(numpy)


@inputs.cached
def _grid(name: str, dtype: str, low: float, high: float) -> Any:
    """COUNT numbers in [low, high): each step rounds once, the same on every CPU. Shared, so read-only."""
    grid = inputs.array("numpy.{}.{}".format(name, dtype), COUNT, dtype)
    scale = grid.dtype.type((high - low) / 2)
    grid = (grid + grid.dtype.type(1)) * scale + grid.dtype.type(low)
    grid.flags.writeable = False
    return grid


class Function(NamedTuple):
    """A ufunc of one argument over [low, high)."""

    name: str
    low: float
    high: float
    through: Tuple[str, ...] = LIBM
    control: bool = False


FUNCTIONS = (
    Function("exp", -20.0, 20.0),
    Function("exp2", -20.0, 20.0),
    Function("expm1", -4.0, 4.0),
    Function("log", 0.001, 1000.0),
    Function("log2", 0.001, 1000.0),
    Function("log10", 0.001, 1000.0),
    Function("log1p", -0.9, 10.0),
    Function("sin", -30.0, 30.0),
    Function("cos", -30.0, 30.0),
    Function("tan", -30.0, 30.0),
    Function("arcsin", -1.0, 1.0),
    Function("arccos", -1.0, 1.0),
    Function("arctan", -20.0, 20.0),
    Function("sinh", -10.0, 10.0),
    Function("cosh", -10.0, 10.0),
    Function("tanh", -5.0, 5.0),
    Function("arcsinh", -50.0, 50.0),
    Function("arccosh", 1.0, 50.0),
    Function("arctanh", -0.99, 0.99),
    Function("cbrt", -100.0, 100.0),
    Function("sqrt", 0.0, 1000.0, (), True),
    Function("reciprocal", 0.5, 100.0, (), True),
    Function("square", -100.0, 100.0, (), True),
    Function("rint", -100.0, 100.0, (), True),
    Function("floor", -100.0, 100.0, (), True),
    Function("absolute", -100.0, 100.0, (), True),
    Function("deg2rad", -360.0, 360.0, (), True),
    Function("spacing", 0.5, 100.0, (), True),
)


def _elementwise(np: Any) -> List[Operator]:
    return [
        Operator(
            "numpy.{}.{}".format(row.name, short),
            "numpy",
            partial(_apply, np, row, dtype),
            row.through,
            row.control,
        )
        for row in FUNCTIONS
        for short, dtype in (("f32", "float32"), ("f64", "float64"))
    ]


def _apply(np: Any, row: Function, dtype: str) -> Any:
    return getattr(np, row.name)(_grid("x", dtype, row.low, row.high))


class Binary(NamedTuple):
    """A ufunc of two arguments: over [low, high) and over [low2, high2)."""

    name: str
    low: float
    high: float
    low2: float
    high2: float
    through: Tuple[str, ...] = ()
    control: bool = True


BINARY = (
    Binary("power", 0.01, 30.0, -3.0, 3.0, LIBM, False),
    Binary("arctan2", -5.0, 5.0, -5.0, 5.0, LIBM, False),
    Binary("hypot", -50.0, 50.0, -50.0, 50.0, LIBM, False),
    Binary("logaddexp", -5.0, 5.0, -5.0, 5.0, LIBM, False),
    Binary("fmod", -500.0, 500.0, 0.5, 8.0, LIBM, False),
    Binary("remainder", -500.0, 500.0, 0.5, 8.0, LIBM, False),
    Binary("floor_divide", -500.0, 500.0, 0.5, 8.0, LIBM, False),
    Binary("divide", -500.0, 500.0, 0.5, 8.0),
    Binary("multiply", -500.0, 500.0, -8.0, 8.0),
    Binary("add", -500.0, 500.0, -8.0, 8.0),
    Binary("subtract", -500.0, 500.0, -8.0, 8.0),
    Binary("nextafter", 1.0, 50.0, -50.0, 50.0),
    Binary("copysign", -5.0, 5.0, -5.0, 5.0),
)


def _binary(np: Any) -> List[Operator]:
    return [
        Operator(
            "numpy.{}.{}".format(row.name, short),
            "numpy",
            partial(_apply_binary, np, row, dtype),
            row.through,
            row.control,
        )
        for row in BINARY
        for short, dtype in (("f32", "float32"), ("f64", "float64"))
    ]


def _apply_binary(np: Any, row: Binary, dtype: str) -> Any:
    return getattr(np, row.name)(_grid("x", dtype, row.low, row.high), _grid("y", dtype, row.low2, row.high2))


class Computation(NamedTuple):
    """Anything else: `compute` takes numpy and a dtype."""

    name: str
    compute: Callable[[Any, str], Any]
    through: Tuple[str, ...] = ()
    control: bool = False
    dtypes: Tuple[str, ...] = ("float32", "float64")


def _computations(np: Any) -> List[Operator]:
    rows = (*COMPLEX, *REDUCTIONS, *ORDERS, *CASTS, *TRANSFORMS)
    return [
        Operator(
            "numpy.{}.{}".format(row.name, SHORT[dtype]),
            "numpy",
            partial(row.compute, np, dtype),
            row.through,
            row.control,
        )
        for row in rows
        for dtype in row.dtypes
    ]


SHORT = {
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "complex64": "c64",
    "complex128": "c128",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
}


def _unit(dtype: str, name: str = "x") -> Any:
    return _grid(name, dtype, -1.0, 1.0)


def _matrix(dtype: str, name: str = "x") -> Any:
    return _unit(dtype, name)[:4080].reshape(60, 68)


def _complex(dtype: str, name: str = "z") -> Any:
    return inputs.array("numpy." + name, COUNT, dtype)


def _integers(np: Any, dtype: str, limit: int = 1000) -> Any:
    """Whole numbers in [-limit / 2, limit / 2), with many equal ones; for uint8 in [0, 256)."""
    whole = (_unit("float64") * (limit / 2)).astype("int64")
    return (whole % 256 if dtype == "uint8" else whole).astype(dtype)


def _with_specials(np: Any, dtype: str, name: str) -> Any:
    """Numbers with NaN, infinities and zeros of both signs among them, at other places for each name."""
    grid = _unit(dtype, name).copy()
    for place, special in enumerate((np.nan, np.inf, -np.inf, 0.0, -0.0)):
        grid[place + len(name) :: 31 + 2 * place] = special
    return grid


_C = ("complex64", "complex128")

COMPLEX = (
    Computation("multiply", lambda np, d: _complex(d) * _complex(d, "w"), (), False, _C),
    Computation("divide", lambda np, d: _complex(d) / _complex(d, "w"), (), False, _C),
    Computation("square", lambda np, d: np.square(_complex(d)), (), False, _C),
    Computation("absolute", lambda np, d: np.absolute(_complex(d)), LIBM, False, _C),
    Computation("exp", lambda np, d: np.exp(_complex(d)), LIBM, False, _C),
    Computation("log", lambda np, d: np.log(_complex(d)), LIBM, False, _C),
    Computation("sqrt", lambda np, d: np.sqrt(_complex(d)), LIBM, False, _C),
    Computation("sin", lambda np, d: np.sin(_complex(d)), LIBM, False, _C),
    Computation("power", lambda np, d: _complex(d) ** _complex(d, "w"), LIBM, False, _C),
)

REDUCTIONS = (
    Computation("sum", lambda np, d: np.sum(_unit(d)), (), True),
    Computation("sum.rows", lambda np, d: np.add.reduce(_matrix(d), axis=1), (), True),
    Computation("sum.columns", lambda np, d: np.add.reduce(_matrix(d), axis=0), (), True),
    Computation("sum.strided", lambda np, d: np.sum(_unit(d)[::3]), (), True),
    Computation("sum", lambda np, d: np.sum(_complex(d)), (), True, _C),
    Computation("sum.half", lambda np, d: np.sum(_unit("float32").astype(d)), (), True, ("float16",)),
    Computation("mean", lambda np, d: np.mean(_unit(d)), (), True),
    Computation("var", lambda np, d: np.var(_unit(d)), (), True),
    Computation("std.rows", lambda np, d: np.std(_matrix(d), axis=1), (), True),
    Computation("cumsum", lambda np, d: np.cumsum(_unit(d)), (), True),
    Computation("cumprod", lambda np, d: np.cumprod(_grid("x", d, 0.9, 1.1)), (), True),
    Computation("prod", lambda np, d: np.prod(_grid("x", d, 0.9, 1.1)), (), True),
    Computation("max.rows", lambda np, d: np.max(_matrix(d), axis=1), (), True),
    Computation("argmax", lambda np, d: np.argmax(_matrix(d), axis=0), (), True),
    Computation("einsum", lambda np, d: np.einsum("ij,ij->i", _matrix(d), _matrix(d, "y")), (), True),
    Computation("einsum.inner", lambda np, d: np.einsum("i,i->", _unit(d), _unit(d, "y")), (), True),
    Computation("add.at", lambda np, d: _add_at(np, d), (), True),
    Computation("add.reduceat", lambda np, d: np.add.reduceat(_unit(d), [0, 7, 100, 1111, 3000]), (), True),
    Computation("bincount.weights", lambda np, d: np.bincount(_bins(np), weights=_unit(d)), (), True, ("float64",)),
    Computation(
        "matmul",
        lambda np, d: _integers(np, d)[:900].reshape(30, 30) @ _integers(np, d)[900:1800].reshape(30, 30),
        (),
        True,
        ("int64",),
    ),
)


def _bins(np: Any) -> Any:
    return _integers(np, "int64", 100) + 50


def _add_at(np: Any, dtype: str) -> Any:
    sums = np.zeros(101, dtype)
    np.add.at(sums, _bins(np), _unit(dtype))
    return sums


_SORTED = ("float32", "float64", "int16", "int32", "int64")
_WHOLE = ("int32", "int64")


def _values(np: Any, dtype: str) -> Any:
    return _unit(dtype) if dtype.startswith("float") else _integers(np, dtype)


_KTH = 2000


def _sorted(np: Any, values: Any) -> Any:
    found = np.sort(values)
    _rightly(not (found[1:] < found[:-1]).any(), "not sorted")
    return found


def _argsorted(np: Any, values: Any) -> Any:
    """Which of equal values comes first is the code path's choice; that they are in order is not."""
    found = np.argsort(values)
    _all_once(np, found)
    _rightly(not (values[found][1:] < values[found][:-1]).any(), "not sorted")
    return found


def _ties(np: Any, dtype: str) -> Any:
    """Among so many equal values a wrong code path can come out in order; it does not where they are not equal."""
    _argsorted(np, _values(np, dtype))
    return _argsorted(np, np.floor(_unit(dtype) * 20))


def _argpartitioned(np: Any, values: Any) -> Any:
    found = np.argpartition(values, _KTH)
    _all_once(np, found)
    parted = values[found]
    _rightly(parted[:_KTH].max() <= parted[_KTH] <= parted[_KTH:].min(), "not parted at the element")
    return found


def _all_once(np: Any, found: Any) -> None:
    _rightly((np.bincount(found, minlength=len(found)) == 1).all(), "not every element once")


def _rightly(holds: Any, otherwise: str) -> None:
    """Emulators, and CPUs that corrupt data, give results that are no result of any code path."""
    if not holds:
        raise Wrong("its result is wrong on this machine: " + otherwise)


ORDERS = (
    Computation("sort", lambda np, d: _sorted(np, _values(np, d)), (), True, _SORTED),
    Computation("argsort", lambda np, d: _argsorted(np, _values(np, d)), (), False, _SORTED),
    Computation(
        "argsort.stable",
        lambda np, d: np.argsort(_values(np, d), kind="stable"),
        (),
        True,
        ("float64", *_WHOLE),
    ),
    Computation("argsort.ties", _ties, (), False),
    Computation(
        "partition",
        lambda np, d: np.partition(_values(np, d), _KTH),
        (),
        False,
        ("float32", "float64", *_WHOLE),
    ),
    Computation(
        "argpartition",
        lambda np, d: _argpartitioned(np, _values(np, d)),
        (),
        False,
        ("float32", "float64", *_WHOLE),
    ),
    Computation("lexsort", lambda np, d: np.lexsort((_integers(np, d), _integers(np, d, 10))), (), True, ("int64",)),
    # The floating-point mode moves it too: flush-to-zero changes the order of zeros on an AVX2 path [M: numpy 2.4 f32].
    Computation("sort.signed_zeros", lambda np, d: np.sort(_with_specials(np, d, "x")), ("fpu",), False),
    Computation("unique", lambda np, d: np.unique(_integers(np, d)), (), True, ("int64",)),
    Computation("searchsorted", lambda np, d: np.searchsorted(np.sort(_unit(d)), _unit(d, "y")), (), True),
    Computation("histogram", lambda np, d: np.histogram(_unit(d), bins=37, range=(-1.0, 1.0))[0], (), True),
    Computation("percentile", lambda np, d: np.percentile(_unit(d), [1, 25, 50, 99]), (), True),
    Computation("median", lambda np, d: np.median(_matrix(d), axis=1), (), True),
    Computation(
        "interp",
        lambda np, d: np.interp(_unit(d, "y"), np.linspace(-1, 1, 50), _unit("float64")[:50]),
        (),
        True,
    ),
    Computation("maximum", lambda np, d: np.maximum(_with_specials(np, d, "x"), _with_specials(np, d, "yy"))),
    Computation("minimum", lambda np, d: np.minimum(_with_specials(np, d, "x"), _with_specials(np, d, "yy"))),
    Computation("fmax", lambda np, d: np.fmax(_with_specials(np, d, "x"), _with_specials(np, d, "yy"))),
    Computation("clip", lambda np, d: np.clip(_with_specials(np, d, "x"), -0.25, 0.5), (), True),
    Computation("where", lambda np, d: np.where(_unit(d) < 0, _unit(d, "y"), -_unit(d)), (), True),
    Computation("sign", lambda np, d: np.sign(_with_specials(np, d, "x")), (), True),
)


CASTS = (
    Computation("cast.to_f16", lambda np, d: _unit(d).astype("float16"), (), True),
    Computation("cast.from_f16", lambda np, d: _halves(np).astype(d), (), True),
    Computation("cast.to_i32", lambda np, d: (_unit(d) * 1e6).astype("int32"), (), True),
    Computation("cast.to_u8", lambda np, d: (np.abs(_unit(d)) * 255).astype("uint8"), (), True),
    Computation("cast.from_i64", lambda np, d: (_integers(np, "int64", 1 << 40) * 12345677).astype(d), (), True),
    Computation("cast.f64_to_f32", lambda np, d: _unit("float64").astype(d), (), True, ("float32",)),
    Computation("exp", lambda np, d: np.exp(_halves(np)), LIBM, False, ("float16",)),
    Computation("multiply", lambda np, d: _halves(np) * _halves(np)[::-1], (), True, ("float16",)),
    Computation("floor_divide", lambda np, d: _integers(np, d) // 7, (), True, _WHOLE),
    Computation("remainder", lambda np, d: _integers(np, d) % 7, (), True, _WHOLE),
)


def _halves(np: Any) -> Any:
    # Away from zero: products of two stay clear of float16's subnormal numbers.
    return _grid("x", "float32", 0.25, 2.0).astype("float16")


TRANSFORMS = (
    Computation("fft.1024", lambda np, d: np.fft.fft(_unit(d)[:1024]), LIBM),
    Computation("fft.1009", lambda np, d: np.fft.fft(_unit(d)[:1009]), LIBM),
    Computation("fft.840", lambda np, d: np.fft.fft(_unit(d)[:840]), LIBM),
    Computation("rfft.1000", lambda np, d: np.fft.rfft(_unit(d)[:1000]), LIBM),
    Computation("fft2.60x68", lambda np, d: np.fft.fft2(_matrix(d)), LIBM),
    Computation("fft.256", lambda np, d: np.fft.fft(_complex(d)[:256]), LIBM, False, _C),
    Computation("ifft.256", lambda np, d: np.fft.ifft(_complex(d)[:256]), LIBM, False, _C),
    Computation("irfft.510", lambda np, d: np.fft.irfft(_complex(d)[:256]), LIBM, False, _C),
    Computation("polyval", lambda np, d: np.polyval(_unit(d)[:6], _unit(d, "y")), (), True),
    Computation("linspace", lambda np, d: np.linspace(0.1, 7.3, 501, dtype=d), (), True),
    Computation(
        "cross",
        lambda np, d: np.cross(_unit(d)[:3000].reshape(1000, 3), _unit(d, "y")[:3000].reshape(1000, 3)),
        (),
        True,
    ),
    Computation("gradient", lambda np, d: np.gradient(_unit(d)), (), True),
    Computation("softmax", lambda np, d: _softmax(np, _matrix(d)), LIBM),
    Computation("sinc", lambda np, d: np.sinc(_grid("x", d, -8.0, 8.0)), LIBM),
    Computation("i0", lambda np, d: np.i0(_grid("x", d, -4.0, 4.0)), LIBM),
)


def _softmax(np: Any, logits: Any) -> Any:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
