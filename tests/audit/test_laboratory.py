"""The laboratory on this machine: what its children run under is in effect in the process that computes."""

from __future__ import annotations

import sys

import pytest

from audit.causes.laboratory import Given, Laboratory, Under, results
from audit.targets.prefix import PrefixTarget


def in_effect(given: Given, fact: str) -> object:
    assert given.side, given.died
    return given.side.fact(fact)


def test_a_call_gives_blas_more_threads_than_there_are_cpus() -> None:
    """What no variable does: OpenBLAS takes no more from its variable than there are CPUs."""
    laboratory = Laboratory(PrefixTarget([], sys.executable), lambda *_: None)
    usual = laboratory.measure(Under(), ())
    if in_effect(usual, "blas.implementation") != "openblas":
        pytest.skip("not OpenBLAS")
    cpus = in_effect(usual, "limits.affinity")
    assert isinstance(cpus, int)
    by_call = laboratory.measure(Under({"blas_threads": f"{cpus + 6}"}), ())
    by_variable = laboratory.measure(Under({"OPENBLAS_NUM_THREADS": f"{cpus + 6}"}), ())
    assert in_effect(by_call, "blas.threads") == cpus + 6
    assert in_effect(by_variable, "blas.threads") == cpus
    assert usual.side
    child = by_call.child(results(usual.side))
    assert (child.died, child.failed) == ("", {})
    assert {name.partition(".")[0] for name in child.changed} <= {"blas"}  # sums of many threads, and nothing else
