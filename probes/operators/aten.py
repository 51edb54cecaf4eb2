"""PyTorch's own code on a CPU: vector loops, normalisation, softmax, reductions, random streams, optimizers.

Measured with torch 2.13 by ATEN_CPU_CAPABILITY=avx2 and default, against ONEDNN_MAX_CPU_ISA, MKL_CBWR and an emulated
Haswell: a row says `mkl` or `onednn` where these move it, too. Functions that torch leaves to MKL's vector mathematics
(exp, log, sin, sqrt ...) are in mkl.py. Threads: a loop over more than 32,768 elements (at::internal::GRAIN_SIZE) is
divided, and so are a few others by sizes of their own; `threaded` was measured as in blas.py.
"""

from typing import Any, List

from . import Operator, training
from .tensors import FLOATS, Row, Tensors, near
from .tensors import operators as made
from .training import function, seeded, slope, stream

COUNT = 4099
FEW = 997
"""Fewer elements than those from which a function of vector mathematics is divided among threads."""

LARGE = 40009
HALVES = ("bf16", "f16")
WIDE = ("f32", "f64")


def operators() -> List[Operator]:
    """Elementwise functions, layers, reductions, streams, optimizers. Raises Absent where torch cannot be used."""
    rows = (*ELEMENTWISE, *BINARY, *LAYERS, *REDUCTIONS, *INDEXED, *PRODUCTS, *STREAMS, *OPTIMIZERS)
    return made("aten", rows)


ELEMENTWISE = (
    Row("sigmoid.@", function("sigmoid", COUNT, low=-8, high=8), FLOATS),
    Row("silu.@", function("silu", COUNT, low=-5, high=5), FLOATS),
    Row("gelu_tanh.@", function("gelu", COUNT, low=-5, high=5, approximate="tanh"), FLOATS),
    Row("gelu.@", function("gelu", COUNT, low=-5, high=5), ("f64", "f16")),
    Row("softplus.@", function("softplus", COUNT, low=-8, high=8), WIDE),
    Row("mish.@", function("mish", COUNT, low=-5, high=5), WIDE),
    Row("elu.@", function("elu", COUNT, low=-5, high=5), WIDE),
    Row("log1p.@", function("log1p", FEW, low=-0.9, high=10), WIDE),
    Row("expm1.@", function("expm1", FEW, low=-4, high=4), WIDE),
    Row("exp2.@", function("exp2", COUNT, low=-20, high=20), WIDE),
    Row("sinh.@", function("sinh", COUNT, low=-5, high=5), WIDE),
    Row("lgamma.@", function("lgamma", FEW, low=0.1, high=10), WIDE),
    Row("erf.@", function("erf", FEW, low=-3, high=3), ("f16",)),
    Row("rsqrt.@", function("rsqrt", COUNT, low=0.01, high=1000), HALVES),
    Row("power.@", lambda t: t("x", COUNT, low=0.01, high=30) ** 1.7, WIDE),
    Row("rsqrt.@", function("rsqrt", COUNT, low=0.01, high=1000), WIDE, control=True),
    Row("reciprocal.@", function("reciprocal", COUNT, low=0.1, high=100), FLOATS, control=True),
    Row("relu.@", function("relu", COUNT, low=-5, high=5), FLOATS, control=True),
    Row("sigmoid_backward.@", slope("sigmoid", COUNT), WIDE),
    Row("silu_backward.@", slope("silu", COUNT), WIDE),
    Row("gelu_tanh_backward.@", slope("gelu", COUNT, approximate="tanh"), FLOATS),
    Row("tanh_backward.@", slope("tanh", FEW), WIDE, ("mkl",)),
    Row("sigmoid.@.large", function("sigmoid", LARGE, low=-8, high=8), WIDE, threaded=True),
    Row("power.@.large", lambda t: t("x", LARGE, low=0.1, high=5) ** 1.7, WIDE, threaded=True),
)


def _two(t: Tensors, low: float = -5.0) -> Any:
    return t("x", COUNT, low=low, high=5.0), t("y", COUNT, low=low, high=5.0)


BINARY = (
    Row("add_scaled.@", lambda t: t.torch.add(*_two(t), alpha=0.3), FLOATS),
    Row("addcmul.@", lambda t: t.torch.addcmul(t("z", COUNT), *_two(t), value=0.3), FLOATS),
    Row("lerp.@", lambda t: t.torch.lerp(*_two(t), 0.3), FLOATS),
    Row("arctan2.@", lambda t: t.torch.atan2(*_two(t)), WIDE),
    Row("logaddexp.@", lambda t: t.torch.logaddexp(*_two(t)), WIDE),
    Row("power_of.@", lambda t: t.torch.pow(*_two(t, 0.01)), WIDE),
    Row("multiply.@", lambda t: t.torch.mul(*_two(t)), FLOATS, control=True),
    Row("add.@", lambda t: t.torch.add(*_two(t)), FLOATS, control=True),
    Row("divide.@", lambda t: t.torch.div(*_two(t, 0.1)), FLOATS, control=True),
    Row("addcdiv.@", lambda t: t.torch.addcdiv(t("z", COUNT), *_two(t, 0.1), value=0.3), WIDE, control=True),
    Row("rounded_to_bf16.@", lambda t: t("x", COUNT).to(t.torch.bfloat16), ("f32",), control=True),
    Row("rounded_to_f16.@", lambda t: t("x", COUNT).to(t.torch.float16), ("f32",), control=True),
)

