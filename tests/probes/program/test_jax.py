"""Steps of programs that train with JAX: exact rows, and the program's own bits untouched."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

import probes
from fixtures.environments import frameworks
from probes.program import lay
from tests.probes.program.conftest import Program, Ran

pytestmark = pytest.mark.torch

TELLS = """
import json, sys
import numpy
sys.path.insert(0, {root!r})
from probes.device_digest import digests_numpy
told = {{}}
def tell(name, tree):
    import jax
    told[name] = [one.hex() for one in digests_numpy(map(numpy.asarray, jax.tree_util.tree_leaves(tree)))]
"""
"""The program digests its own arrays by hand, with the code of this tree."""


def by_hand(program: Program, text: str) -> tuple[Ran, dict[str, list[str]]]:
    """A run of a program that calls `tell`, and what it told."""
    whole = TELLS.format(root=str(Path(probes.__file__).parent.parent)) + dedent(text)
    ran = program(whole + "\nprint(json.dumps(told))\n", interpreter=frameworks())
    assert ran.done.returncode == 0, ran.done.stderr
    return ran, json.loads(ran.done.stdout)


PLAIN = """
    import jax, jax.numpy as jnp

    def loss_of(params, x, y):
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)

    @jax.jit
    def train_step(params, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, gradients), loss

    @jax.jit
    def accuracy(params, x, y):
        return (abs(x @ params["w"] + params["b"] - y) < 0.5).mean()

    key = jax.random.PRNGKey(0)
    x = jax.random.normal(key, (16, 4))
    y = x.sum(1)
    params = {"w": jnp.zeros(4), "b": jnp.zeros(())}
    tell("batch", [x, y])
    tell("initial", params)
    for step in range(3):
        params, loss = train_step(params, x, y)
        tell(f"weights{step}", params)
        tell(f"loss{step}", loss)
    good = accuracy(params, x, y)
    tell("accuracy", good)
    params, loss = train_step(params, x, y)
"""

WEIGHTS = ["weight:b", "weight:w"]  # of a dictionary, JAX takes the keys in their order


def test_every_row_of_a_compiled_loop_is_what_the_program_has_there(program: Program) -> None:
    ran, told = by_hand(program, PLAIN)
    assert ran.done.stderr == ""
    assert ran.job()["trace"]["steps"] == 4
    assert [ran.digest(0, "data", one) for one in WEIGHTS] == told["initial"]
    assert [ran.digest(0, "data", f"batch.{place}") for place in (1, 2)] == told["batch"]
    for step in range(3):
        assert [ran.digest(step, "update", one) for one in WEIGHTS] == told[f"weights{step}"]
        assert [ran.digest(step, "loss", "loss")] == told[f"loss{step}"]
    assert ran.names(0, "data") == [*WEIGHTS, "batch.1", "batch.2"]
    assert ran.names(1) == ["arguments", "loss", *WEIGHTS]  # the arrays themselves are those of the step before
    assert ran.inputs(1, "forward", "arguments") == [f"before {one}" for one in (*WEIGHTS, "batch.1", "batch.2")]
    assert ran.inputs(1, "loss", "loss") == ran.inputs(1, "update", "weight:w") == ["arguments"]
    (row,) = [row for row, _ in ran.rows(0) if row["tensor"] == "weight:w" and row["phase"] == "update"]
    assert row["operator"] == "jit train_step"
    # What carries no state and gives nothing to what does is an evaluation, of the step before it.
    assert [ran.digest(2, "evaluation", "evaluation.output")] == told["accuracy"]
    assert len(ran.job()["outcome"]["losses"]) == 4
    facts = {name: fact["value"] for name, fact in ran.collected.facts.items()}
    assert facts["program.precision"] == {"parameters": ["f4"], "autocast": None}
    assert facts["program.batch"] == {"1": [16, 4], "2": [16]}


GRADIENTS = """
    import jax, jax.numpy as jnp, optax

    def loss_of(params, x):
        return ((x @ params) ** 2).sum()

    optimizer = optax.adam(1e-2)
    x, params = jnp.arange(12.0).reshape(3, 4), jnp.ones(4)
    state = optimizer.init(params)
    for step in range(3):
        loss, gradients = jax.value_and_grad(loss_of)(params, x)
        tell(f"gradients{step}", gradients)
        updates, state = optimizer.update(gradients, state)
        params = optax.apply_updates(params, updates)
        tell(f"weights{step}", params)
