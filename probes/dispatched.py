"""What decides the bits of an operator that PyTorch dispatches: its own vector code, oneDNN, MKL, or a GPU's libraries.

A table of names, measured with torch 2.13 for CPUs on a processor with AVX-512 and no CUDA: which library was called
(ONEDNN_VERBOSE=1, MKL_VERBOSE=1), and what moved under ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA, MKL_CBWR, a
GLIBC_TUNABLES mask and on an emulated Haswell. Where a size or a machine chooses between two libraries (a small batched
product is ATen's own loop, a convolution of a single image MKL's product), both are named, the usual one first.
"""

import sys
from typing import Any, Dict, FrozenSet, Tuple

Components = Tuple[str, ...]

_NONE: Components = ()
_ATEN: Components = ("aten",)
_MKL: Components = ("mkl",)
_CUDA: Components = ("cuda",)


def components(operator: str, dtype: str, device: str) -> Components:
    """What decides the bits, what decides them first ahead of what else the operator passes through.

    operator: as it is dispatched, "aten::addmm", with or without an overload; dtype: of its result, as `digest` names
    it ("f4", "bf2"); device: "cpu" or "cuda", with or without a number. Empty where nothing can move the bits (views,
    copies, comparisons, arithmetic of integers) and where it is not known what decides them (other devices, operators
    that another package registered).
    """
    library, _, name = operator.partition("::")
    name = _plain(name.partition(".")[0])
    if library not in ("aten", "prims", *_LIBRARIES) or name in _EXACT:
        return _NONE
    if (dtype[0] in "iu" or dtype == "b1") and name not in _DRAWS:
        return _NONE
    if device.startswith("cuda"):
        return _CUDA
    if device != "cpu":
        return _NONE
    found = _LIBRARIES.get(library) or _of_aten(name, dtype)
    return _without_mkl(name, found) if "mkl" in found and not _has_mkl() else found


def _plain(name: str) -> str:
    """The operator that an in-place ("add_"), a list's ("_foreach_add") or a copying ("view_copy") form is one of."""
    if name.startswith("_foreach_"):
        name = name[len("_foreach_") :]
    name = name.rstrip("_")
    return name[: -len("_copy")] if name.endswith("_copy") and name not in _EXACT else name


def _of_aten(name: str, dtype: str) -> Components:
    for names, by_dtype in _TABLE:
        if name in names:
            return by_dtype.get(dtype, by_dtype["other"])
    if name.startswith(("linalg_", "_linalg_", "_fft_")) and name not in _OWN_ALGEBRA:
        return _MKL
    if name.startswith(("mkldnn_", "_mkldnn_")):
        return ("onednn",)
    return _ATEN


def _has_mkl() -> bool:
    """Whether this torch calls MKL: its builds for other processors than x86-64 have OpenBLAS or another library."""
    torch: Any = sys.modules.get("torch")
    return torch is None or bool(torch.backends.mkl.is_available())


def _without_mkl(name: str, found: Components) -> Components:
    """What computes it then: another BLAS, or for vector mathematics, transforms and streams ATen itself."""
    own = name.startswith("_fft_") or any(name in names for names in _OWN_WITHOUT_MKL)
    return tuple(dict.fromkeys(("aten" if own else "blas") if part == "mkl" else part for part in found))


_LIBRARIES: Dict[str, Components] = {
    "mkldnn": ("onednn",),
    "mkldnn_prepacked": ("onednn",),
    "onednn": ("onednn",),
    "mkl": _MKL,
}
"""Namespaces of operators that call one library."""


def _names(text: str) -> FrozenSet[str]:
    return frozenset(text.split())


_PRODUCTS = _names(
    "mm addmm mv addmv dot vdot linear linear_backward matmul_backward einsum _addmm_activation _grouped_mm _scaled_mm"
    " _sparse_addmm sparse_sampled_addmm _euclidean_dist _trilinear _compute_linear_combination"
)
_BATCHED = _names("bmm baddbmm addbmm _cdist_forward")
_CONVOLUTIONS = _names(
    "convolution convolution_backward _convolution _slow_conv2d_forward _slow_conv2d_backward slow_conv3d_forward"
    " slow_conv_dilated2d slow_conv_dilated3d slow_conv_transpose2d slow_conv_transpose3d _nnpack_spatial_convolution"
    " conv_tbc"
)
_ATTENTION = _names(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward"
    " _native_multi_head_attention _transformer_encoder_layer_fwd"
)
_ALGEBRA = _names(
    "cholesky cholesky_inverse cholesky_solve _cholesky_solve_helper geqrf ormqr triangular_solve lu_solve"
    " _spsolve logdet pinverse"
)
_OWN_ALGEBRA = _names("linalg_vector_norm linalg__powsum linalg_cross")
_VECTOR_MATH = _names("acos asin atan cos erf erfc erfinv exp log log2 log10 sin sqrt tan tanh")
_FUNCTIONS = _names(
    "sigmoid silu softplus mish elu celu selu log_sigmoid_forward log1p expm1 exp2 sinh cosh asinh acosh atanh atan2"
    " lgamma digamma polygamma i0 sinc logit hypot logaddexp logaddexp2 xlogy special_log_ndtr special_erfcx"
)
_NORMAL = _names("normal normal_functional randn randn_like log_normal cauchy geometric")
_CHANCE = _names("bernoulli native_dropout _fused_dropout rrelu_with_noise")

