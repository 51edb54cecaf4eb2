"""The numpy job: a small transformer learns addition modulo 13, every library call one row of the trace.

A decoder with one block, as in current language models but small: token and position embedding, RMSNorm, two-headed
attention, RMSNorm, a feed-forward layer with SiLU, RMSNorm, unembedding. A sentence is "a b =" and the answer is
a + b modulo 13, so only the last position is asked. With one block nothing else needs its query, so attention has one
query a sentence, and needs no mask because that query may look back at all three positions; these give keys and values.
All 169 sentences are one batch; 100 steps of Adam (Kingma and Ba, "Adam", ICLR 2015) bring the loss from 2.7 to below
0.05, every answer right. The gradients are written by hand: every `_layer` is followed by its `_layer_backward`.

Shapes: N = 169 sentences, T = 3 positions, D = 32 width, H = 2 heads of C = 16, F = 64 hidden, V = 13 answers. The
weights are one flat vector of 9,344 float32, so that Adam is 12 calls; `_cut` shows it as matrices without copying.

Components: a product of matrices, or of a matrix and a vector, goes to BLAS; everything else is numpy's own loops, but
exp and log (without AVX2) and power (without AVX-512), which numpy then leaves to libm.
"""

import math
from typing import Any, Callable, Dict, List, Tuple

from ..facts import Absent, failure
from ..operators import Operator
from . import Job, Outcome, Progress
from .replay import replay
from .transformer import (
    ADAM_EPSILON,
    BETA1,
    BETA2,
    CHANNELS,
    HEADS,
    HIDDEN,
    MODULUS,
    NORM_EPSILON,
    POSITIONS,
    SCALE,
    SENTENCES,
    WIDTH,
    Array,
    Did,
    Parameters,
    State,
    cut,
    first_weights,
    powers,
    sentences,
    train,
)

try:
    import numpy
except ImportError as error:
    raise Absent("numpy cannot be imported: " + failure(error)) from None

STEPS = 100
RATE = 5e-3

PARAMETERS: Parameters = (
    ("embed.token", (MODULUS + 1, WIDTH), 0.5),
    ("embed.position", (POSITIONS, WIDTH), 0.5),
    ("block0.attention.norm", (WIDTH,), None),
    ("block0.attention.query", (WIDTH, WIDTH), 0.25),
    ("block0.attention.keyvalue", (WIDTH, 2 * WIDTH), 0.25),
    ("block0.attention.output", (WIDTH, WIDTH), 0.25),
    ("block0.ffn.norm", (WIDTH,), None),
    ("block0.ffn.w1", (WIDTH, HIDDEN), 0.25),
    ("block0.ffn.b1", (HIDDEN,), 0.0),
    ("block0.ffn.w2", (HIDDEN, WIDTH), 0.25),
    ("block0.ffn.b2", (WIDTH,), 0.0),
    ("head.norm", (WIDTH,), None),
    ("head.unembed", (WIDTH, MODULUS), 0.25),
)

CONFIGURATION: Dict[str, Any] = {
    "task": "a + b modulo",
    "modulus": MODULUS,
    "width": WIDTH,
    "heads": HEADS,
    "hidden": HIDDEN,
    "steps": STEPS,
    "rate": RATE,
    "betas": [BETA1, BETA2],
    "epsilons": [ADAM_EPSILON, NORM_EPSILON],
    "first_values": {name: bound for name, _, bound in PARAMETERS},
}

Saved = Dict[str, Array]
_f32 = numpy.float32
_POSITIVE = (numpy.log, numpy.power, numpy.divide, numpy.sqrt)
_THROUGH_LIBM = (numpy.exp, numpy.log, numpy.power)


def job() -> Job:
    """The job."""
    return Job("numpy", 1, CONFIGURATION, run)


def run(trace: Any, progress: Progress) -> Outcome:
    """Train; every step is recorded."""
    return _train(trace, progress, STEPS)


