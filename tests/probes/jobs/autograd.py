"""Run by an interpreter that has torch: the torch job's first step by its own calls, and by autograd and the optimizer.

Prints {parameter: [digest of the job's gradient, of autograd's]}, and the same of all weights after the update.
"""

from __future__ import annotations

import json

import torch
from torch.nn import functional

from probes.digest import tensor
from probes.jobs import torch as job
from probes.jobs import transformer
from probes.trace import Trace


def loss(w: dict[str, torch.Tensor], tokens: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """The model as a person writes it."""
    n, t, d, h = transformer.SENTENCES, transformer.POSITIONS, transformer.WIDTH, transformer.HEADS
    x = functional.embedding(tokens, w["embed.token"]) + w["embed.position"]
    x = functional.conv1d(x.transpose(1, 2), w["stem.weight"], w["stem.bias"], padding=transformer.KERNEL // 2)
    x = functional.gelu(x).transpose(1, 2)
    normed = functional.layer_norm(x, (d,), w["block0.attention.norm"])
    q = functional.linear(normed[:, -1:], w["block0.attention.query"]).view(n, 1, h, -1).transpose(1, 2)
    k, v = functional.linear(normed, w["block0.attention.keyvalue"]).view(n, t, 2, h, -1).permute(2, 0, 3, 1, 4)
    shares = (q @ k.transpose(2, 3) * transformer.SCALE).softmax(-1)
    mixed = (shares @ v).transpose(1, 2).reshape(n, d)
    asked = x[:, -1] + functional.linear(mixed, w["block0.attention.output"])
    normed = functional.layer_norm(asked, (d,), w["block0.ffn.norm"])
    active = functional.silu(functional.linear(normed, w["block0.ffn.w1"], w["block0.ffn.b1"]))
    asked = asked + functional.linear(active, w["block0.ffn.w2"], w["block0.ffn.b2"])
    normed = functional.layer_norm(asked, (d,), w["head.norm"])
    return functional.cross_entropy(functional.linear(normed, w["head.unembed"]), answers)


def main() -> None:
    tokens, answers = (torch.from_numpy(array) for array in transformer.sentences())
    flat = torch.from_numpy(transformer.first_weights(transformer.PARAMETERS, "transformer"))
    trace = Trace()
    trace.begin_step()
    calls = job._Calls(trace, "cpu")
    w = transformer.cut(flat, transformer.PARAMETERS, calls.moved)
    saved: dict[str, torch.Tensor] = {}
    nothing = torch.zeros_like(flat)
    with torch.no_grad():
        job._loss(calls, job._forward(calls, w, tokens, saved), answers, saved)
        mine = job._backward(calls, w, tokens, answers, saved)
        gradient = torch.cat([mine[name].reshape(-1) for name in w])
        state = job._adam(calls, transformer.State(flat, nothing, nothing), gradient, 1)

    theirs = {name: part.clone().requires_grad_() for name, part in w.items()}
    loss(theirs, tokens, answers).backward()
    whole = flat.clone().requires_grad_()
    whole.grad = gradient
    betas = (transformer.BETA1, transformer.BETA2)
    torch.optim.Adam([whole], transformer.RATE, betas, transformer.ADAM_EPSILON, foreach=False).step()

    pairs = {name: (mine[name], theirs[name].grad) for name in w}
    pairs["update"] = (state.weights, whole)
    print(json.dumps({name: [tensor(part).digest().hex() for part in pair] for name, pair in pairs.items()}))


if __name__ == "__main__":
    main()
