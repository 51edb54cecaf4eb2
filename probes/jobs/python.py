"""The python job: the numpy job's transformer, smaller: addition modulo 5 on plain lists of floats.

It shows what an interpreter and its libm do to a training: `*`, `+` and `/` of floats are IEEE 754 everywhere, so only
`math.exp`, `math.log` and `math.sqrt` (component libm; sqrt is exact by the standard) and the builtin `sum` (component
python, compensated since Python 3.12) can differ; `sum` is called once, for the mean loss, which no gradient reads.

Shapes: N = 25 sentences "a b =", T = 3 positions, D = 8 width, H = 2 heads of C = 4, F = 16 hidden, V = 5 answers;
672 weights. All matrices are flat lists, row after row; `lists.py` has the functions that are a row of the trace each.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .. import inputs
from ..operators import Operator
from . import PROGRESS_STEPS, Job, Outcome, Progress, lists
from .lists import Floats
from .replay import replay

MODULUS = 5
SENTENCES = MODULUS * MODULUS
POSITIONS = 3
WIDTH = 8
HEADS = 2
CHANNELS = WIDTH // HEADS
HIDDEN = 16
BY_HEAD = HEADS * POSITIONS * CHANNELS  # keys or values of one sentence
STEPS = 80
RATE = 2e-2
BETA1 = 0.9
BETA2 = 0.98
ADAM_EPSILON = 1e-8
NORM_EPSILON = 1e-5
STREAM = "python_job15."  # of 30 streams tried the one that learns soonest: 672 weights can get stuck
SCALE = 0.5  # 1 / sqrt(CHANNELS)

PARAMETERS: Tuple[Tuple[str, int, Optional[float]], ...] = (
    ("embed.token", (MODULUS + 1) * WIDTH, 0.5),
    ("embed.position", POSITIONS * WIDTH, 0.5),
    ("block0.attention.norm", WIDTH, None),
    ("block0.attention.query", WIDTH * WIDTH, 0.25),
    ("block0.attention.keyvalue", WIDTH * 2 * WIDTH, 0.25),
    ("block0.attention.output", WIDTH * WIDTH, 0.25),
    ("block0.ffn.norm", WIDTH, None),
    ("block0.ffn.w1", WIDTH * HIDDEN, 0.25),
    ("block0.ffn.b1", HIDDEN, 0.0),
    ("block0.ffn.w2", HIDDEN * WIDTH, 0.25),
    ("block0.ffn.b2", WIDTH, 0.0),
    ("head.norm", WIDTH, None),
    ("head.unembed", WIDTH * MODULUS, 0.25),
)
"""Name, number of weights, and the bound of the uniform first values: a power of two, so exact (None: all ones)."""

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

_LIBM = (lists.exp, lists.log, lists.sqrt)
_POSITIVE = (
    *(lists.log, lists.sqrt, lists.divide_rows, lists.divide_all, lists.norm_gradient, lists.error, lists.adam),
    *(lists.silu, lists.silu_gradient),
)


def job() -> Job:
    """The job."""
    return Job("python", 1, CONFIGURATION, run)


def run(trace: Any, progress: Progress) -> Outcome:
    """Train; every step is recorded."""
    return _train(trace, progress, STEPS)


def operators() -> List[Operator]:
    """Every call of one training step, on seeded inputs."""
    return replay("python_job", lambda recorder: _train(recorder, lambda done, steps: None, 1), _POSITIVE)


class _Calls:
    """Makes calls as rows of the trace."""

    def __init__(self, trace: Any) -> None:
        self._call, self._moved = trace.call, trace.moved

    def __call__(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """One row: a function of the first part of `lists`."""
        components = ("libm",) if function in _LIBM else ("python",)
        return self._call(name, function.__name__ + " f64", components, function, *arguments)

    def copy(self, function: Callable[..., Floats], xs: Floats, *sizes: int) -> Floats:
        """No row: a function of the second part."""
        copied: Floats = self._moved(function(xs, *sizes), xs)
        return copied

    def joined(self, pieces: List[Floats], *sources: Floats) -> Floats:
        """No row: the pieces, one after another; `sources` are given where the pieces were cut out of them."""
        whole: Floats = self._moved([x for piece in pieces for x in piece], *(sources or pieces))
        return whole

    def cut(self, flat: Floats) -> Dict[str, Floats]:
        """No row: the parameters of the flat vector, by name."""
        pieces, start = {}, 0
        for name, count, _ in PARAMETERS:
            pieces[name] = self._moved(flat[start : start + count], flat)
            start += count
        return pieces


class _State(NamedTuple):
    """What a step hands to the next: flat vectors of all parameters."""

    weights: Floats
    first_moment: Floats
    second_moment: Floats


_Named = Dict[str, Floats]


def first_weights() -> Floats:
    """The flat vector that training starts from."""
    flat: Floats = []
    for name, count, bound in PARAMETERS:
        flat += [1.0] * count if bound is None else [x * bound for x in inputs.uniform(STREAM + name, count)]
    return flat


def _sentences() -> Tuple[List[int], Floats]:
    """All sentences as tokens [N, T], and their answers one-hot [N, V]."""
    pairs = [(a, b) for a in range(MODULUS) for b in range(MODULUS)]
    tokens = [token for a, b in pairs for token in (a, b, MODULUS)]
    answers = [float((a + b) % MODULUS == answer) for a, b in pairs for answer in range(MODULUS)]
    return tokens, answers


def _train(trace: Any, progress: Progress, steps: int) -> Outcome:
    tokens, answers = _sentences()
    weights = first_weights()
    state = _State(weights, [0.0] * len(weights), [0.0] * len(weights))
    losses: List[float] = []
    correct = 0
    for step in range(steps):
        trace.begin_step()
        trace.phase("data")
        trace.constant("tokens", tokens)
        trace.constant("answers", answers)
        for name in _State._fields:
            trace.constant(name, getattr(state, name))
        state, logits, loss = _step(trace, state, tokens, answers, step + 1)
        losses.append(loss)
        correct = sum(map(_right, lists.rows(logits, MODULUS), lists.rows(answers, MODULUS)))
        if (step + 1) % PROGRESS_STEPS == 0:
            progress(step + 1, steps)
    return {
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "losses": losses,
        "correct": correct,
        "examples": SENTENCES,
        "learned": losses[-1] < 0.05 and correct == SENTENCES,
    }


def _right(logits: Floats, answer: Floats) -> bool:
    return logits.index(max(logits)) == answer.index(1.0)


def _step(trace: Any, state: _State, tokens: List[int], answers: Floats, number: int) -> Tuple[_State, Floats, float]:
    """One training step: the new state, the logits and the loss."""
    calls = _Calls(trace)
    w = calls.cut(state.weights)
    saved: _Named = {}
    trace.phase("forward")
    logits = _forward(calls, w, tokens, saved)
    trace.phase("loss")
    loss = _cross_entropy(calls, logits, answers, saved)
    trace.phase("backward")
    gradients = _backward(calls, w, tokens, answers, saved)
    gradient = calls.joined([gradients[name] for name, _, _ in PARAMETERS])
    trace.phase("update")
    return _adam(calls, state, gradient, number), logits, loss


def _forward(calls: _Calls, w: _Named, tokens: List[int], saved: _Named) -> Floats:
    """Logits [N, V]; `saved` gets what the gradients need."""
    table = w["embed.token"]
    token = calls.copy(lambda xs: [x for t in tokens for x in xs[t * WIDTH : (t + 1) * WIDTH]], table)
    position = calls.copy(lambda xs: xs * SENTENCES, w["embed.position"])
    x = calls("embed.sum", lists.add, token, position)  # [N*T, D]
    attended = _attention(calls, _norm(calls, "block0.attention.norm", x, w, saved), w, saved)
    asked = calls("block0.attention.residual", lists.add, calls.copy(lists.last_of, x, WIDTH, POSITIONS), attended)
    computed = _ffn(calls, _norm(calls, "block0.ffn.norm", asked, w, saved), w, saved)
    asked = calls("block0.ffn.residual", lists.add, asked, computed)  # [N, D]
    saved["head"] = _norm(calls, "head.norm", asked, w, saved)
    logits: Floats = calls("logits", lists.matmul, saved["head"], w["head.unembed"], WIDTH)
    return logits


def _backward(calls: _Calls, w: _Named, tokens: List[int], answers: Floats, saved: _Named) -> _Named:
    """The loss's gradient of every parameter, by name."""
    g: _Named = {}
    back = calls("logits", lists.error, saved["loss.exp"], saved["loss.total"], answers)
    back = _product_backward(calls, "head.unembed", saved["head"], back, WIDTH, w, g)
    back = _norm_backward(calls, "head.norm", back, w, saved, g)
    branch = _ffn_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.ffn.norm", branch, w, saved, g)
    back = calls("block0.ffn.residual", lists.add, back, branch)
    branch = _attention_backward(calls, back, w, saved, g)
    branch = _norm_backward(calls, "block0.attention.norm", branch, w, saved, g)
    back = calls("block0.attention.residual", lists.add, branch, calls.copy(lists.at_last, back, WIDTH, POSITIONS))
    g["embed.position"] = calls("embed.position", lists.column_sums, back, POSITIONS * WIDTH)
    one_hot = [float(token == row) for row in range(MODULUS + 1) for token in tokens]  # [V+1, N*T]
    g["embed.token"] = calls("embed.token", lists.matmul, one_hot, back, len(tokens))
    return g


