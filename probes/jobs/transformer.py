"""What the torch job and the jax job train: the numpy job's transformer with a convolution stem; and the data and the
loop of all three. Nothing here computes with a framework, so they begin with equal bits and mean the same.

A sentence is "a b =", the answer is a + b modulo 13, and all 169 sentences are one batch. Tokens and positions are
embedded and added; a convolution over the positions with GELU is the stem (with one block, all three positions meet
there and again in the attention); then come LayerNorm, two-headed attention whose only query is the last position,
LayerNorm, a feed-forward layer with SiLU, LayerNorm and unembedding; then cross entropy and 60 steps of Adam.

Shapes: N = 169 sentences, T = 3 positions, D = 32 width, H = 2 heads of C = 16, F = 64 hidden, V = 13 answers, K = 3
positions under the convolution. Matrices stand as torch.nn.Linear has them, [out, in]; the parameters are one flat
vector, so that Adam is few calls.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .. import inputs
from . import PROGRESS_STEPS, Outcome, Progress

MODULUS = 13
SENTENCES = MODULUS * MODULUS
POSITIONS = 3
WIDTH = 32
HEADS = 2
CHANNELS = WIDTH // HEADS
SCALE = 0.25  # 1 / sqrt(CHANNELS)
HIDDEN = 64
KERNEL = 3
STEPS = 60
RATE = 7e-3
BETA1 = 0.9
BETA2 = 0.98
ADAM_EPSILON = 1e-8
NORM_EPSILON = 1e-5

Parameters = Tuple[Tuple[str, Tuple[int, ...], Optional[float]], ...]
"""Name, shape, and the bound of the uniform first values: a power of two, so that scaling is exact (None: all ones)."""

PARAMETERS: Parameters = (
    ("embed.token", (MODULUS + 1, WIDTH), 0.5),
    ("embed.position", (POSITIONS, WIDTH), 0.5),
    ("stem.weight", (WIDTH, WIDTH, KERNEL), 0.25),
    ("stem.bias", (WIDTH,), 0.0),
    ("block0.attention.norm", (WIDTH,), None),
    ("block0.attention.query", (WIDTH, WIDTH), 0.25),
    ("block0.attention.keyvalue", (2 * WIDTH, WIDTH), 0.25),
    ("block0.attention.output", (WIDTH, WIDTH), 0.25),
    ("block0.ffn.norm", (WIDTH,), None),
    ("block0.ffn.w1", (HIDDEN, WIDTH), 0.25),
    ("block0.ffn.b1", (HIDDEN,), 0.0),
    ("block0.ffn.w2", (WIDTH, HIDDEN), 0.25),
    ("block0.ffn.b2", (WIDTH,), 0.0),
    ("head.norm", (WIDTH,), None),
    ("head.unembed", (MODULUS, WIDTH), 0.25),
)

CONFIGURATION: Dict[str, Any] = {
    "task": "a + b modulo",
    "modulus": MODULUS,
    "width": WIDTH,
    "heads": HEADS,
    "hidden": HIDDEN,
    "kernel": KERNEL,
    "steps": STEPS,
    "rate": RATE,
    "betas": [BETA1, BETA2],
    "epsilons": [ADAM_EPSILON, NORM_EPSILON],
    "first_values": {name: bound for name, _, bound in PARAMETERS},
}

Array = Any


class State(NamedTuple):
    """What a step hands to the next: flat vectors of all parameters."""

    weights: Array
    first_moment: Array
    second_moment: Array


class Did(NamedTuple):
    """What a step gave."""

    state: State
    logits: Array  # [N, V]
    loss: Array


def sentences() -> Tuple[Array, Array]:
    """All sentences as tokens [N, T], and their answers [N]; numpy, int64."""
    import numpy

    pairs = [(a, b) for a in range(MODULUS) for b in range(MODULUS)]
    tokens = numpy.array([(a, b, MODULUS) for a, b in pairs], dtype=numpy.int64)
    return tokens, numpy.array([(a + b) % MODULUS for a, b in pairs], dtype=numpy.int64)


def first_weights(parameters: Parameters, stream: str) -> Array:
    """The flat vector of first values, of the streams `stream`.NAME; numpy, float32."""
    import numpy

    flat = []
    for name, shape, bound in parameters:
        count = int(numpy.prod(shape))
        ones = numpy.ones(count, dtype=numpy.float32)
        flat.append(ones if bound is None else inputs.array(stream + "." + name, count) * numpy.float32(bound))
    return numpy.concatenate(flat)


def cut(flat: Array, parameters: Parameters, moved: Callable[..., Array]) -> Dict[str, Array]:
    """The parameters by name, cut out of the flat vector."""
    parts, start = {}, 0
    for name, shape, _ in parameters:
        count = 1
        for length in shape:
            count *= length
        parts[name] = moved(flat[start : start + count].reshape(shape), flat)
        start += count
    return parts


def powers(number: int) -> Tuple[float, float]:
    """Adam's betas to the power `number`, as products: `**` is libm's."""
    left1 = left2 = 1.0
    for _ in range(number):
        left1, left2 = left1 * BETA1, left2 * BETA2
    return left1, left2


def train(
    trace: Any,
    progress: Progress,
    steps: int,
    batch: Tuple[Array, Array],
    weights: Array,
    step: Callable[..., Did],
    place: Callable[[Array], Array] = lambda array: array,
) -> Outcome:
    """Train with `step(trace, state, tokens, answers, number)`, number from 1, on arrays that `place` made of numpy's;
    every step is recorded. batch: tokens [N, T] and answers, [N] or one-hot [N, V]; weights: the first."""
    import numpy

    tokens, answers = map(place, batch)
    right = answers if len(answers.shape) == 1 else answers.argmax(1)
    state = State(place(weights), *(place(numpy.zeros_like(weights)) for _ in range(2)))
    losses: List[float] = []
    correct = 0
    for number in range(1, steps + 1):
        trace.begin_step()
        trace.phase("data")
        trace.constant("tokens", tokens)
        trace.constant("answers", answers)
        for name in State._fields:
            trace.constant(name, getattr(state, name))
        state, logits, loss = step(trace, state, tokens, answers, number)
        losses.append(float(loss))
        correct = int((logits.argmax(1) == right).sum())
        if number % PROGRESS_STEPS == 0:
            progress(number, steps)
    return {
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "losses": losses,
        "correct": correct,
        "examples": SENTENCES,
        "learned": losses[-1] < 0.05 and correct == SENTENCES,
    }