_OWN_WITHOUT_MKL = (_VECTOR_MATH, _CHANCE, _names("pow logsumexp exponential"))

_TABLE: Tuple[Tuple[FrozenSet[str], Dict[str, Components]], ...] = (
    # oneDNN takes bfloat16 where the processor has AVX-512, and half precision where it has FP16 arithmetic; else the
    # product is MKL's (in attention) or a loop of ATen's. A product with a vector of halves is ATen's.
    (_PRODUCTS, {"bf2": ("onednn", "mkl", "aten"), "f2": ("aten", "onednn", "mkl"), "other": _MKL}),
    # Small ones are a loop of ATen's own: fewer than 400 products an output matrix (native/LinearAlgebra.cpp).
    (_BATCHED, {"bf2": ("onednn", "mkl", "aten"), "f2": ("aten", "onednn", "mkl"), "other": ("mkl", "aten")}),
    # oneDNN has no f64. f32 goes there only for more than one image, thread, group or dilation.
    (
        _CONVOLUTIONS,
        {
            "f4": ("onednn", "mkl", "aten"),
            "bf2": ("onednn", "aten"),
            "f2": ("aten", "onednn"),
            "other": ("mkl", "aten"),
        },
    ),
    (_ATTENTION, {"bf2": ("aten", "mkl", "onednn"), "f2": ("aten", "mkl", "onednn"), "other": ("aten", "mkl")}),
    # The exact gelu is oneDNN's, its tanh approximation ATen's.
    (_names("gelu gelu_backward"), {"f4": ("onednn", "aten"), "bf2": ("onednn", "aten"), "other": _ATEN}),
    (_ALGEBRA, {"other": _MKL}),
    # MKL's vector mathematics (cpu/vml.h). An emulated Haswell moves it, ATEN_CPU_CAPABILITY and MKL_CBWR do not.
    (_VECTOR_MATH, {"f4": _MKL, "f8": _MKL, "other": _ATEN}),
    # ATen's vector code, but for numbers that do not lie side by side: these go to the C library one by one.
    (_FUNCTIONS, {"f4": ("aten", "libm"), "f8": ("aten", "libm"), "other": _ATEN}),
    (_names("pow"), {"f4": ("aten", "mkl", "libm"), "f8": ("aten", "mkl", "libm"), "other": _ATEN}),
    (_names("logsumexp"), {"f4": ("aten", "mkl"), "f8": ("aten", "mkl"), "other": _ATEN}),
    # torch's own generator; logarithms, sines and cosines of single numbers are the C library's. Until torch 2.4,
    # exponential_ and bernoulli_ were a stream of MKL's on Intel's processors (native/cpu/DistributionKernels.cpp).
    (_NORMAL, {"other": ("aten", "libm")}),
    (_names("exponential"), {"other": ("aten", "mkl", "libm")}),
    (_CHANCE, {"other": ("aten", "mkl")}),
)
"""By name and dtype; the first row that has the name counts."""

_DRAWS = _names("randperm randint randint_like random multinomial poisson binomial bernoulli")
"""What gives integers from a stream of random numbers."""

_EXACT = _names(
    # memory: what is only moved, made or filled
    "alias as_strided as_strided_scatter detach expand permute t transpose view view_as_complex view_as_real reshape"
    " _reshape_alias _unsafe_view squeeze unsqueeze select slice diagonal split split_with_sizes unsafe_split"
    " unsafe_split_with_sizes unbind unfold narrow chunk lift lift_fresh _conj _neg_view clone copy _to_copy to"
    " contiguous _copy_from empty empty_like empty_permuted empty_strided new_empty new_empty_strided new_full"
    " new_ones new_zeros ones ones_like zeros zeros_like zero full full_like fill eye scalar_tensor arange resize"
    " set cat stack _stack block_diag repeat roll flip rot90 pixel_shuffle pixel_unshuffle channel_shuffle im2col"
    " constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d"
    " replication_pad3d tril triu diag_embed select_scatter slice_scatter diagonal_scatter select_backward"
    " slice_backward diagonal_backward embedding gather index index_select take masked_select _unsafe_index scatter"
    " index_fill masked_fill masked_scatter where upsample_nearest1d upsample_nearest2d upsample_nearest3d"
    " _pin_memory _local_scalar_dense convert_element_type broadcast_in_dim complex"
    # comparison and choice
    " eq ne lt le gt ge equal isnan isinf isin all any max min amax amin aminmax argmax argmin maximum minimum fmax"
    " fmin clamp clamp_min clamp_max sort topk kthvalue median nanmedian mode searchsorted bucketize nonzero"
    " count_nonzero max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d cummax"
    " cummin _cummax_helper _cummin_helper relu threshold threshold_backward hardtanh hardtanh_backward nan_to_num"
    # one exact operation on the bits or the whole numbers
    " abs neg sign sgn signbit floor ceil trunc round frac copysign nextafter logical_and logical_or logical_not"
    " logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor"
)
"""Operators whose result is the same bits on every machine."""