"""


def test_gradients_are_rows_where_the_program_takes_them_itself(program: Program) -> None:
    ran, told = by_hand(program, GRADIENTS)
    assert ran.job()["trace"]["steps"] == 3
    for step in range(3):
        rows = ran.rows(step)
        assert told[f"weights{step}"] == [digest for row, digest in rows if row["phase"] == "update"]
        assert told[f"gradients{step}"][0] in [digest for row, digest in rows if row["phase"] == "forward"]
        assert [row["operator"] for row, _ in rows if row["phase"] == "loss"] == ["value_and_grad loss_of"]


DONATED = """
    import functools, jax, jax.numpy as jnp

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(state, key, x):
        noise = jax.random.normal(key, x.shape)
        gradient = jax.grad(lambda w: ((x + noise) @ w).sum())(state["w"])
        return {"w": state["w"] - 0.1 * gradient, "count": state["count"] + 1}, {"norm": (gradient ** 2).sum()}

    state = {"w": jnp.ones(3), "count": 0}
    key = jax.random.key(7)
    for step in range(3):
        key, of_step = jax.random.split(key)
        state, metrics = train_step(state, of_step, jnp.ones((2, 3)))
        tell(f"state{step}", state)
"""


def test_memory_that_a_call_takes_over_keys_and_decorators_with_options(program: Program) -> None:
    ran, told = by_hand(program, DONATED)
    assert ran.done.stderr == ""
    assert ran.job()["trace"]["steps"] == 3
    for step in range(3):
        assert [ran.digest(step, "update", f"weight:{one}") for one in ("count", "w")] == told[f"state{step}"]
    keys = {ran.digest(step, "data", "batch.1") for step in range(3)}
    assert len(keys) == 3  # another key every step: its bits are those of its data


FLAX = """
    import flax.linen as nn, jax, jax.numpy as jnp, optax
    from flax.training.train_state import TrainState

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.relu(nn.Dense(8)(x)))

    x = jax.random.normal(jax.random.key(1), (32, 4))
    y = (x.sum(1) > 0).astype(int)
    model = Model()
    params = model.init(jax.random.key(0), x)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.sgd(0.1, momentum=0.9))

    @jax.jit
    def train_step(state, x, y):
        def loss_of(params):
            logits = state.apply_fn({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        return state.apply_gradients(grads=gradients), loss

    for step in range(4):
        state, loss = train_step(state, x, y)
        tell(f"weights{step}", state.params)
"""


def test_a_train_state_of_flax(program: Program) -> None:
    ran, told = by_hand(program, FLAX)
    assert ran.done.stderr == ""
    assert ran.job()["trace"]["steps"] == 4
    names = [f"weight:params.Dense_{layer}.{part}" for layer in (0, 1) for part in ("bias", "kernel")]
    for step in range(4):
        assert [ran.digest(step, "update", one) for one in names] == told[f"weights{step}"]
    first = program(
        (ran.folder.parent / "work" / "prog.py").read_text(), interpreter=frameworks(), wanted=lay.Wanted(steps=1)
    )
    assert (first.done.returncode, first.done.stderr, first.collected.notes) == (0, "", ran.collected.notes)
    assert first.rows(0) == ran.rows(0)
    assert first.job()["trace"]["steps"] == 1


@pytest.mark.parametrize("text", [GRADIENTS, DONATED], ids=["gradients", "donated"])
def test_a_recorded_program_computes_what_it_computes_alone(program: Program, text: str) -> None:
    asleep = "import sys\nsys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != '_Waker']\n"
    tells = TELLS.format(root=str(Path(probes.__file__).parent.parent))
    whole = tells + dedent(text) + "\nprint(json.dumps(told))\n"
    recorded, alone = program(whole, interpreter=frameworks()), program(asleep + whole, interpreter=frameworks())
    assert recorded.done.stdout == alone.done.stdout != ""
    assert (len(recorded.collected.jobs), alone.collected.jobs) == (1, [])


def test_two_runs_are_equal_and_other_data_are_seen_in_the_data(program: Program) -> None:
    text = TELLS.format(root=str(Path(probes.__file__).parent.parent)) + dedent(PLAIN)
    other = text.replace("PRNGKey(0)", "PRNGKey(1)")
    one, same, else_ = (program(words, interpreter=frameworks()).rows(0) for words in (text, text, other))
    assert one == same
    assert one[0] == else_[0]  # the weights
    parted = [row["tensor"] for (row, digest), (_, its) in zip(one, else_, strict=True) if digest != its]
    assert parted[0] == "batch.1"
