"""What PyTorch computes on an NVIDIA GPU: cuBLAS, cuDNN, cuFFT, cuSOLVER and torch's own kernels.

No row says `threaded`: threads of the CPU decide nothing here. What adds by atomic operations is a hazard, because the
order is another in every run (torch documents which: torch.use_deterministic_algorithms).
"""

from typing import Any, List

from ..facts import Absent
from . import Operator, training
from .tensors import FLOATS, Row, Tensors, framework
from .tensors import operators as made
from .training import function, product, seeded, slope, stream

COUNT = 70001
WIDE = ("f32", "f64")
TRAINED = ("f32", "bf16", "f16")


def operators() -> List[Operator]:
    """Everything of this file. Raises Absent where torch cannot be used or sees no GPU."""
    torch = framework()
    if not torch.version.cuda:
        raise Absent("this build of torch is without CUDA")
    if not torch.cuda.is_available():
        raise Absent("torch sees no GPU that it can use")
    return on("cuda")


def on(device: str) -> List[Operator]:
    """The same on any device."""
    return made("cuda", (*PRODUCTS, *LAYERS, *ELEMENTWISE, *REDUCTIONS, *STREAMS, *OPTIMIZERS, *ALGEBRA), device)


# f32 tells TF32 from IEEE arithmetic, bf16 and f16 reduced-precision reductions; K is long enough to be split.
PRODUCTS = (
    Row("matmul.@.17x31x13", product((17, 31), (31, 13)), FLOATS),
    Row("matmul.@.128x300x96", product((128, 300), (300, 96)), FLOATS),
    Row("matmul.@.256x4096x256", product((256, 4096), (4096, 256)), TRAINED),
    Row("matmul.@.left_transposed", product((512, 64), (512, 96), "l"), TRAINED),
    Row("matmul.@.batched.16x64x64x64", product((16, 64, 64), (16, 64, 64)), FLOATS),
    Row("gemv.@.1000x700", product((1000, 700), (700,)), WIDE),
    Row("dot.@.30011", lambda t: t("a", 30011) @ t("b", 30011), WIDE),
    Row("linear.@.160x128x96", training.linear(160, 128, 96), TRAINED),
    Row("linear_backward.@.160x128x96", training.linear_backward(160, 128, 96), TRAINED),
)

_IMAGES, _WEIGHTS = (8, 16, 32, 32), (32, 16, 3, 3)

LAYERS = (
    Row("conv2d.@", training.convolution(_IMAGES, _WEIGHTS, padding=1), TRAINED),
    Row("conv2d.@.depthwise", training.convolution(_IMAGES, (16, 1, 3, 3), groups=16), TRAINED),
    Row("conv2d.@.strided", training.convolution(_IMAGES, _WEIGHTS, stride=2), TRAINED),
    Row("conv2d_backward.@", training.convolution_backward(_IMAGES, _WEIGHTS, padding=1), TRAINED),
    Row("conv1d.@", training.convolution((4, 16, 128), (32, 16, 5)), TRAINED),
    Row("attention.@", training.attention(8, 128, 32), TRAINED),
    Row("attention.@.masked", training.attention(4, 64, 32, masked=True), TRAINED),
    # The memory-saving kernels add gradients by atomic operations.
    Row("attention_backward.@", training.attention(8, 128, 32, backward=True), TRAINED, hazard=True),
    Row("layer_norm.@", training.layer_norm(600, 256), TRAINED),
    Row("layer_norm_backward.@", training.layer_norm(600, 256, backward=True), TRAINED),
    Row("batch_norm.@", training.batch_norm((8, 16, 12, 12)), ("f32",)),
    Row("batch_norm_backward.@", training.batch_norm((8, 16, 12, 12), backward=True), ("f32",)),
    Row("group_norm.@", training.group_norm((4, 16, 8, 8), 4), ("f32",)),
    Row("softmax.@", function("softmax", 512, 512, low=-4, high=4, dim=-1), TRAINED),
    Row("softmax_backward.@", slope("softmax", 512, 512, dim=-1), ("f32",)),
    Row("cross_entropy.@", training.cross_entropy(512, 512), ("f32",)),
    Row("cross_entropy_backward.@", training.cross_entropy(512, 512, backward=True), ("f32",)),
    Row("embedding_backward.@", training.embedding_backward(50, 33, 600), TRAINED),
    Row("index_add.@", training.added_by_index(50, 33, 600), ("f32",), hazard=True),
    Row("scatter_add.@", training.added_by_scatter(50, 33, 600), ("f32",), hazard=True),
    Row("lstm.@", training.recurrent(), ("f32",)),
)


