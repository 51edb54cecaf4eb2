"""The torch job: the transformer of `transformer.py`, every call of ATen, forward and backward, one row of the trace.

The backward pass is written out with the functions that autograd itself calls (aten::mm, aten::silu_backward,
aten::convolution_backward, ...), and a test holds the gradients to autograd's bit for bit. Asking autograd for them
would make one row of many calls, and the first operator of the backward pass would have no name.

A call with several results is one row each (a layer norm gives its mean and 1 / deviation as well). Copies and views
are no rows. On a GPU it is the same training by the same calls, and a job of its own: it has another name.

Torch's deterministic algorithms are no part of what the job is. Where they are asked for, that is a fact in effect, so
a machine with them and one without are compared, and the operators that they change are found.
"""

import math
from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import dispatched
from ..facts import Absent
from ..operators import Operator
from ..operators.tensors import framework
from . import Job, Outcome, Progress
from .replay import Layout, Shapes, replay
from .transformer import (
    ADAM_EPSILON,
    BETA1,
    BETA2,
    CHANNELS,
    CONFIGURATION,
    HEADS,
    KERNEL,
    MODULUS,
    NORM_EPSILON,
    PARAMETERS,
    POSITIONS,
    RATE,
    SCALE,
    SENTENCES,
    STEPS,
    WIDTH,
    Array,
    Did,
    State,
    cut,
    first_weights,
    powers,
    sentences,
    train,
)

torch = framework()

