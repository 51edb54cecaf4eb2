"""What training computes with PyTorch: layers forward and backward, losses, optimizers, random streams, on any device.

A function here gives a computation (`tensors.Compute`); the components' files choose sizes and types, because these
decide which library it reaches.
"""

import importlib
from typing import Any, Callable, Tuple

from .tensors import Compute, Tensors, near

STEPS = 3
"""Steps of an optimizer: the second is the first that takes its state from an earlier one."""


def function(name: str, *shape: int, low: float = -1.0, high: float = 1.0, **options: Any) -> Compute:
    """A function of one tensor: torch's or torch.nn.functional's."""

    def compute(t: Tensors) -> Any:
        return _named(t, name)(t("x", *shape, low=low, high=high), **options)

    return compute


def slope(name: str, *shape: int, low: float = -4.0, high: float = 4.0, **options: Any) -> Compute:
    """The gradient of a function of one tensor."""

    def compute(t: Tensors) -> Any:
        x = t("x", *shape, low=low, high=high).requires_grad_()
        return t.gradients(_named(t, name)(x, **options), x)

    return compute


def _named(t: Tensors, name: str) -> Any:
    return getattr(t.torch.nn.functional, name, None) or getattr(t.torch, name)


def product(left: Tuple[int, ...], right: Tuple[int, ...], turned: str = "") -> Compute:
    """A matrix product. turned: "l", "r" or both: that side is a transposed view."""

    def compute(t: Tensors) -> Any:
        a, b = t("a", *left), t("b", *right)
        return (a.mT if "l" in turned else a) @ (b.mT if "r" in turned else b)

    return compute


def linear(rows: int, width: int, out: int) -> Compute:
    """A layer with bias, x [rows, width] to [rows, out]."""

    def compute(t: Tensors) -> Any:
        return t.torch.nn.functional.linear(t("x", rows, width), t("w", out, width), t("b", out))

    return compute


def linear_backward(rows: int, width: int, out: int) -> Compute:
    def compute(t: Tensors) -> Any:
        x, w, b = t.learned("x", rows, width), t.learned("w", out, width), t.learned("b", out)
        return t.gradients(t.torch.nn.functional.linear(x, w, b), x, w, b)

    return compute


def convolution(images: Tuple[int, ...], weights: Tuple[int, ...], transposed: bool = False, **options: Any) -> Compute:
    """images: [N, C, ...]; weights: [C_out, C / groups, ...], for a transposed one [C, C_out, ...]."""

    def compute(t: Tensors) -> Any:
        x, w = t("x", *images), t("w", *weights)
        return _convolve(t, transposed, len(images) - 2)(x, w, t("b", weights[transposed]), **options)

    return compute


def convolution_backward(images: Tuple[int, ...], weights: Tuple[int, ...], **options: Any) -> Compute:
    def compute(t: Tensors) -> Any:
        x, w, b = t.learned("x", *images), t.learned("w", *weights), t.learned("b", weights[0])
        return t.gradients(_convolve(t, False, len(images) - 2)(x, w, b, **options), x, w, b)

    return compute


def _convolve(t: Tensors, transposed: bool, dimensions: int) -> Any:
    return getattr(t.torch.nn.functional, "conv{}{}d".format("_transpose" if transposed else "", dimensions))


def attention(heads: int, length: int, channels: int, masked: bool = False, backward: bool = False) -> Compute:
    """Scaled dot product attention, causal or under a mask, of 2 sentences; or its gradients."""

    def compute(t: Tensors) -> Any:
        queries, keys, values = (
            t(name, 2, heads, length, channels).requires_grad_(backward) for name in ("q", "k", "v")
        )
        mask = t("mask", length, length) if masked else None
        call = t.torch.nn.functional.scaled_dot_product_attention
        mixed = call(queries, keys, values, attn_mask=mask, is_causal=not masked)
        return t.gradients(mixed, queries, keys, values) if backward else mixed

    return compute


def layer_norm(rows: int, width: int, backward: bool = False) -> Compute:
    def compute(t: Tensors) -> Any:
        x, w, b = (t(name, *shape).requires_grad_(backward) for name, shape in _affine((rows, width), width))
        normed = t.torch.nn.functional.layer_norm(x, (width,), w, b)
        return t.gradients(normed, x, w, b) if backward else normed

    return compute


def group_norm(images: Tuple[int, ...], groups: int) -> Compute:
    def compute(t: Tensors) -> Any:
        x, w, b = (t(name, *shape) for name, shape in _affine(images, images[1]))
        return t.torch.nn.functional.group_norm(x, groups, w, b)

    return compute


def batch_norm(images: Tuple[int, ...], backward: bool = False) -> Compute:
    def compute(t: Tensors) -> Any:
        x, w, b = (t(name, *shape).requires_grad_(backward) for name, shape in _affine(images, images[1]))
        mean, deviation = t.zeros(images[1]), t.zeros(images[1]) + 1
        normed = t.torch.nn.functional.batch_norm(x, mean, deviation, w, b, training=True)
        return t.gradients(normed, x, w, b) if backward else normed

    return compute


def _affine(shape: Tuple[int, ...], width: int) -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    return ("x", shape), ("w", (width,)), ("b", (width,))


def cross_entropy(rows: int, classes: int, backward: bool = False) -> Compute:
    def compute(t: Tensors) -> Any:
        logits = t("x", rows, classes, low=-4.0, high=4.0).requires_grad_(backward)
        loss = t.torch.nn.functional.cross_entropy(logits, t.whole("answers", classes, rows))
        return t.torch.autograd.grad(loss, logits)[0] if backward else loss

    return compute