def operators() -> List[Operator]:
    """Every call of one training step, on seeded inputs."""
    return replay("numpy_job", lambda recorder: _train(recorder, lambda done, steps: None, 1), _POSITIVE)


class _Calls:
    """Makes library calls as rows of the trace."""

    def __init__(self, trace: Any) -> None:
        self.moved: Callable[..., Array] = trace.moved
        self._call = trace.call

    def blas(self, name: str, a: Array, b: Array) -> Array:
        """A matrix product."""
        return self._call(name, "matmul f32", ("blas",), numpy.matmul, a, b)

    def numpy(self, name: str, function: Callable[..., Array], *arguments: Any, **options: Any) -> Array:
        """Any other function of numpy."""
        components = ("numpy", "libm") if function in _THROUGH_LIBM else ("numpy",)
        return self._call(name, function.__name__ + " f32", components, function, *arguments, **options)


def _train(trace: Any, progress: Progress, steps: int) -> Outcome:
    calls = _Calls(trace)

    def step(trace: Any, state: State, tokens: Array, answers: Array, number: int) -> Did:
        return _step(trace, calls, state, tokens, answers, number)

    return train(trace, progress, steps, _batch(), first_weights(PARAMETERS, "numpy_job"), step)


def _batch() -> Tuple[Array, Array]:
    """All sentences as tokens [N, T], and their answers one-hot [N, V]."""
    tokens, answers = sentences()
    return tokens, numpy.eye(MODULUS, dtype=_f32)[answers]


def _cut(flat: Array) -> Dict[str, Array]:
    """The parameters as views of the flat vector, by name."""
    return cut(flat, PARAMETERS, lambda view, flat: view)


def _step(trace: Any, calls: _Calls, state: State, tokens: Array, answers: Array, number: int) -> Did:
    """One training step."""
    w = _cut(state.weights)
    trace.phase("forward")
    logits, saved = _forward(calls, w, tokens)
    trace.phase("loss")
    loss = _cross_entropy(calls, logits, answers, saved)
    trace.phase("backward")
    gradients = _backward(calls, w, tokens, answers, saved)
    pieces = [gradients[name] for name, _, _ in PARAMETERS]
    flat = calls.moved(numpy.concatenate([piece.ravel() for piece in pieces]), *pieces)
    trace.phase("update")
    return Did(_adam(calls, state, flat, number), logits, loss)


def _forward(calls: _Calls, w: Dict[str, Array], tokens: Array) -> Tuple[Array, Saved]:
    """Logits [N, V], and what the gradients need."""
    saved: Saved = {}
    embedded = calls.moved(w["embed.token"][tokens], w["embed.token"], tokens)  # [N, T, D]
    x = calls.numpy("embed.sum", numpy.add, embedded, w["embed.position"])
    normed = _norm(calls, "block0.attention.norm", x.reshape(-1, WIDTH), w, saved)  # [N*T, D]
    attended = _attention(calls, normed, w, saved)
    asked = calls.numpy("block0.attention.residual", numpy.add, x[:, -1], attended)  # [N, D]
    normed = _norm(calls, "block0.ffn.norm", asked, w, saved)
    computed = _ffn(calls, normed, w, saved)
    asked = calls.numpy("block0.ffn.residual", numpy.add, asked, computed)
    normed = saved["head"] = _norm(calls, "head.norm", asked, w, saved)
    return calls.blas("logits", normed, w["head.unembed"]), saved


def _backward(calls: _Calls, w: Dict[str, Array], tokens: Array, answers: Array, saved: Saved) -> Dict[str, Array]:
    """The loss's gradient of every parameter, by name."""
    g: Dict[str, Array] = {}
    back = _cross_entropy_backward(calls, answers, saved)
    g["head.unembed"] = calls.blas("head.unembed", saved["head"].T, back)
    back = calls.blas("head", back, w["head.unembed"].T)
    back = _norm_backward(calls, "head.norm", back, w, saved, g)
    branch = _ffn_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.ffn.norm", branch, w, saved, g)
    back = calls.numpy("block0.ffn.residual", numpy.add, back, branch)
    branch = _attention_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.attention.norm", branch, w, saved, g)
    back = calls.numpy("block0.attention.residual", numpy.add, branch, _at_last(calls, back))  # [N*T, D]
    by_sentence = back.reshape(SENTENCES, POSITIONS, WIDTH)
    g["embed.position"] = calls.numpy("embed.position", numpy.sum, by_sentence, axis=0)
    one_hot = calls.moved(numpy.eye(MODULUS + 1, dtype=_f32)[tokens.ravel()], tokens)  # [N*T, V+1]
    g["embed.token"] = calls.blas("embed.token", one_hot.T, back)
    return g


