"""Run by an interpreter that has jax: the gradients of the jax job's first step, and those of the whole model.

Prints {parameter: [the largest element of its gradient, how far apart the two are]}.
"""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy

from probes.jobs import jax as job
from probes.jobs import transformer as t
from probes.trace import Trace


def norm(x: Any, gain: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / jax.numpy.sqrt(x.var(-1, keepdims=True) + t.NORM_EPSILON) * gain


def loss(w: dict[str, Any], tokens: Any, answers: Any) -> Any:
    """The model as a person writes it."""
    x = (w["embed.token"][tokens] + w["embed.position"]).transpose(0, 2, 1)
    x = jax.lax.conv_general_dilated(x, w["stem.weight"], (1,), "SAME") + w["stem.bias"][:, None]
    x = jax.nn.gelu(x, approximate=False).transpose(0, 2, 1)
    normed = norm(x, w["block0.attention.norm"])
    q = (normed[:, -1] @ w["block0.attention.query"].T).reshape(t.SENTENCES, t.HEADS, -1)
    kv = (normed @ w["block0.attention.keyvalue"].T).reshape(t.SENTENCES, t.POSITIONS, 2, t.HEADS, -1)
    shares = jax.nn.softmax(jax.numpy.einsum("nhc,nthc->nht", q, kv[:, :, 0]) * t.SCALE)
    mixed = jax.numpy.einsum("nht,nthc->nhc", shares, kv[:, :, 1]).reshape(t.SENTENCES, t.WIDTH)
    asked = x[:, -1] + mixed @ w["block0.attention.output"].T
    hidden = norm(asked, w["block0.ffn.norm"]) @ w["block0.ffn.w1"].T + w["block0.ffn.b1"]
    asked = asked + jax.nn.silu(hidden) @ w["block0.ffn.w2"].T + w["block0.ffn.b2"]
    logits = norm(asked, w["head.norm"]) @ w["head.unembed"].T
    return -jax.nn.log_softmax(logits)[jax.numpy.arange(t.SENTENCES), answers].mean()


def main() -> None:
    tokens, answers = t.sentences()
    trace = Trace()
    trace.begin_step()
    calls = job._Calls(trace, lambda: None)
    w = t.cut(t.first_weights(t.PARAMETERS, "transformer"), t.PARAMETERS, calls.moved)
    saved: dict[str, Any] = {}
    job._loss(calls, job._forward(calls, w, tokens, saved), answers, saved)
    mine = job._backward(calls, w, tokens, answers, saved)
    theirs = jax.jit(jax.grad(loss))(w, tokens, answers)
    print(
        json.dumps(
            {
                name: [float(numpy.abs(mine[name]).max()), float(numpy.abs(mine[name] - theirs[name]).max())]
                for name in w
            }
        )
    )


if __name__ == "__main__":
    main()
