"""The jax job: gradients of the whole model, and what settings move."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_traces import Record, elsewhere, origins, rows

from fixtures import environments

pytestmark = pytest.mark.torch

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def child(**variables: str) -> Record:
    record, outcome = elsewhere(environments.frameworks(), "job_traces.py", "jax", "run", **{"NPROC": "2", **variables})
    assert outcome["learned"], variables
    found: Record = record
    return found


@pytest.fixture(scope="module")
def here() -> Record:
    return child()


def test_gradients_are_those_of_the_whole_model() -> None:
    """What jax.grad gives for the model as a person writes it, compiled as one executable: near, as XLA fuses more."""
    found = elsewhere(environments.frameworks(), "whole_model.py")
    assert len(found) == 15
    for name, (largest, apart) in found.items():
        assert largest > 0.02, name
        assert apart < 1e-6, name


@pytest.mark.skipif("fma" not in CPU, reason="this CPU has no FMA to do without")
def test_instructions_move_the_first_row_that_they_decide(here: Record) -> None:
    moved = origins(here, child(XLA_FLAGS="--xla_cpu_max_isa=AVX"))
    assert moved == [(0, "forward", "stem.gelu")]
    assert next(row for row, _ in rows(here, 0) if row["tensor"] == "stem.gelu")["components"] == ["xla"]


def test_avx2_code_gives_what_avx512_code_gives(here: Record) -> None:
    """XLA prefers short vectors and both have FMA; its library of kernels asks the processor, not the flag."""
    assert child(XLA_FLAGS="--xla_cpu_max_isa=AVX2") == here


def test_threads_move_a_convolutions_gradient_at_most(here: Record) -> None:
    """How its sum is divided goes by the processor's caches, too: on some it is one share at this size."""
    assert origins(here, child(NPROC="1")) in ([], [(0, "backward", "stem.weight")])


def test_words_of_64_bits_move_the_update(here: Record) -> None:
    """Adam's factors are Python's floats, which JAX then takes as they are."""
    assert origins(here, child(JAX_ENABLE_X64="1")) == [(0, "update", "weights")]


def test_first_weights_are_pinned(here: Record) -> None:
    weights = next(digest for row, digest in rows(here, 0) if row["tensor"] == "weights" and row["phase"] == "data")
    assert weights.hex() == "17aca9caee7c31d8"