def _norm(calls: _Calls, name: str, x: Array, w: Dict[str, Array], saved: Saved) -> Array:
    """RMSNorm of the rows of x [*, D]: x / sqrt(mean(x*x) + epsilon) * gain (Zhang and Sennrich, NeurIPS 2019)."""
    squares = calls.numpy(name + ".squares", numpy.multiply, x, x)
    mean = calls.numpy(name + ".mean", numpy.mean, squares, axis=1, keepdims=True)
    mean = calls.numpy(name + ".epsilon", numpy.add, mean, _f32(NORM_EPSILON))
    scale = saved[name + ".scale"] = calls.numpy(name + ".scale", numpy.power, mean, _f32(-0.5))
    unit = saved[name + ".unit"] = calls.numpy(name + ".unit", numpy.multiply, x, scale)
    return calls.numpy(name, numpy.multiply, unit, w[name])


def _norm_backward(
    calls: _Calls, name: str, back: Array, w: Dict[str, Array], saved: Saved, g: Dict[str, Array]
) -> Array:
    unit, scale = saved[name + ".unit"], saved[name + ".scale"]
    by_gain = calls.numpy(name + ".by_gain", numpy.multiply, back, unit)
    g[name] = calls.numpy(name + ".gain", numpy.sum, by_gain, axis=0)
    along = calls.blas(name + ".along", by_gain, w[name])  # [*]
    mean = calls.numpy(name + ".mean", numpy.multiply, along, _f32(1 / WIDTH))
    back = calls.numpy(name + ".unit", numpy.multiply, back, w[name])
    radial = calls.numpy(name + ".radial", numpy.multiply, unit, mean[:, None])
    back = calls.numpy(name + ".tangent", numpy.subtract, back, radial)
    return calls.numpy(name + ".input", numpy.multiply, back, scale)


def _heads(q: Array, kv: Array) -> Tuple[Array, Array, Array]:
    """Views: queries [N, H, C, 1], keys and values [N, H, T, C]."""
    both = kv.reshape(SENTENCES, POSITIONS, 2, HEADS, CHANNELS).transpose(2, 0, 3, 1, 4)
    return q.reshape(SENTENCES, HEADS, CHANNELS, 1), both[0], both[1]


def _attention(calls: _Calls, x: Array, w: Dict[str, Array], saved: Saved) -> Array:
    """From x [N*T, D] to [N, D]: the last position looks at all (Vaswani and others, NeurIPS 2017)."""
    name = "block0.attention"
    last = x.reshape(SENTENCES, POSITIONS, WIDTH)[:, -1]
    q = calls.blas(name + ".query", last, w[name + ".query"])
    kv = calls.blas(name + ".keyvalue", x, w[name + ".keyvalue"])
    queries, keys, values = _heads(q, kv)
    scores = calls.blas(name + ".scores", keys, queries)  # [N, H, T, 1]
    scores = calls.numpy(name + ".scaled", numpy.multiply, scores[..., 0], _f32(SCALE))
    most = calls.numpy(name + ".most", numpy.amax, scores, axis=2, keepdims=True)
    scores = calls.numpy(name + ".shifted", numpy.subtract, scores, most)
    exponentials = calls.numpy(name + ".exp", numpy.exp, scores)
    total = calls.numpy(name + ".total", numpy.sum, exponentials, axis=2, keepdims=True)
    shares = calls.numpy(name + ".shares", numpy.divide, exponentials, total)  # [N, H, T]
    mixed = calls.blas(name + ".mixed", shares[:, :, None, :], values).reshape(SENTENCES, WIDTH)
    saved.update({name: x, name + ".q": q, name + ".kv": kv, name + ".shares": shares, name + ".mixed": mixed})
    return calls.blas(name + ".output", mixed, w[name + ".output"])