_IMAGES = (4, 8, 17, 17)

LAYERS = (
    Row("layer_norm.@.40x96", training.layer_norm(40, 96), FLOATS, threaded=True),
    Row("layer_norm_backward.@.40x96", training.layer_norm(40, 96, backward=True), FLOATS, threaded=True),
    Row("layer_norm_backward.@.160x256", training.layer_norm(160, 256, backward=True), threaded=True),
    Row("rms_norm.@.40x96", lambda t: _rms_norm(t, 40, 96), WIDE, control=True),
    Row("group_norm.@", training.group_norm((4, 16, 8, 8), 4), WIDE, threaded=True),
    Row("batch_norm.@", training.batch_norm((8, 16, 12, 12)), WIDE, threaded=True),
    Row("batch_norm_backward.@", training.batch_norm((8, 16, 12, 12), backward=True), WIDE, threaded=True),
    Row("softmax.@.40x96", function("softmax", 40, 96, low=-4, high=4, dim=-1), FLOATS, threaded=True),
    Row("softmax.@.columns", function("softmax", 40, 96, low=-4, high=4, dim=0), FLOATS, threaded=True),
    Row("softmax_backward.@.40x96", slope("softmax", 40, 96, dim=-1), WIDE, threaded=True),
    Row("softmax.@.200x200", function("softmax", 200, 200, low=-4, high=4, dim=-1), threaded=True),
    Row("log_softmax.@.40x96", function("log_softmax", 40, 96, low=-4, high=4, dim=-1), FLOATS, threaded=True),
    Row("log_softmax_backward.@.40x96", slope("log_softmax", 40, 96, dim=-1), WIDE, threaded=True),
    Row("cross_entropy.@.40x96", training.cross_entropy(40, 96), FLOATS, threaded=True),
    Row("cross_entropy_backward.@.40x96", training.cross_entropy(40, 96, backward=True), WIDE, threaded=True),
    Row("attention.@.4x16x16", training.attention(4, 16, 16), WIDE, ("mkl",), threaded=True),
    Row("attention.@.4x16x16", training.attention(4, 16, 16), HALVES, ("mkl", "onednn"), threaded=True),
    Row("attention.@.masked", training.attention(4, 16, 16, masked=True), WIDE, ("mkl",), threaded=True),
    Row("attention.@.4x128x32", training.attention(4, 128, 32), ("f32",), ("mkl",), threaded=True),
    Row("attention_backward.@.4x64x16", training.attention(4, 64, 16, backward=True), WIDE, ("mkl",), threaded=True),
    Row(
        "attention_backward.@.4x64x16",
        training.attention(4, 64, 16, backward=True),
        HALVES,
        ("mkl", "onednn"),
        threaded=True,
    ),
    Row(
        "upsample_bilinear.@",
        function("interpolate", *_IMAGES, scale_factor=1.7, mode="bilinear"),
        FLOATS,
        threaded=True,
    ),
    Row("upsample_bicubic.@", function("interpolate", *_IMAGES, scale_factor=1.7, mode="bicubic"), WIDE),
    Row("grid_sample.@", lambda t: _grid_sample(t), WIDE),
    Row("average_pool.@", function("avg_pool2d", *_IMAGES, kernel_size=3, stride=2), FLOATS, threaded=True),
    Row("max_pool_backward.@", slope("max_pool2d", *_IMAGES, kernel_size=3, stride=2), WIDE, threaded=True),
    Row("linspace.@", lambda t: t.torch.linspace(0, 1, COUNT, dtype=t.type), WIDE),
)


def _rms_norm(t: Tensors, rows: int, width: int) -> Any:
    """Written out: torch has a function of its own only since 2.4."""
    x = t("x", rows, width)
    return x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * t("w", width)


def _grid_sample(t: Tensors) -> Any:
    images, grid, sample = t("x", *_IMAGES), t("grid", 4, 12, 12, 2), t.torch.nn.functional.grid_sample
    exact = sample(images.double(), grid.double(), align_corners=False)
    return near(sample(images, grid, align_corners=False), exact)