def _product_backward(
    calls: _Calls, name: str, x: Floats, back: Floats, inner: int, w: _Named, g: _Named, into: str = ""
) -> Floats:
    """For y = x w with x [*, inner]: the gradient of w into `g`, and that of x as the result (called `into`)."""
    outer = len(w[name]) // inner
    g[name] = calls(name, lists.matmul, calls.copy(lists.transposed, x, inner), back, len(x) // inner)
    turned: Floats = calls.copy(lists.transposed, w[name], outer)
    result: Floats = calls(into or name + ".input", lists.matmul, back, turned, outer)
    return result


def _norm(calls: _Calls, name: str, x: Floats, w: _Named, saved: _Named) -> Floats:
    """RMSNorm of the rows of x [*, D]: x / sqrt(mean(x*x) + epsilon) * gain (Zhang and Sennrich, NeurIPS 2019)."""
    squares = calls(name + ".squares", lists.mean_squares, x, WIDTH, NORM_EPSILON)
    roots = saved[name + ".roots"] = calls(name + ".roots", lists.sqrt, squares)
    unit = saved[name + ".unit"] = calls(name + ".unit", lists.divide_rows, x, roots)
    normed: Floats = calls(name, lists.multiply_columns, unit, w[name])
    return normed


def _norm_backward(calls: _Calls, name: str, back: Floats, w: _Named, saved: _Named, g: _Named) -> Floats:
    unit, roots = saved[name + ".unit"], saved[name + ".roots"]
    g[name] = calls(name + ".gain", lists.column_dots, back, unit, WIDTH)
    result: Floats = calls(name + ".input", lists.norm_gradient, back, unit, roots, w[name])
    return result


def _attention(calls: _Calls, x: Floats, w: _Named, saved: _Named) -> Floats:
    """From x [N*T, D] to [N, D]: the last position looks at all (Vaswani and others, NeurIPS 2017)."""
    name = "block0.attention"
    last = calls.copy(lists.last_of, x, WIDTH, POSITIONS)
    q = calls(name + ".query", lists.matmul, last, w[name + ".query"], WIDTH)
    kv = calls(name + ".keyvalue", lists.matmul, x, w[name + ".keyvalue"], WIDTH)
    queries = calls.copy(lists.repeated, q, CHANNELS, POSITIONS)  # [N, H, T, C], as keys and values are
    kv = calls.copy(lists.swapped, kv, POSITIONS, 2 * HEADS, CHANNELS)  # [N, 2, H, T, C]
    keys = calls.copy(lists.part_of, kv, 2 * BY_HEAD, 0, BY_HEAD)
    values = calls.copy(lists.part_of, kv, 2 * BY_HEAD, BY_HEAD, 2 * BY_HEAD)
    scores = calls(name + ".scores", lists.dots, queries, keys, CHANNELS)  # [N, H, T]
    shifted = calls(name + ".shifted", lists.scale_shift, scores, SCALE, POSITIONS)
    exponentials = calls(name + ".exp", lists.exp, shifted)
    total = calls(name + ".total", lists.row_sums, exponentials, POSITIONS)
    shares = calls(name + ".shares", lists.divide_rows, exponentials, total)
    weighted = calls(name + ".weighted", lists.multiply_rows, values, shares)
    turned = calls.copy(lists.swapped, weighted, POSITIONS, CHANNELS, 1)  # [N, H, C, T]
    mixed = calls(name + ".mixed", lists.row_sums, turned, POSITIONS)  # [N, D]
    saved.update({name: x, name + ".last": last, name + ".queries": queries, name + ".keys": keys})
    saved.update({name + ".values": values, name + ".shares": shares, name + ".mixed": mixed})
    attended: Floats = calls(name + ".output", lists.matmul, mixed, w[name + ".output"], WIDTH)
    return attended


def _attention_backward(calls: _Calls, back: Floats, w: _Named, saved: _Named, g: _Named) -> Floats:
    name = "block0.attention"
    keys, shares = saved[name + ".keys"], saved[name + ".shares"]
    mixed = _product_backward(calls, name + ".output", saved[name + ".mixed"], back, WIDTH, w, g, name + ".mixed")
    every = calls.copy(lists.repeated, mixed, CHANNELS, POSITIONS)  # [N, H, T, C]
    by_share = calls(name + ".shares", lists.dots, every, saved[name + ".values"], CHANNELS)
    by_value = calls(name + ".values", lists.multiply_rows, every, shares)
    by_score = calls(name + ".scores", lists.softmax_gradient, by_share, shares, SCALE, POSITIONS)
    by_key = calls(name + ".keys", lists.multiply_rows, saved[name + ".queries"], by_score)
    weighted = calls(name + ".weighted", lists.multiply_rows, keys, by_score)
    turned = calls.copy(lists.swapped, weighted, POSITIONS, CHANNELS, 1)
    by_query = calls(name + ".queries", lists.row_sums, turned, POSITIONS)
    pairs = zip(lists.rows(by_key, BY_HEAD), lists.rows(by_value, BY_HEAD))
    kv = calls.joined([part for pair in pairs for part in pair], by_key, by_value)
    kv = calls.copy(lists.swapped, kv, 2 * HEADS, POSITIONS, CHANNELS)  # [N*T, 2*D]
    from_query = _product_backward(calls, name + ".query", saved[name + ".last"], by_query, WIDTH, w, g)
    from_kv = _product_backward(calls, name + ".keyvalue", saved[name], kv, WIDTH, w, g)
    result: Floats = calls(name + ".input", lists.add, from_kv, calls.copy(lists.at_last, from_query, WIDTH, POSITIONS))
    return result


def _ffn(calls: _Calls, x: Floats, w: _Named, saved: _Named) -> Floats:
    """silu(x w1 + b1) w2 + b2 with silu(h) = h / (1 + exp(-h)), for x [N, D]."""
    name = "block0.ffn"
    hidden = calls(name + ".hidden", lists.affine, x, w[name + ".w1"], w[name + ".b1"])
    negative = calls(name + ".negative", lists.negative, hidden)
    exponentials = calls(name + ".exp", lists.exp, negative)
    active = calls(name + ".active", lists.silu, hidden, exponentials)
    saved.update({name: x, name + ".hidden": hidden, name + ".exp": exponentials, name + ".active": active})
    output: Floats = calls(name + ".output", lists.affine, active, w[name + ".w2"], w[name + ".b2"])
    return output


def _ffn_backward(calls: _Calls, back: Floats, w: _Named, saved: _Named, g: _Named) -> Floats:
    name = "block0.ffn"
    g[name + ".b2"] = calls(name + ".b2", lists.column_sums, back, WIDTH)
    back = _product_backward(calls, name + ".w2", saved[name + ".active"], back, HIDDEN, w, g, name + ".active")
    back = calls(name + ".hidden", lists.silu_gradient, back, saved[name + ".hidden"], saved[name + ".exp"])
    g[name + ".b1"] = calls(name + ".b1", lists.column_sums, back, HIDDEN)
    return _product_backward(calls, name + ".w1", saved[name], back, WIDTH, w, g, name + ".input")


def _cross_entropy(calls: _Calls, logits: Floats, answers: Floats, saved: _Named) -> float:
    """The mean over the sentences of -log softmax(logits)[answer]."""
    shifted = calls("shifted", lists.scale_shift, logits, 1.0, MODULUS)
    exponentials = saved["loss.exp"] = calls("exp", lists.exp, shifted)
    total = saved["loss.total"] = calls("total", lists.row_sums, exponentials, MODULUS)
    logarithms = calls("log", lists.log, total)
    asked = calls.copy(lambda xs: [x for x, answer in zip(xs, answers) if answer], shifted)
    each = calls("surprise", lists.surprise, logarithms, asked)
    loss: float = calls("loss", lists.mean, each)
    return loss


def _adam(calls: _Calls, state: _State, gradient: Floats, number: int) -> _State:
    """Adam's step `number` (from 1) on the flat vector of all parameters. Powers of beta are products, because `**` is
    libm's."""
    left1 = left2 = 1.0
    for _ in range(number):
        left1, left2 = left1 * BETA1, left2 * BETA2
    first = calls("first_moment", lists.first_moment, state.first_moment, gradient, BETA1)
    second = calls("second_moment", lists.second_moment, state.second_moment, gradient, BETA2)
    unbiased = calls("unbiased", lists.divide_all, second, 1.0 - left2)
    roots = calls("roots", lists.sqrt, unbiased)
    weights = calls("weights", lists.adam, state.weights, first, roots, RATE / (1.0 - left1), ADAM_EPSILON)
    return _State(weights, first, second)
