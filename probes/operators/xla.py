"""XLA on the CPU, as JAX calls it: each operator is one jitted function, so one executable.

Three makers of code decide its bits (measured with jaxlib 0.10.2). LLVM compiles loops and small products for the
instructions that --xla_cpu_max_isa leaves. oneDNN, a copy of its own inside XLA, computes most convolutions and
products of a transposed matrix, by ONEDNN_MAX_CPU_ISA. YNNPACK takes large products, convolutions and sums, and asks
the processor alone. `threaded`: XLA's thread pool worked on it; sums and gradients of convolutions change with the
number of threads.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

from .. import inputs
from ..facts import Absent
from . import Operator

Compute = Callable[..., Any]

COUNT = 4099
LARGE = 100003


def on_cpu() -> Any:
    """The jax module, which computes on the CPU from here on: left alone it takes a GPU, and most of its memory.

    Raises Absent where it cannot be imported."""
    try:
        import jax
    except ImportError as error:
        raise Absent("{} is not installed".format(error.name or "jax")) from None
    jax.config.update("jax_platforms", "cpu")
    return jax


class Row(NamedTuple):
    """One executable. `compute` takes jax and then an array in [-1, 1) for each of `shapes`."""

    name: str
    shapes: Tuple[Any, ...]
    compute: Compute
    dtype: str = "float32"
    threaded: bool = False
    control: bool = False


def operators() -> List[Operator]:
    """Products, convolutions, reductions, functions, fused chains, random streams. Raises Absent without jax."""
    jax = on_cpu()
    return [
        Operator("xla." + row.name, "xla", _made(jax, row), control=row.control, threaded=row.threaded) for row in ROWS
    ]


def _made(jax: Any, row: Row) -> Callable[[], Any]:
    compiled = jax.jit(partial(row.compute, jax))

    def function() -> Any:
        arrays = [
            inputs.array("xla.{}.{}".format(row.name, place), shape, row.dtype)
            for place, shape in enumerate(row.shapes)
        ]
        if row.dtype == "float32":
            return compiled(*arrays)
        if not hasattr(jax, "enable_x64"):
            raise Absent("this jax has no enable_x64")
        with jax.enable_x64(True):
            return compiled(*arrays)

    return function


def _dot(jax: Any, a: Any, b: Any) -> Any:
    return a @ b


def _dot_bf16(jax: Any, a: Any, b: Any) -> Any:
    return a.astype("bfloat16") @ b.astype("bfloat16")


def _convolution(jax: Any, image: Any, kernel: Any, stride: int = 1, groups: int = 1) -> Any:
    """image [N, C, H, W], kernel [out, C, H, W]."""
    return jax.lax.conv_general_dilated(image, kernel, (stride, stride), "SAME", feature_group_count=groups)


def _convolution_backward(jax: Any, image: Any, kernel: Any, back: Any) -> Any:
    """The gradient of the kernel."""
    return jax.vjp(partial(_convolution, jax, image), kernel)[1](back)[0]


def _segments(jax: Any, x: Any) -> Any:
    """Sums of the elements that share a place, as a gradient of an embedding is."""
    return jax.numpy.zeros(67, x.dtype).at[(jax.numpy.arange(x.size) * 31) % 67].add(x)


def _layer_norm(jax: Any, x: Any) -> Any:
    centred = x - x.mean(1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(1, keepdims=True) + 1e-5)


def _adam(jax: Any, weights: Any, first: Any, second: Any) -> Any:
    return weights - 0.01 * (first / 0.9) / (jax.numpy.sqrt((second + 1.5) / 0.98) + 1e-8)


def _recurrent(jax: Any, x: Any, weights: Any) -> Any:
    """A loop whose body is compiled once."""

    def body(state: Any, row: Any) -> Tuple[Any, Any]:
        state = jax.numpy.tanh(state @ weights + row)
        return state, state

    return jax.lax.scan(body, x[0], x)[1]


def _elementwise(name: str, compute: Compute, control: bool = False) -> Row:
    return Row(name, (COUNT,), compute, control=control)


def _random(name: str, draw: Callable[[Any, Any], Any]) -> Row:
    return Row("random." + name, (), lambda jax: draw(jax.random, jax.random.key(20240229)))


ROWS = (
    Row("dot.f32.64x64x64", ((64, 64), (64, 64)), _dot),
    Row("dot.f32.169x32x64", ((169, 32), (32, 64)), _dot),
    Row("dot.f32.transposed", ((507, 64), (507, 32)), lambda jax, a, b: a.T @ b),
    Row("dot.f32.256x512x256", ((256, 512), (512, 256)), _dot, threaded=True),
    Row("dot.f32.512x1024x512", ((512, 1024), (1024, 512)), _dot, threaded=True),
    Row("dot.bf16.256x512x256", ((256, 512), (512, 256)), _dot_bf16, threaded=True),
    Row("dot.f64.256x512x256", ((256, 512), (512, 256)), _dot, "float64", threaded=True),
    Row("dot.f32.matrix_vector", ((257, 515), (515,)), _dot),
    Row("dot.f32.vectors", ((COUNT,), (COUNT,)), _dot),
    Row("dot.f32.batched", ((31, 17, 33), (31, 33, 19)), _dot),
    Row("conv.f32.1x1", ((4, 32, 14, 14), (64, 32, 1, 1)), _convolution, threaded=True),
    Row("conv.f32.3x3", ((4, 16, 28, 28), (32, 16, 3, 3)), _convolution, threaded=True),
    Row("conv.f32.strided", ((4, 3, 33, 33), (16, 3, 5, 5)), partial(_convolution, stride=2), threaded=True),
    Row("conv.f32.depthwise", ((4, 32, 14, 14), (32, 1, 3, 3)), partial(_convolution, groups=32), threaded=True),
    Row("conv.f32.backward", ((4, 8, 14, 14), (16, 8, 3, 3), (4, 16, 14, 14)), _convolution_backward, threaded=True),
    Row("sum.f32.all", (LARGE,), lambda jax, x: x.sum(), threaded=True),
    Row("sum.f32.rows", ((257, 515),), lambda jax, x: x.sum(1), threaded=True),
    Row("sum.f32.columns", ((257, 515),), lambda jax, x: x.sum(0), threaded=True),
    Row("sum.f64.all", (LARGE,), lambda jax, x: x.sum(), "float64", threaded=True),
    Row("var.f32.rows", ((257, 515),), lambda jax, x: x.var(1), threaded=True),
    Row("logsumexp.f32.rows", ((257, 515),), lambda jax, x: jax.nn.logsumexp(x, axis=1), threaded=True),
    Row("max.f32.rows", ((257, 515),), lambda jax, x: x.max(1), control=True),
    Row("cumsum.f32", (COUNT,), lambda jax, x: jax.numpy.cumsum(x)),
    Row("segment_sum.f32", (COUNT,), _segments, threaded=True),
    _elementwise("exp.f32", lambda jax, x: jax.numpy.exp(x * 16)),
    _elementwise("expm1.f32", lambda jax, x: jax.numpy.expm1(x)),
    _elementwise("log.f32", lambda jax, x: jax.numpy.log(x + 1.25)),
    _elementwise("log1p.f32", lambda jax, x: jax.numpy.log1p(x * 0.5)),
    _elementwise("sin.f32", lambda jax, x: jax.numpy.sin(x * 32)),
    _elementwise("cos.f32", lambda jax, x: jax.numpy.cos(x * 32)),
    _elementwise("tanh.f32", lambda jax, x: jax.numpy.tanh(x * 4)),
    _elementwise("erf.f32", lambda jax, x: jax.lax.erf(x * 4)),
    _elementwise("logistic.f32", lambda jax, x: jax.nn.sigmoid(x * 8)),
    _elementwise("pow.f32", lambda jax, x: (x + 1.25) ** 2.5),
    _elementwise("sqrt.f32", lambda jax, x: jax.numpy.sqrt(x + 1.25)),
    _elementwise("rsqrt.f32", lambda jax, x: jax.lax.rsqrt(x + 1.25)),
    _elementwise("divide.f32", lambda jax, x: x / (x + 1.25)),
    _elementwise("add.f32", lambda jax, x: x + 0.3, control=True),
    _elementwise("rounded_to_bf16.f32", lambda jax, x: x.astype("bfloat16"), control=True),
    Row("exp.f64", (COUNT,), lambda jax, x: jax.numpy.exp(x * 16), "float64"),
    Row("fused.multiply_add", (COUNT, COUNT, COUNT), lambda jax, x, y, z: x * y + z),
    Row("fused.polynomial", (COUNT,), lambda jax, x: ((0.1 * x + 0.3) * x - 0.7) * x + 0.9),
    Row("fused.layer_norm", ((257, 515),), _layer_norm, threaded=True),
    Row("fused.softmax", ((257, 515),), lambda jax, x: jax.nn.softmax(x * 8, axis=1), threaded=True),
    Row("fused.gelu", (COUNT,), lambda jax, x: jax.nn.gelu(x * 4)),
    Row("fused.adam", (COUNT, COUNT, COUNT), _adam),
    Row("fused.large", (LARGE, LARGE), lambda jax, x, y: jax.numpy.exp(x) * y - x, threaded=True),
    Row("loop.recurrent", ((13, 64), (64, 64)), _recurrent),
    Row("sort.f32", (COUNT,), lambda jax, x: jax.numpy.sort(x), control=True),
    _random("bits", lambda random, key: random.bits(key, (COUNT,))),
    _random("split", lambda random, key: random.key_data(random.split(key, 67))),
    _random("uniform", lambda random, key: random.uniform(key, (COUNT,))),
    _random("normal", lambda random, key: random.normal(key, (COUNT,))),
    _random("categorical", lambda random, key: random.categorical(key, random.uniform(key, (257, 13)))),
    _random("permutation", lambda random, key: random.permutation(key, COUNT)),
)