REDUCTIONS = (
    Row("sum.@.4099", function("sum", COUNT), FLOATS, control=True),
    Row("sum.@.rows", function("sum", 40, 96, dim=1), FLOATS, control=True),
    Row("sum.@.columns", function("sum", 40, 96, dim=0), FLOATS, control=True),
    Row("mean.@.4099", function("mean", COUNT), FLOATS, control=True),
    Row("var.@.4099", function("var", COUNT), FLOATS, control=True),
    Row("norm.@.4099", lambda t: t.torch.linalg.vector_norm(t("x", COUNT)), FLOATS, control=True),
    Row("product.@.4099", function("prod", COUNT, low=0.99, high=1.01), WIDE, control=True),
    Row("cumsum.@.4099", function("cumsum", COUNT, dim=0), FLOATS, control=True),
    Row("cumprod.@.4099", function("cumprod", COUNT, low=0.99, high=1.01, dim=0), WIDE, control=True),
    Row("largest.@", function("amax", 40, 96, dim=1), FLOATS, control=True),
    Row("sorted.@", lambda t: t.torch.sort(t("x", COUNT))[0], FLOATS, control=True),
    Row("squared_error.@", lambda t: t.torch.nn.functional.mse_loss(*_two(t)), FLOATS, control=True),
    Row("sum.@.large", function("sum", 1 << 17), FLOATS, threaded=True),
    Row("var.@.large", function("var", 1 << 17), WIDE, threaded=True),
    Row("product.@.large", function("prod", 1 << 17, low=0.999, high=1.001), WIDE, threaded=True),
    Row("squared_error.@.large", lambda t: _squared_error(t, 1 << 17), WIDE, threaded=True),
    Row("cumsum.@.200x200", function("cumsum", 200, 200, dim=0), threaded=True),
)


def _squared_error(t: Tensors, count: int) -> Any:
    x = t("x", count)
    return t.torch.nn.functional.mse_loss(x, x.flip(0))


INDEXED = (
    Row("embedding_backward.@.50x33", training.embedding_backward(50, 33, 600), FLOATS, control=True),
    Row("index_add.@.50x33", training.added_by_index(50, 33, 600), FLOATS, threaded=True),
    Row("scatter_add.@.50x33", training.added_by_scatter(50, 33, 600), FLOATS, control=True),
    Row("index_put.@.50x33", lambda t: _put(t, 50, 33, 600), WIDE, control=True),
)


def _put(t: Tensors, rows: int, width: int, places: int) -> Any:
    values = t("x", places, width)
    return t.zeros(rows, width).index_put((t.whole("places", rows, places),), values, accumulate=True)


# The generator is torch's own. Double precision takes logarithms and cosines from the C library, one by one; so do the
# single numbers of fewer than 16.
STREAMS = (
    Row("stream.normal.@", stream("normal_", COUNT), ("f32", "bf16", "f16")),
    Row("stream.normal.@", stream("normal_", COUNT), ("f64",), ("libm",)),
    Row("stream.normal.@.few", stream("normal_", 11), WIDE, ("libm",)),
    Row("stream.uniform.@", stream("uniform_", COUNT), FLOATS, control=True),
    Row("stream.exponential.@", stream("exponential_", COUNT), WIDE, ("libm", "mkl")),
    Row("stream.log_normal.@", stream("log_normal_", COUNT), WIDE, ("libm",)),
    Row("stream.bernoulli.@", stream("bernoulli_", COUNT, 0.3), ("f32",), ("mkl",)),
    Row("stream.dropout.@", seeded(function("dropout", COUNT, p=0.1)), FLOATS, ("mkl",)),
    Row("stream.permutation", seeded(lambda t: t.torch.randperm(5000))),
    Row("stream.integers", seeded(lambda t: t.torch.randint(0, 1000, (COUNT,)))),
    Row("stream.multinomial.@", seeded(lambda t: t("x", 96, low=0.1, high=1).multinomial(2000, True)), WIDE),
)

_HALF = ("f16",)
_ELSE = ("onednn", "mkl")

# oneDNN takes half precision only where the processor has arithmetic of it (AVX-512 FP16).
PRODUCTS = (
    Row("matmul.@.64x64x64", training.product((64, 64), (64, 64)), _HALF, _ELSE, threaded=True),
    Row("matmul.@.17x31x13", training.product((17, 31), (31, 13)), _HALF, _ELSE, threaded=True),
    Row("gemv.@.80x90", training.product((80, 90), (90,)), _HALF, _ELSE, threaded=True),
    Row("linear_backward.@.40x50x30", training.linear_backward(40, 50, 30), _HALF, _ELSE, threaded=True),
    Row("conv2d.@.2x3x16x16", training.convolution((2, 3, 16, 16), (8, 3, 3, 3)), _HALF, _ELSE, threaded=True),
    Row(
        "conv2d_backward.@.2x3x16x16",
        training.convolution_backward((2, 3, 16, 16), (8, 3, 3, 3)),
        _HALF,
        _ELSE,
        threaded=True,
    ),
)

# Adam's square roots are MKL's.
OPTIMIZERS = (
    Row("optimizer.sgd.single", training.optimizer(training.sgd, 40, 50, foreach=False)),
    Row("optimizer.sgd.foreach", training.optimizer(training.sgd, 40, 50, foreach=True)),
    Row("optimizer.adam.single", training.optimizer(training.adam, 16, 50, foreach=False), through=("mkl",)),
    Row("optimizer.adam.foreach", training.optimizer(training.adam, 16, 50, foreach=True), through=("mkl",)),
    Row("optimizer.adamw.single", training.optimizer(training.adamw, 16, 50, foreach=False), through=("mkl",)),
    Row("optimizer.adamw.foreach", training.optimizer(training.adamw, 16, 50, foreach=True), through=("mkl",)),
    Row("gradients_clipped", training.clipped(40, 50), control=True),
)
