"""What PyTorch leaves to oneDNN on a CPU: convolutions, products of bfloat16, the exact gelu, recurrent layers.

Measured with torch 2.13 by ONEDNN_MAX_CPU_ISA and ONEDNN_VERBOSE=1. A processor without AVX-512 multiplies bfloat16 by
MKL or by a loop of torch's own, which these rows therefore name. oneDNN divides most work among all threads, whatever
its size.
"""

from typing import List

from . import Operator
from .tensors import Row
from .tensors import operators as made
from .training import (
    convolution,
    convolution_backward,
    function,
    linear,
    linear_backward,
    product,
    recurrent,
    slope,
)


def operators() -> List[Operator]:
    """Convolutions, products, gelu, LSTM. Raises Absent where torch cannot be used."""
    return made("onednn", (*CONVOLUTIONS, *PRODUCTS, *OTHERS))


_BOTH = ("f32", "bf16")
_ELSE = ("mkl", "aten")

CONVOLUTIONS = (
    Row("conv2d.@.2x3x16x16", convolution((2, 3, 16, 16), (8, 3, 3, 3), padding=1), _BOTH, threaded=True),
    Row("conv2d.@.4x16x16x16", convolution((4, 16, 16, 16), (32, 16, 3, 3), padding=1), _BOTH, threaded=True),
    Row("conv2d.@.1x1", convolution((2, 16, 8, 8), (32, 16, 1, 1)), _BOTH, threaded=True),
    Row("conv2d.@.depthwise", convolution((2, 16, 16, 16), (16, 1, 3, 3), groups=16), _BOTH, threaded=True),
    Row("conv2d.@.strided", convolution((2, 3, 16, 16), (8, 3, 3, 3), stride=2), _BOTH, threaded=True),
    Row("conv2d.@.dilated", convolution((2, 3, 16, 16), (8, 3, 3, 3), dilation=2), _BOTH, threaded=True),
    Row("conv1d.@.2x8x64", convolution((2, 8, 64), (16, 8, 5)), _BOTH, threaded=True),
    Row("conv3d.@.2x3x8x8x8", convolution((2, 3, 8, 8, 8), (4, 3, 3, 3, 3)), _BOTH, threaded=True),
    Row(
        "conv2d_transposed.@.2x8x8x8",
        convolution((2, 8, 8, 8), (8, 4, 3, 3), transposed=True, stride=2),
        _BOTH,
        threaded=True,
    ),
    Row(
        "conv2d_backward.@.2x3x16x16",
        convolution_backward((2, 3, 16, 16), (8, 3, 3, 3), padding=1),
        _BOTH,
        threaded=True,
    ),
    Row(
        "conv2d_backward.@.4x16x16x16",
        convolution_backward((4, 16, 16, 16), (32, 16, 3, 3), padding=1),
        _BOTH,
        threaded=True,
    ),
    Row("conv1d_backward.@.2x8x64", convolution_backward((2, 8, 64), (16, 8, 5)), _BOTH, threaded=True),
)

_BF16 = ("bf16",)

PRODUCTS = (
    Row("matmul.@.64x64x64", product((64, 64), (64, 64)), _BF16, _ELSE, threaded=True),
    Row("matmul.@.17x31x13", product((17, 31), (31, 13)), _BF16, _ELSE, threaded=True),
    Row("matmul.@.128x300x96", product((128, 300), (300, 96)), _BF16, _ELSE, threaded=True),
    Row("matmul.@.left_transposed", product((50, 40), (50, 30), "l"), _BF16, _ELSE, threaded=True),
    Row("matmul.@.right_transposed", product((40, 50), (30, 50), "r"), _BF16, _ELSE, threaded=True),
    Row("matmul.@.batched.16x64x64x64", product((16, 64, 64), (16, 64, 64)), _BF16, _ELSE, threaded=True),
    Row("linear.@.40x50x30", linear(40, 50, 30), _BF16, _ELSE, threaded=True),
    Row("linear_backward.@.40x50x30", linear_backward(40, 50, 30), _BF16, _ELSE, threaded=True),
    Row("linear_backward.@.160x128x96", linear_backward(160, 128, 96), _BF16, _ELSE, threaded=True),
)

OTHERS = (
    Row("gelu.@", function("gelu", 4099, low=-5, high=5), _BOTH, threaded=True),
    Row("gelu.@.large", function("gelu", 40009, low=-5, high=5), _BOTH, threaded=True),
    Row("gelu_backward.@", slope("gelu", 4099), _BOTH, threaded=True),
    Row("lstm.@", recurrent(), _BOTH, threaded=True),
    Row("lstm_backward.@", recurrent(backward=True), _BOTH, threaded=True),
)
