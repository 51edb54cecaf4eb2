"""The jax job: the transformer of `transformer.py`, every XLA executable one row of the trace.

A step is not compiled as a whole, as a training would: what XLA then fuses has no names, and its one executable would
be one row. Each row is a small jitted function instead, of the sizes that XLA fuses anyway: a product of matrices, a
convolution, a reduction, a chain of element-wise operations (a norm, a softmax, an update of Adam). The backward pass
is JAX's own, `jax.vjp`, of one such function at a time.

An executable with several results is one row each. Between rows arrays are numpy's, as views and copies need no
compilation then.
"""

import functools
import sys
from typing import Any, Callable, Dict, List, Tuple

from ..operators import Operator
from ..operators.xla import on_cpu
from . import Job, Outcome, Progress
from .replay import replay
from .transformer import (
    ADAM_EPSILON,
    BETA1,
    BETA2,
    CHANNELS,
    CONFIGURATION,
    HEADS,
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

jax = on_cpu()
jnp: Any = jax.numpy
numpy: Any = sys.modules["numpy"]  # jax needs it, so it is there

Saved = Dict[str, Array]
Weights = Dict[str, Array]


def job() -> Job:
    """The job."""
    return Job("jax", 1, CONFIGURATION, run)


def run(trace: Any, progress: Progress) -> Outcome:
    """Train; every step is recorded."""
    return _train(trace, progress, STEPS)


def operators() -> List[Operator]:
    """Every executable of one training step, on seeded inputs."""
    return replay(
        "jax_job",
        lambda recorder: _train(recorder, lambda done, steps: None, 1),
        positive=(_adam,),
        threaded=lambda *_: True,  # XLA judges by what an executable costs
    )


def _train(trace: Any, progress: Progress, steps: int) -> Outcome:
    def step(trace: Any, state: State, tokens: Array, answers: Array, number: int) -> Did:
        # An emulated machine compiles for minutes in the first step: whoever waits must see that it lives.
        return _step(_Calls(trace, lambda: progress(0, steps) if number == 1 else None), state, tokens, answers, number)

    return train(trace, progress, steps, sentences(), first_weights(PARAMETERS, "transformer"), step, _placed)


def _placed(array: Array) -> Array:
    """Integers of 32 bits, as jax has them unless it is told otherwise."""
    return array.astype("int32") if array.dtype.kind == "i" else array


# What is compiled.


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one XLA executable (for each set of shapes), from and to numpy's arrays."""
    jitted = jax.jit(function)

    @functools.wraps(function)
    def compiled(*arguments: Any) -> Any:
        return jax.tree_util.tree_map(numpy.asarray, jitted(*arguments))

    def outline(*arguments: Any) -> Any:
        shaped = jax.eval_shape(jitted, *arguments)
        return jax.tree_util.tree_map(lambda result: numpy.zeros(result.shape, result.dtype), shaped)

    compiled.outline = outline  # type: ignore[attr-defined]
    return compiled


def _backward_of(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """From the gradient of a function's result, and its arguments, the gradients of the first `count` of these."""
    plain = function.__wrapped__  # type: ignore[attr-defined]

    def backward(back: Array, *arguments: Array) -> Any:
        gradients = jax.vjp(plain, *arguments)[1](back)
        return gradients[0] if count == 1 else gradients[:count]

    backward.__name__ = function.__name__ + "_backward"
    return _compiled(backward)


@_compiled
def _add(x: Array, y: Array) -> Array:
    return x + y


@_compiled
def _convolution(x: Array, weight: Array, bias: Array) -> Array:
    """x [N, D, T], weight [D, D, K]."""
    return jax.lax.conv_general_dilated(x, weight, (1,), "SAME") + bias[:, None]


@_compiled
def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


@_compiled
def _layer_norm(x: Array, gain: Array) -> Array:
    """LayerNorm of the rows of x, with a gain and no bias (Ba, Kiros, Hinton, arXiv:1607.06450)."""
    centred = x - x.mean(1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(1, keepdims=True) + NORM_EPSILON) * gain


@_compiled
def _linear(x: Array, weight: Array) -> Array:
    return x @ weight.T


@_compiled
def _affine(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + bias


@_compiled
def _linear_input(back: Array, weight: Array) -> Array:
    return back @ weight


@_compiled
def _linear_weight(back: Array, x: Array) -> Array:
    return back.T @ x


@_compiled
def _matmul(a: Array, b: Array) -> Array:
    return a @ b


@_compiled
def _softmax(scores: Array) -> Array:
    return jax.nn.softmax(scores * SCALE, axis=2)


@_compiled
def _silu(x: Array) -> Array:
    return jax.nn.silu(x)


@_compiled
def _sum(x: Array) -> Array:
    return x.sum(0)


@_compiled
def _log_softmax(logits: Array) -> Array:
    return jax.nn.log_softmax(logits, axis=1)


@_compiled
def _nll_loss(chances: Array, answers: Array) -> Array:
    return -jnp.take_along_axis(chances, answers[:, None], axis=1).mean()


@_compiled
def _embedding_backward(back: Array, tokens: Array) -> Array:
    return jnp.zeros((MODULUS + 1, WIDTH), back.dtype).at[tokens].add(back)


@_compiled
def _first_moment(old: Array, gradient: Array) -> Array:
    return BETA1 * old + (1 - BETA1) * gradient


@_compiled
def _second_moment(old: Array, gradient: Array) -> Array:
    return BETA2 * old + (1 - BETA2) * gradient * gradient


@_compiled
def _adam(old: Array, first: Array, second: Array, left1: float, left2: float) -> Array:
    return old - RATE * (first / (1 - left1)) / (jnp.sqrt(second / (1 - left2)) + ADAM_EPSILON)


_convolution_backward = _backward_of(_convolution, 3)
_gelu_backward = _backward_of(_gelu, 1)
_layer_norm_backward = _backward_of(_layer_norm, 2)
_softmax_backward = _backward_of(_softmax, 1)
_silu_backward = _backward_of(_silu, 1)
_log_softmax_backward = _backward_of(_log_softmax, 1)
_nll_loss_backward = _backward_of(_nll_loss, 1)


class _Calls:
    """Makes calls of executables as rows of the trace."""

    def __init__(self, trace: Any, alive: Callable[[], None]) -> None:
        self.phase: Callable[[str], None] = trace.phase
        self.moved: Callable[..., Array] = trace.moved
        self._trace = trace
        self._alive = alive

    def one(self, name: str, function: Callable[..., Any], *arguments: Any) -> Array:
        """A call with one result."""
        self._alive()
        return self._trace.call(name, _words(function), ("xla",), function, *arguments)

    def several(self, names: Tuple[str, ...], function: Callable[..., Any], *arguments: Any) -> Any:
        """A call with several results, a name for each."""
        self._alive()
        return self._trace.several(names, _words(function), ("xla",), function, *arguments)


def _words(function: Callable[..., Any]) -> str:
    return function.__name__[1:] + " f32"


def _step(calls: _Calls, state: State, tokens: Array, answers: Array, number: int) -> Did:
    """One training step."""
    w = cut(state.weights, PARAMETERS, calls.moved)
    saved: Saved = {}
    calls.phase("forward")
    logits = _forward(calls, w, tokens, saved)
    calls.phase("loss")
    loss = _loss(calls, logits, answers, saved)
    calls.phase("backward")
    gradients = _backward(calls, w, tokens, answers, saved)
    pieces = [gradients[name] for name, _, _ in PARAMETERS]
    flat = calls.moved(numpy.concatenate([piece.ravel() for piece in pieces]), *pieces)
    calls.phase("update")
    left1, left2 = powers(number)
    first = calls.one("first_moment", _first_moment, state.first_moment, flat)
    second = calls.one("second_moment", _second_moment, state.second_moment, flat)
    weights = calls.one("weights", _adam, state.weights, first, second, left1, left2)
    return Did(State(weights, first, second), logits, loss)


def _forward(calls: _Calls, w: Weights, tokens: Array, saved: Saved) -> Array:
    """Logits [N, V], and what the gradients need."""
    embedded = calls.moved(w["embed.token"][tokens], w["embed.token"], tokens)  # [N, T, D]
    summed = calls.one("embed.sum", _add, embedded, w["embed.position"])
    saved["stem"] = stem = calls.moved(summed.transpose(0, 2, 1), summed)  # [N, D, T]
    saved["stem.conv"] = conv = calls.one("stem.conv", _convolution, stem, w["stem.weight"], w["stem.bias"])
    active = calls.one("stem.gelu", _gelu, conv)
    saved["x"] = x = calls.moved(active.transpose(0, 2, 1).reshape(-1, WIDTH), active)  # [N*T, D]
    normed = calls.one("block0.attention.norm", _layer_norm, x, w["block0.attention.norm"])
    attended = _attention(calls, normed, w, saved)
    saved["asked"] = asked = calls.one("block0.attention.residual", _add, _last(calls, x), attended)  # [N, D]
    normed = calls.one("block0.ffn.norm", _layer_norm, asked, w["block0.ffn.norm"])
    computed = _ffn(calls, normed, w, saved)
    saved["computed"] = asked = calls.one("block0.ffn.residual", _add, asked, computed)
    saved["head"] = normed = calls.one("head.norm", _layer_norm, asked, w["head.norm"])
    return calls.one("logits", _linear, normed, w["head.unembed"])


def _loss(calls: _Calls, logits: Array, answers: Array, saved: Saved) -> Array:
    """The mean over the sentences of -log softmax(logits)[answer]."""
    saved["logits"] = logits
    chances = saved["chances"] = calls.one("log_softmax", _log_softmax, logits)
    return calls.one("loss", _nll_loss, chances, answers)


def _backward(calls: _Calls, w: Weights, tokens: Array, answers: Array, saved: Saved) -> Dict[str, Array]:
    """The loss's gradient of every parameter, by name."""
    g: Dict[str, Array] = {}

    def through_norm(name: str, back: Array, x: Array) -> Array:
        back, g[name] = calls.several((name + ".input", name), _layer_norm_backward, back, x, w[name])
        return back

    back = calls.one("log_softmax", _nll_loss_backward, numpy.float32(1), saved["chances"], answers)
    back = calls.one("logits", _log_softmax_backward, back, saved["logits"])
    back = _linear_backward(calls, "head.unembed", back, saved["head"], w, g)
    back = through_norm("head.norm", back, saved["computed"])
    branch = _ffn_backward(calls, back, w, saved, g)
    branch = through_norm("block0.ffn.norm", branch, saved["asked"])
    back = calls.one("block0.ffn.residual", _add, back, branch)
    branch = _attention_backward(calls, back, w, saved, g)
    branch = through_norm("block0.attention.norm", branch, saved["x"])
    back = calls.one("block0.attention.residual", _add, branch, _at_last(calls, back))  # [N*T, D]
    by_channel = calls.moved(back.reshape(SENTENCES, POSITIONS, WIDTH).transpose(0, 2, 1), back)
    back = calls.one("stem.gelu", _gelu_backward, by_channel, saved["stem.conv"])
    names = ("stem.input", "stem.weight", "stem.bias")
    back, g["stem.weight"], g["stem.bias"] = calls.several(
        names, _convolution_backward, back, saved["stem"], w["stem.weight"], w["stem.bias"]
    )
    back = calls.moved(back.transpose(0, 2, 1), back)  # [N, T, D]
    g["embed.position"] = calls.one("embed.position", _sum, back)
    g["embed.token"] = calls.one("embed.token", _embedding_backward, back, tokens)
    return g


def _linear_backward(calls: _Calls, name: str, back: Array, x: Array, w: Weights, g: Dict[str, Array]) -> Array:
    g[name] = calls.one(name, _linear_weight, back, x)
    return calls.one(name + ".input", _linear_input, back, w[name])


def _last(calls: _Calls, x: Array) -> Array:
    """The last position of each sentence: [N*T, D] to [N, D]."""
    return calls.moved(x.reshape(SENTENCES, POSITIONS, WIDTH)[:, -1], x)


def _at_last(calls: _Calls, asked: Array) -> Array:
    """[N, D] at the last of all positions, zeros before it: [N*T, D]."""
    every = numpy.zeros((SENTENCES, POSITIONS, WIDTH), dtype=asked.dtype)
    every[:, -1] = asked
    return calls.moved(every.reshape(-1, WIDTH), asked)


def _heads(calls: _Calls, q: Array, kv: Array) -> Tuple[Array, Array, Array]:
    """Queries [N*H, 1, C], keys and values [N*H, T, C]."""
    queries = calls.moved(q.reshape(SENTENCES * HEADS, 1, CHANNELS), q)
    both = kv.reshape(SENTENCES, POSITIONS, 2, HEADS, CHANNELS).transpose(2, 0, 3, 1, 4)
    keys, values = (calls.moved(part.reshape(-1, POSITIONS, CHANNELS), kv) for part in both)
    return queries, keys, values


def _turned(calls: _Calls, x: Array) -> Array:
    """The transposes of a batch of matrices."""
    return calls.moved(x.transpose(0, 2, 1), x)


def _attention(calls: _Calls, x: Array, w: Weights, saved: Saved) -> Array:
    """From x [N*T, D] to [N, D]: the last position looks at all (Vaswani and others, NeurIPS 2017)."""
    name = "block0.attention"
    last = _last(calls, x)
    q = calls.one(name + ".query", _linear, last, w[name + ".query"])
    kv = calls.one(name + ".keyvalue", _linear, x, w[name + ".keyvalue"])
    queries, keys, values = _heads(calls, q, kv)
    scores = calls.one(name + ".scores", _matmul, queries, _turned(calls, keys))  # [N*H, 1, T]
    shares = calls.one(name + ".shares", _softmax, scores)
    mixed = calls.one(name + ".mixed", _matmul, shares, values)
    mixed = calls.moved(mixed.reshape(SENTENCES, WIDTH), mixed)
    saved.update({name: x, name + ".last": last, name + ".q": q, name + ".kv": kv})
    saved.update({name + ".scores": scores, name + ".shares": shares, name + ".mixed": mixed})
    return calls.one(name + ".output", _linear, mixed, w[name + ".output"])


def _attention_backward(calls: _Calls, back: Array, w: Weights, saved: Saved, g: Dict[str, Array]) -> Array:
    name = "block0.attention"
    queries, keys, values = _heads(calls, saved[name + ".q"], saved[name + ".kv"])
    mixed = _linear_backward(calls, name + ".output", back, saved[name + ".mixed"], w, g)
    mixed = calls.moved(mixed.reshape(-1, 1, CHANNELS), mixed)
    by_share = calls.one(name + ".shares", _matmul, mixed, _turned(calls, values))
    by_value = calls.one(name + ".values", _matmul, _turned(calls, saved[name + ".shares"]), mixed)
    by_score = calls.one(name + ".scores", _softmax_backward, by_share, saved[name + ".scores"])
    by_query = calls.one(name + ".queries", _matmul, by_score, keys)
    by_key = calls.one(name + ".keys", _matmul, _turned(calls, by_score), queries)
    both = numpy.stack([by_key, by_value]).reshape(2, SENTENCES, HEADS, POSITIONS, CHANNELS)
    kv = calls.moved(both.transpose(1, 3, 0, 2, 4).reshape(-1, 2 * WIDTH), by_key, by_value)
    by_query = calls.moved(by_query.reshape(SENTENCES, WIDTH), by_query)
    from_query = _linear_backward(calls, name + ".query", by_query, saved[name + ".last"], w, g)
    from_kv = _linear_backward(calls, name + ".keyvalue", kv, saved[name], w, g)
    return calls.one(name + ".input", _add, from_kv, _at_last(calls, from_query))


def _ffn(calls: _Calls, x: Array, w: Weights, saved: Saved) -> Array:
    """silu(x w1 + b1) w2 + b2 for x [N, D]."""
    name = "block0.ffn"
    hidden = calls.one(name + ".hidden", _affine, x, w[name + ".w1"], w[name + ".b1"])  # [N, F]
    active = calls.one(name + ".active", _silu, hidden)
    saved.update({name: x, name + ".hidden": hidden, name + ".active": active})
    return calls.one(name + ".output", _affine, active, w[name + ".w2"], w[name + ".b2"])


def _ffn_backward(calls: _Calls, back: Array, w: Weights, saved: Saved, g: Dict[str, Array]) -> Array:
    name = "block0.ffn"
    g[name + ".b2"] = calls.one(name + ".b2", _sum, back)
    back = _linear_backward(calls, name + ".w2", back, saved[name + ".active"], w, g)
    back = calls.one(name + ".hidden", _silu_backward, back, saved[name + ".hidden"])
    g[name + ".b1"] = calls.one(name + ".b1", _sum, back)
    return _linear_backward(calls, name + ".w1", back, saved[name], w, g)