def embedding_backward(rows: int, width: int, places: int) -> Compute:
    """The gradient of an embedding whose rows are asked for many times each."""

    def compute(t: Tensors) -> Any:
        table = t.learned("w", rows, width)
        return t.gradients(t.torch.nn.functional.embedding(t.whole("places", rows, places), table), table)

    return compute


def added_by_index(rows: int, width: int, places: int) -> Compute:
    def compute(t: Tensors) -> Any:
        return t.zeros(rows, width).index_add(0, t.whole("places", rows, places), t("x", places, width))

    return compute


def added_by_scatter(rows: int, width: int, places: int) -> Compute:
    def compute(t: Tensors) -> Any:
        return t.zeros(rows, width).scatter_add(0, t.whole("places", rows, places, width), t("x", places, width))

    return compute


def recurrent(backward: bool = False) -> Compute:
    """An LSTM of two layers, 20 to 24 channels, over 7 steps of 3 sentences."""

    def compute(t: Tensors) -> Any:
        weights = [
            t("w{}.{}".format(layer, number), *shape, low=-0.2, high=0.2).requires_grad_(backward)
            for layer, width in enumerate((20, 24))
            for number, shape in enumerate([(96, width), (96, 24), (96,), (96,)])
        ]
        x = t("x", 7, 3, 20).requires_grad_(backward)
        states = [t.zeros(2, 3, 24), t.zeros(2, 3, 24)]
        exact = _lstm(t, *(_doubled(many) for many in ([x], states, weights)))
        output = near(_lstm(t, [x], states, weights, backward), exact)
        return t.gradients(output, x, *weights) if backward else output

    return compute


def _lstm(t: Tensors, x: Any, states: Any, weights: Any, backward: bool = False) -> Any:
    return t.torch.lstm(x[0], states, weights, True, 2, 0.0, backward, False, False)[0]


def _doubled(many: Any) -> Any:
    return [one.detach().double() for one in many]


Update = Callable[[Tensors, Any, Any, Any, bool], None]
"""Changes tensors by gradients: takes these two lists, for each tensor its state from earlier steps, and `foreach`."""


def optimizer(update: Update, *shape: int, foreach: bool) -> Compute:
    """Three tensors after STEPS of an optimizer. foreach: all tensors at once.

    By the functions that torch's own classes call: making one of these imports torch's compiler, which takes as long
    as torch itself.
    """

    def compute(t: Tensors) -> Any:
        weights = [t("w{}".format(number), *shape) for number in range(3)]
        states = [
            {"first": t.torch.zeros_like(one), "second": t.torch.zeros_like(one), "step": t.torch.zeros(())}
            for one in weights
        ]
        for step in range(STEPS):
            update(t, weights, [t("g{}.{}".format(step, number), *shape) for number in range(3)], states, foreach)
        return t.torch.cat([weight.reshape(-1) for weight in weights])

    return compute


def sgd(t: Tensors, weights: Any, gradients: Any, states: Any, foreach: bool) -> None:
    """With momentum and weight decay."""
    importlib.import_module("torch.optim.sgd").sgd(
        weights,
        gradients,
        [one["first"] for one in states],
        foreach=foreach,
        weight_decay=0.1,
        momentum=0.9,
        lr=0.01,
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )


def adam(t: Tensors, weights: Any, gradients: Any, states: Any, foreach: bool) -> None:
    _adam(importlib.import_module("torch.optim.adam").adam, 0.0, weights, gradients, states, foreach)


def adamw(t: Tensors, weights: Any, gradients: Any, states: Any, foreach: bool) -> None:
    """Adam with weight decay apart from the gradient."""
    _adam(importlib.import_module("torch.optim.adamw").adamw, 0.01, weights, gradients, states, foreach)


def _adam(function: Any, decay: float, weights: Any, gradients: Any, states: Any, foreach: bool) -> None:
    function(
        weights,
        gradients,
        [one["first"] for one in states],
        [one["second"] for one in states],
        [],
        [one["step"] for one in states],
        foreach=foreach,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=0.01,
        weight_decay=decay,
        eps=1e-8,
        maximize=False,
    )


def clipped(*shape: int) -> Compute:
    """Gradients of three tensors, clipped by their common norm."""

    def compute(t: Tensors) -> Any:
        weights = [t.torch.nn.Parameter(t.zeros(*shape)) for _ in range(3)]
        for number, weight in enumerate(weights):
            weight.grad = t("g{}".format(number), *shape)
        t.torch.nn.utils.clip_grad_norm_(weights, 0.1)
        return t.torch.cat([weight.grad.reshape(-1) for weight in weights])

    return compute


def stream(name: str, count: int, *arguments: Any) -> Compute:
    """`count` numbers that a tensor's own method (`uniform_`, `normal_`) takes from torch's generator."""
    return seeded(lambda t: getattr(t.zeros(count), name)(*arguments))


def seeded(draw: Compute) -> Compute:
    """What `draw` gives from a generator that starts at one seed. The program's own is left as it is."""

    def compute(t: Tensors) -> Any:
        with t.torch.random.fork_rng(devices=[] if t.device == "cpu" else [0]):
            (t.torch.default_generator if t.device == "cpu" else t.torch.cuda).manual_seed(20)
            return draw(t)

    return compute