def _attention_backward(calls: _Calls, back: Array, w: Dict[str, Array], saved: Saved, g: Dict[str, Array]) -> Array:
    name = "block0.attention"
    x, shares = saved[name], saved[name + ".shares"]
    queries, keys, values = _heads(saved[name + ".q"], saved[name + ".kv"])
    g[name + ".output"] = calls.blas(name + ".output", saved[name + ".mixed"].T, back)
    mixed = calls.blas(name + ".mixed", back, w[name + ".output"].T).reshape(SENTENCES, HEADS, CHANNELS, 1)
    by_share = calls.blas(name + ".shares", values, mixed)[..., 0]  # [N, H, T]
    by_value = calls.numpy(name + ".values", numpy.multiply, shares[..., None], mixed[:, :, None, :, 0])
    along = calls.numpy(name + ".along", numpy.multiply, by_share, shares)
    total = calls.numpy(name + ".total", numpy.sum, along, axis=2, keepdims=True)
    centred = calls.numpy(name + ".centred", numpy.subtract, by_share, total)
    by_score = calls.numpy(name + ".scaled", numpy.multiply, shares, centred)
    by_score = calls.numpy(name + ".scores", numpy.multiply, by_score, _f32(SCALE))
    by_query = calls.blas(name + ".queries", by_score[:, :, None, :], keys).reshape(SENTENCES, WIDTH)
    by_key = calls.numpy(name + ".keys", numpy.multiply, by_score[..., None], queries[:, :, None, :, 0])
    kv = calls.moved(numpy.stack([by_key, by_value]).transpose(1, 3, 0, 2, 4).reshape(x.shape[0], -1), by_key, by_value)
    last = x.reshape(SENTENCES, POSITIONS, WIDTH)[:, -1]
    g[name + ".query"] = calls.blas(name + ".query", last.T, by_query)
    g[name + ".keyvalue"] = calls.blas(name + ".keyvalue", x.T, kv)
    from_query = calls.blas(name + ".from_query", by_query, w[name + ".query"].T)
    from_kv = calls.blas(name + ".from_keyvalue", kv, w[name + ".keyvalue"].T)
    return calls.numpy(name + ".input", numpy.add, from_kv, _at_last(calls, from_query))


def _at_last(calls: _Calls, asked: Array) -> Array:
    """[N, D] at the last of all positions, zeros before it: [N*T, D]."""
    every = numpy.zeros((SENTENCES, POSITIONS, WIDTH), dtype=_f32)
    every[:, -1] = asked
    return calls.moved(every.reshape(-1, WIDTH), asked)


def _ffn(calls: _Calls, x: Array, w: Dict[str, Array], saved: Saved) -> Array:
    """silu(x w1 + b1) w2 + b2 with silu(h) = h / (1 + exp(-h)), for x [N, D]."""
    name = "block0.ffn"
    product = calls.blas(name + ".product1", x, w[name + ".w1"])
    hidden = calls.numpy(name + ".hidden", numpy.add, product, w[name + ".b1"])  # [N, F]
    negative = calls.numpy(name + ".negative", numpy.negative, hidden)
    exponential = calls.numpy(name + ".exp", numpy.exp, negative)
    denominator = calls.numpy(name + ".denominator", numpy.add, exponential, _f32(1))
    gate = calls.numpy(name + ".gate", numpy.divide, _f32(1), denominator)
    active = calls.numpy(name + ".active", numpy.multiply, hidden, gate)
    saved.update({name: x, name + ".gate": gate, name + ".active": active})
    product = calls.blas(name + ".product2", active, w[name + ".w2"])
    return calls.numpy(name + ".output", numpy.add, product, w[name + ".b2"])


