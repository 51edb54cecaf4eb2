"""The states of numpy's generators: which of them are rows, and what they do not change."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from probes.digest import tensor
from tests.probes.program.conftest import Program

TEXT = """
import copy, gc, pickle
import numpy
import audit
SEED
ours = numpy.random.default_rng(5)
for kind in (numpy.random.MT19937, numpy.random.SFC64, numpy.random.Philox):
    others = globals().setdefault("others", [])
    others.append(numpy.random.default_rng(kind(3)))
entropy = numpy.random.default_rng()
same = numpy.random.default_rng(ours)
assert same is ours
gone = numpy.random.default_rng(1)
del gone
for step in range(3):
    audit.record("drawn", ours.normal(size=3), step=step)
    if step == 1:
        del others[0]
print(ours.normal(), numpy.random.default_rng.__name__, numpy.random.seed.__name__)
"""


def text(seed: str) -> str:
    return TEXT.replace("SEED", seed)


def test_seeded_generators_are_rows_and_what_begins_with_entropy_is_not(program: Program) -> None:
    ran = program(text("numpy.random.seed(11)"))
    assert ran.done.stderr == ""
    alone = subprocess.run(
        [sys.executable, "-c", text("").replace("import audit", "class audit: record = lambda *told, step: None")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert alone.stdout.endswith(ran.done.stdout)
    four = [f"generator.numpy.{number}" for number in range(4)]
    assert ran.names(0, "data") == ["generator.numpy", *four]
    assert ran.names(2, "data") == ["generator.numpy", four[0], *four[2:]]
    assert ran.collected.facts["program.seeds"]["value"] == {"numpy": 11}
    np.random.seed(11)
    state = np.random.get_state(legacy=False)["state"]
    wanted = tensor([int(state["pos"]), *state["key"].tolist()]).digest().hex()
    assert {ran.digest(step, "data", "generator.numpy") for step in range(3)} == {wanted}
    states = [ran.digest(step, "data", "generator.numpy.0") for step in range(3)]
    assert len(set(states)) == 3
    assert len({ran.digest(step, "data", "generator.numpy.2") for step in range(3)}) == 1
    again = program(text("numpy.random.seed(11)"))
    assert [ran.rows(step) for step in range(3)] == [again.rows(step) for step in range(3)]


def test_an_unseeded_global_generator_is_no_row(program: Program) -> None:
    for seed in ("", "numpy.random.seed(1)\nnumpy.random.seed()"):
        ran = program(text(seed))
        assert "generator.numpy" not in ran.names(0)
        assert "program.seeds" not in ran.collected.facts


def test_no_more_than_a_few_are_kept(program: Program) -> None:
    many = "kept = [numpy.random.default_rng(seed) for seed in range(30)]"
    assert len(program(text(many)).names(0, "data")) == 8