Saved = Dict[str, Array]
Weights = Dict[str, Array]
_aten = torch.ops.aten
_MEAN = 1  # nll_loss's reduction
_NO_CLASS = -100  # the answer that nll_loss ignores
_ELEMENTWISE = (
    _aten.add, _aten.mul, _aten.div, _aten.lerp, _aten.addcmul, _aten.addcdiv, _aten.silu, _aten.silu_backward,
)  # fmt: skip
_CONVOLUTION = ([1], [KERNEL // 2], [1], False, [0], 1)  # stride, padding, dilation, transposed, its padding, groups


def job(device: str = "cpu") -> Job:
    """The job on a device, cpu or cuda. Raises Absent where torch has no such device."""
    if device == "cpu":
        return Job("torch", 1, CONFIGURATION, lambda trace, progress: _train(trace, progress, STEPS, "cpu"))
    if not torch.cuda.is_available():
        raise Absent("torch sees no GPU that it can use")
    return Job("torch-cuda", 1, CONFIGURATION, lambda trace, progress: _train(trace, progress, STEPS, "cuda"))


def operators() -> List[Operator]:
    """Every call of one training step, on seeded inputs; where torch sees a GPU, there as well."""
    found = _operators("torch_job", "cpu")
    return found + _operators("torch_cuda_job", "cuda") if torch.cuda.is_available() else found


def _operators(prefix: str, device: str) -> List[Operator]:
    return replay(
        prefix,
        lambda recorder: _train(recorder, lambda done, steps: None, 1, device),
        positive=(_aten.sqrt, _aten.addcdiv),
        layouts=_layout,
        threaded=_threaded,
    )


def _threaded(components: Tuple[str, ...], function: Any, shapes: Shapes) -> bool:
    """ATen's element-wise loops use several threads above 32,768 elements (at::internal::GRAIN_SIZE), which none here
    has; all else may below it."""
    return function not in _ELEMENTWISE


def _layout(tensor: Array) -> Optional[Layout]:
    if not tensor.is_floating_point():
        return None
    shape, strides = tensor.shape, tensor.stride()
    return Layout(
        str(tensor.dtype).partition(".")[2],
        strides,
        lambda flat: torch.from_numpy(flat).to(tensor.device).as_strided(shape, strides),
    )


def _train(trace: Any, progress: Progress, steps: int, device: str) -> Outcome:
    with torch.no_grad():
        weights = first_weights(PARAMETERS, "transformer")
        return train(
            trace, progress, steps, sentences(), weights, _step, lambda array: torch.from_numpy(array).to(device)
        )


class _Calls:
    """Makes ATen's calls as rows of the trace."""

    def __init__(self, trace: Any, device: str) -> None:
        self.moved: Callable[..., Array] = trace.moved
        self._trace = trace
        self._device = device

    def one(self, name: str, function: Any, *arguments: Any, **options: Any) -> Array:
        """A call with one result."""
        return self._trace.call(name, *self._described(function), function, *arguments, **options)

    def several(self, names: Tuple[str, ...], function: Any, *arguments: Any, **options: Any) -> Any:
        """A call with several results, a name for each; a result named "" is not there, or nothing needs it."""
        return self._trace.several(names, *self._described(function), function, *arguments, **options)

    def _described(self, function: Any) -> Tuple[str, Tuple[str, ...]]:
        operator = "aten::" + function.__name__
        return operator + " f32", dispatched.components(operator, "f4", self._device)


def _step(trace: Any, state: State, tokens: Array, answers: Array, number: int) -> Did:
    """One training step."""
    calls = _Calls(trace, tokens.device.type)
    w = cut(state.weights, PARAMETERS, calls.moved)
    saved: Saved = {}
    trace.phase("forward")
    logits = _forward(calls, w, tokens, saved)
    trace.phase("loss")
    loss = _loss(calls, logits, answers, saved)
    trace.phase("backward")
    gradients = _backward(calls, w, tokens, answers, saved)
    pieces = [gradients[name] for name, _, _ in PARAMETERS]
    flat = calls.moved(torch.cat([piece.reshape(-1) for piece in pieces]), *pieces)
    trace.phase("update")
    return Did(_adam(calls, state, flat, number), logits, loss)


def _forward(calls: _Calls, w: Weights, tokens: Array, saved: Saved) -> Array:
    """Logits [N, V], and what the gradients need."""
    embedded = calls.moved(w["embed.token"][tokens], w["embed.token"], tokens)  # [N, T, D]
    summed = calls.one("embed.sum", _aten.add, embedded, w["embed.position"])
    saved["stem"] = stem = calls.moved(summed.transpose(1, 2).contiguous(), summed)  # [N, D, T]
    saved["stem.conv"] = conv = calls.one(
        "stem.conv", _aten.convolution, stem, w["stem.weight"], w["stem.bias"], *_CONVOLUTION
    )
    active = calls.one("stem.gelu", _aten.gelu, conv)
    x = calls.moved(active.transpose(1, 2).reshape(-1, WIDTH), active)  # [N*T, D]
    attended = _attention(calls, _norm(calls, "block0.attention.norm", x, w, saved), w, saved)
    asked = calls.one("block0.attention.residual", _aten.add, _last(calls, x), attended)  # [N, D]
    normed = _norm(calls, "block0.ffn.norm", asked, w, saved)
    computed = _ffn(calls, normed, w, saved)
    asked = calls.one("block0.ffn.residual", _aten.add, asked, computed)
    normed = saved["head"] = _norm(calls, "head.norm", asked, w, saved)
    return _linear(calls, "logits", normed, w["head.unembed"])


def _loss(calls: _Calls, logits: Array, answers: Array, saved: Saved) -> Array:
    """The mean over the sentences of -log softmax(logits)[answer]."""
    chances = saved["chances"] = calls.one("log_softmax", _aten._log_softmax, logits, 1, False)
    loss, saved["count"] = calls.several(
        ("loss", "count"), _aten.nll_loss_forward, chances, answers, None, _MEAN, _NO_CLASS
    )
    return loss


def _backward(calls: _Calls, w: Weights, tokens: Array, answers: Array, saved: Saved) -> Dict[str, Array]:
    """The loss's gradient of every parameter, by name."""
    g: Dict[str, Array] = {}
    chances, count = saved["chances"], saved["count"]
    one = torch.ones((), device=chances.device)
    back = calls.one("loss", _aten.nll_loss_backward, one, chances, answers, None, _MEAN, _NO_CLASS, count)
    back = calls.one("logits", _aten._log_softmax_backward_data, back, chances, 1, torch.float32)
    back = _linear_backward(calls, "head.unembed", back, saved["head"], w, g)
    back = _norm_backward(calls, "head.norm", back, w, saved, g)
    branch = _ffn_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.ffn.norm", branch, w, saved, g)
    back = calls.one("block0.ffn.residual", _aten.add, back, branch)
    branch = _attention_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.attention.norm", branch, w, saved, g)
    back = calls.one("block0.attention.residual", _aten.add, branch, _at_last(calls, back))  # [N*T, D]
    by_channel = calls.moved(back.view(SENTENCES, POSITIONS, WIDTH).transpose(1, 2).contiguous(), back)
    back = calls.one("stem.gelu", _aten.gelu_backward, by_channel, saved["stem.conv"])
    back, g["stem.weight"], g["stem.bias"] = calls.several(
        ("stem.input", "stem.weight", "stem.bias"),
        _aten.convolution_backward,
        back,
        saved["stem"],
        w["stem.weight"],
        [WIDTH],
        *_CONVOLUTION,
        [True, True, True],
    )
    back = calls.moved(back.transpose(1, 2).contiguous(), back)  # [N, T, D]
    g["embed.position"] = calls.one("embed.position", _aten.sum, back, [0])
    g["embed.token"] = calls.one("embed.token", _aten.embedding_dense_backward, back, tokens, MODULUS + 1, -1, False)
    return g


def _linear(calls: _Calls, name: str, x: Array, weight: Array, bias: Any = None) -> Array:
    """x weight^T + bias for x [*, in], weight [out, in], as torch.nn.Linear computes it."""
    turned = calls.moved(weight.t(), weight)
    if bias is None:
        return calls.one(name, _aten.mm, x, turned)
    return calls.one(name, _aten.addmm, bias, x, turned)


def _linear_backward(calls: _Calls, name: str, back: Array, x: Array, w: Weights, g: Dict[str, Array]) -> Array:
    g[name] = calls.one(name, _aten.mm, calls.moved(back.t(), back), x)
    return calls.one(name + ".input", _aten.mm, back, w[name])


def _norm(calls: _Calls, name: str, x: Array, w: Weights, saved: Saved) -> Array:
    """LayerNorm of the rows of x [*, D], with a gain and no bias (Ba, Kiros, Hinton, arXiv:1607.06450)."""
    out, mean, rstd = calls.several(
        (name, name + ".mean", name + ".rstd"), _aten.native_layer_norm, x, [WIDTH], w[name], None, NORM_EPSILON
    )
    saved.update({name + ".x": x, name + ".mean": mean, name + ".rstd": rstd})
    return out


def _norm_backward(calls: _Calls, name: str, back: Array, w: Weights, saved: Saved, g: Dict[str, Array]) -> Array:
    x, mean, rstd = (saved[name + part] for part in (".x", ".mean", ".rstd"))
    back, g[name], _ = calls.several(
        (name + ".input", name, ""),
        _aten.native_layer_norm_backward,
        back,
        x,
        [WIDTH],
        mean,
        rstd,
        w[name],
        None,
        [True, True, False],
    )
    return back


def _last(calls: _Calls, x: Array) -> Array:
    """The last position of each sentence: [N*T, D] to [N, D]."""
    return calls.moved(x.view(SENTENCES, POSITIONS, WIDTH)[:, -1].contiguous(), x)


def _at_last(calls: _Calls, asked: Array) -> Array:
    """[N, D] at the last of all positions, zeros before it: [N*T, D]."""
    every = asked.new_zeros(SENTENCES, POSITIONS, WIDTH)
    every[:, -1] = asked
    return calls.moved(every.view(-1, WIDTH), asked)


def _heads(calls: _Calls, q: Array, kv: Array) -> Tuple[Array, Array, Array]:
    """Queries [N*H, 1, C], keys and values [N*H, T, C]."""
    queries = calls.moved(q.view(SENTENCES * HEADS, 1, CHANNELS), q)
    both = kv.view(SENTENCES, POSITIONS, 2, HEADS, CHANNELS).permute(2, 0, 3, 1, 4)
    keys, values = (calls.moved(part.reshape(-1, POSITIONS, CHANNELS), kv) for part in both)
    return queries, keys, values


def _attention(calls: _Calls, x: Array, w: Weights, saved: Saved) -> Array:
    """From x [N*T, D] to [N, D]: the last position looks at all (Vaswani and others, NeurIPS 2017)."""
    name = "block0.attention"
    last = _last(calls, x)
    q = _linear(calls, name + ".query", last, w[name + ".query"])
    kv = _linear(calls, name + ".keyvalue", x, w[name + ".keyvalue"])
    queries, keys, values = _heads(calls, q, kv)
    scores = calls.one(name + ".scores", _aten.bmm, queries, calls.moved(keys.transpose(1, 2), keys))  # [N*H, 1, T]
    scaled = calls.one(name + ".scaled", _aten.mul, scores, SCALE)
    shares = calls.one(name + ".shares", _aten._softmax, scaled, 2, False)
    mixed = calls.one(name + ".mixed", _aten.bmm, shares, values)
    mixed = calls.moved(mixed.view(SENTENCES, WIDTH), mixed)
    saved.update({name: x, name + ".last": last, name + ".q": q, name + ".kv": kv})
    saved.update({name + ".shares": shares, name + ".mixed": mixed})
    return _linear(calls, name + ".output", mixed, w[name + ".output"])


def _attention_backward(calls: _Calls, back: Array, w: Weights, saved: Saved, g: Dict[str, Array]) -> Array:
    name = "block0.attention"
    shares = saved[name + ".shares"]
    queries, keys, values = _heads(calls, saved[name + ".q"], saved[name + ".kv"])
    mixed = _linear_backward(calls, name + ".output", back, saved[name + ".mixed"], w, g)
    mixed = calls.moved(mixed.view(-1, 1, CHANNELS), mixed)
    by_share = calls.one(name + ".shares", _aten.bmm, mixed, calls.moved(values.transpose(1, 2), values))
    by_value = calls.one(name + ".values", _aten.bmm, calls.moved(shares.transpose(1, 2), shares), mixed)
    by_score = calls.one(name + ".softmax", _aten._softmax_backward_data, by_share, shares, 2, torch.float32)
    by_score = calls.one(name + ".scaled", _aten.mul, by_score, SCALE)
    by_query = calls.one(name + ".queries", _aten.bmm, by_score, keys)
    by_key = calls.one(name + ".keys", _aten.bmm, calls.moved(by_score.transpose(1, 2), by_score), queries)
    both = torch.stack([by_key, by_value]).view(2, SENTENCES, HEADS, POSITIONS, CHANNELS)
    kv = calls.moved(both.permute(1, 3, 0, 2, 4).reshape(-1, 2 * WIDTH), by_key, by_value)
    by_query = calls.moved(by_query.view(SENTENCES, WIDTH), by_query)
    from_query = _linear_backward(calls, name + ".query", by_query, saved[name + ".last"], w, g)
    from_kv = _linear_backward(calls, name + ".keyvalue", kv, saved[name], w, g)
    return calls.one(name + ".input", _aten.add, from_kv, _at_last(calls, from_query))


def _ffn(calls: _Calls, x: Array, w: Weights, saved: Saved) -> Array:
    """silu(x w1 + b1) w2 + b2 for x [N, D]."""
    name = "block0.ffn"
    hidden = _linear(calls, name + ".hidden", x, w[name + ".w1"], w[name + ".b1"])  # [N, F]
    active = calls.one(name + ".active", _aten.silu, hidden)
    saved.update({name: x, name + ".hidden": hidden, name + ".active": active})
    return _linear(calls, name + ".output", active, w[name + ".w2"], w[name + ".b2"])


def _ffn_backward(calls: _Calls, back: Array, w: Weights, saved: Saved, g: Dict[str, Array]) -> Array:
    name = "block0.ffn"
    g[name + ".b2"] = calls.one(name + ".b2", _aten.sum, back, [0])
    back = _linear_backward(calls, name + ".w2", back, saved[name + ".active"], w, g)
    back = calls.one(name + ".hidden", _aten.silu_backward, back, saved[name + ".hidden"])
    g[name + ".b1"] = calls.one(name + ".b1", _aten.sum, back, [0])
    return _linear_backward(calls, name + ".w1", back, saved[name], w, g)


def _adam(calls: _Calls, state: State, gradient: Array, number: int) -> State:
    """Adam's step `number` (from 1) on the flat vector of all parameters, by the calls of torch.optim.Adam."""
    left1, left2 = powers(number)
    first = calls.one("first_moment", _aten.lerp, state.first_moment, gradient, 1 - BETA1)
    kept = calls.one("second_moment.kept", _aten.mul, state.second_moment, BETA2)
    second = calls.one("second_moment", _aten.addcmul, kept, gradient, gradient, value=1 - BETA2)
    root = calls.one("root", _aten.sqrt, second)
    unbiased = calls.one("root.unbiased", _aten.div, root, math.sqrt(1 - left2))
    denominator = calls.one("denominator", _aten.add, unbiased, ADAM_EPSILON)
    weights = calls.one("weights", _aten.addcdiv, state.weights, first, denominator, value=-RATE / (1 - left1))
    return State(weights, first, second)