def _ffn_backward(calls: _Calls, back: Array, w: Dict[str, Array], saved: Saved, g: Dict[str, Array]) -> Array:
    """silu'(h) = gate + silu(h) * (1 - gate), where gate = 1 / (1 + exp(-h))."""
    name = "block0.ffn"
    active, gate = saved[name + ".active"], saved[name + ".gate"]
    g[name + ".b2"] = calls.numpy(name + ".b2", numpy.sum, back, axis=0)
    g[name + ".w2"] = calls.blas(name + ".w2", active.T, back)
    back = calls.blas(name + ".active", back, w[name + ".w2"].T)
    rest = calls.numpy(name + ".rest", numpy.subtract, _f32(1), gate)
    curve = calls.numpy(name + ".curve", numpy.multiply, active, rest)
    slope = calls.numpy(name + ".slope", numpy.add, gate, curve)
    back = calls.numpy(name + ".hidden", numpy.multiply, back, slope)
    g[name + ".b1"] = calls.numpy(name + ".b1", numpy.sum, back, axis=0)
    g[name + ".w1"] = calls.blas(name + ".w1", saved[name].T, back)
    return calls.blas(name + ".input", back, w[name + ".w1"].T)


def _cross_entropy(calls: _Calls, logits: Array, answers: Array, saved: Saved) -> Array:
    """The mean over the sentences of -log softmax(logits)[answer]."""
    most = calls.numpy("most", numpy.amax, logits, axis=1, keepdims=True)
    shifted = calls.numpy("shifted", numpy.subtract, logits, most)
    exponentials = saved["loss.exp"] = calls.numpy("exp", numpy.exp, shifted)
    total = saved["loss.total"] = calls.numpy("total", numpy.sum, exponentials, axis=1, keepdims=True)
    logarithm = calls.numpy("log", numpy.log, total)
    surprise = calls.numpy("surprise", numpy.subtract, logarithm, shifted)
    asked = calls.numpy("asked", numpy.multiply, surprise, answers)
    each = calls.numpy("each", numpy.sum, asked, axis=1)
    return calls.numpy("loss", numpy.mean, each)


def _cross_entropy_backward(calls: _Calls, answers: Array, saved: Saved) -> Array:
    """(softmax(logits) - answers) / N."""
    chances = calls.numpy("chances", numpy.divide, saved["loss.exp"], saved["loss.total"])
    back = calls.numpy("error", numpy.subtract, chances, answers)
    return calls.numpy("logits", numpy.multiply, back, _f32(1 / SENTENCES))


def _adam(calls: _Calls, state: State, gradient: Array, number: int) -> State:
    """Adam's step `number` (from 1) on the flat vector of all parameters, in the order of operations that the paper
    calls more efficient (section 2)."""
    left1, left2 = powers(number)
    kept = calls.numpy("first_moment.kept", numpy.multiply, state.first_moment, _f32(BETA1))
    new = calls.numpy("first_moment.new", numpy.multiply, gradient, _f32(1 - BETA1))
    first = calls.numpy("first_moment", numpy.add, kept, new)
    squares = calls.numpy("squares", numpy.multiply, gradient, gradient)
    kept = calls.numpy("second_moment.kept", numpy.multiply, state.second_moment, _f32(BETA2))
    new = calls.numpy("second_moment.new", numpy.multiply, squares, _f32(1 - BETA2))
    second = calls.numpy("second_moment", numpy.add, kept, new)
    root = calls.numpy("root", numpy.sqrt, second)
    denominator = calls.numpy("denominator", numpy.add, root, _f32(ADAM_EPSILON))
    ratio = calls.numpy("ratio", numpy.divide, first, denominator)
    change = calls.numpy("change", numpy.multiply, ratio, _f32(RATE * math.sqrt(1 - left2) / (1 - left1)))
    return State(calls.numpy("weights", numpy.subtract, state.weights, change), first, second)