def _sum_of_two(t: Tensors) -> Any:
    return t("x", COUNT) + t("y", COUNT)


ELEMENTWISE = (
    *(Row(name + ".@", function(name, COUNT, low=0.1, high=5.0), TRAINED) for name in ("exp", "log", "sin", "tanh")),
    Row("gelu.@", function("gelu", COUNT, low=-5, high=5), TRAINED),
    Row("sigmoid.@", function("sigmoid", COUNT, low=-8, high=8), TRAINED),
    Row("power.@", lambda t: t("x", COUNT, low=0.1, high=5) ** 1.7, WIDE),
    Row("rsqrt.@", function("rsqrt", COUNT, low=0.01, high=1000), WIDE),
    Row("sqrt.@", function("sqrt", COUNT, low=0.01, high=1000), WIDE, control=True),
    Row("add.@", _sum_of_two, FLOATS, control=True),
    Row("rounded_to_bf16.@", lambda t: t("x", COUNT).to(t.torch.bfloat16), ("f32",), control=True),
)

REDUCTIONS = (
    Row("sum.@.large", function("sum", 1 << 18), FLOATS),
    Row("sum.@.columns", function("sum", 512, 512, dim=0), FLOATS),
    Row("mean.@.rows", function("mean", 512, 512, dim=1), FLOATS),
    Row("var.@.large", function("var", 1 << 18), WIDE),
    Row("norm.@.large", lambda t: t.torch.linalg.vector_norm(t("x", 1 << 18)), WIDE),
    Row("sorted.@", lambda t: t.torch.sort(t("x", COUNT))[0], ("f32",), control=True),
    Row("cumsum.@", function("cumsum", COUNT, dim=0), ("f32",), hazard=True),
)

STREAMS = (
    Row("stream.normal.@", stream("normal_", COUNT), FLOATS),
    Row("stream.uniform.@", stream("uniform_", COUNT), FLOATS),
    Row("stream.exponential.@", stream("exponential_", COUNT), ("f32",)),
    Row("stream.bernoulli.@", stream("bernoulli_", COUNT, 0.3), ("f32",)),
    Row("stream.dropout.@", seeded(function("dropout", COUNT, p=0.1)), TRAINED),
    Row("stream.permutation", seeded(lambda t: t.torch.randperm(5000, device=t.device))),
    Row("stream.integers", seeded(lambda t: t.torch.randint(0, 1000, (COUNT,), device=t.device))),
)

OPTIMIZERS = (
    Row("optimizer.sgd.foreach", training.optimizer(training.sgd, 40, 50, foreach=True)),
    Row("optimizer.adam.single", training.optimizer(training.adam, 40, 50, foreach=False)),
    Row("optimizer.adam.foreach", training.optimizer(training.adam, 40, 50, foreach=True)),
    Row("optimizer.adamw.foreach", training.optimizer(training.adamw, 40, 50, foreach=True)),
    Row("gradients_clipped", training.clipped(40, 50)),
)

ALGEBRA = (
    Row("fft.@.600", lambda t: t.torch.fft.fft(t("x", 600)), WIDE),
    Row("solve.@.100", lambda t: _solve(t, 100), WIDE),
)


def _solve(t: Tensors, size: int) -> Any:
    a = t("a", size, size)
    return t.torch.linalg.solve(a + size**0.5 * a.new_ones(size).diag(), a[:, :3])
