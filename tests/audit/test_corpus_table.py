"""The corpus: what is wrong in an answer is found, the table is made, and a small part of it is really recorded.

The whole corpus takes a quarter of an hour: `python3 develop.py corpus`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.inputs import sides
from fixtures import corpus, environments, parts, record
from fixtures.corpus import Checked, Pair
from fixtures.parts import Answer, Built

# -- what is wrong is found -------------------------------------------------------------------------------------------


def said(name: str) -> list[Measured]:
    there = [str(record.MACHINES / f"{one}.json.gz") for one in ("host", name)]
    return [side.whole() for side in sides(there).sides]


KERNEL = "variables.OPENBLAS_CORETYPE"


@pytest.mark.parametrize(
    ("required", "roots", "wrong"),
    [
        ({"blas"}, {"blas": {KERNEL}}, ""),
        (set(), {"blas": {KERNEL}, "numpy": {"cpu.model"}}, ""),
        ({"blas"}, {"blas": {KERNEL, "cpu.model"}}, ""),
        (
            {"blas"},
            {"blas": {"blas.threads"}},
            "expected blas by blas.threads; said variables.OPENBLAS_CORETYPE for blas",
        ),
        ({"numpy"}, {"blas": {KERNEL}, "numpy": {KERNEL}}, f"expected (blas)+numpy by {KERNEL}; said blas"),
        ({"numpy"}, {"numpy": {KERNEL}}, f"expected numpy by {KERNEL}; said blas"),
        (set(), {}, f"expected the same bits; said diverged {KERNEL} for blas"),
    ],
)
def test_a_wrong_answer_is_told_from_a_right_one(required: set[str], roots: dict[str, set[str]], wrong: str) -> None:
    expected = Answer(frozenset(required), {name: frozenset(those) for name, those in roots.items()})
    assert corpus.misjudged(expected, compare(said("host~blas=variables.OPENBLAS_CORETYPE"))) == wrong


def test_agreement_is_right_only_where_it_is_expected() -> None:
    same = compare(said("host~none~elsewhere"))
    assert corpus.misjudged(Answer(frozenset(), {}), same) == ""
    expected = Answer(frozenset({"blas"}), {"blas": frozenset({KERNEL})})
    assert corpus.misjudged(expected, same) == f"expected blas by {KERNEL}; said identical"


# -- the table --------------------------------------------------------------------------------------------------------


def test_hold_outs_are_counted_apart_and_every_miss_is_named() -> None:
    held_out = Built("c", parts.CPUS, held_out=True)
    a, b = Built("a", parts.NOTHING), Built("b", parts.ALONE)
    checked = [
        Checked(Pair(a, b, parts.ALONE), "", proven=True),
        Checked(Pair(a, a, corpus.AGREE), ""),
        Checked(Pair(a, held_out, parts.CPUS), "expected blas; said nothing"),
        Checked(Pair(b, held_out, corpus.ACROSS), "", proven=False),
    ]
    assert corpus.summary(checked, {"d": "no qemu", "e": "no qemu"}) == (
        "| what differs | right | proven here |\n"
        "| --- | ---: | ---: |\n"
        "| settings alone | 1 of 1 | 1 of 1 |\n"
        "| machines with the same bits | 1 of 1 |  |\n"
        "| *all development pairs* | 2 of 2 | 1 of 1 |\n"
        "| **hold-out: machines not used in development** | | |\n"
        "| emulated CPUs | 0 of 1 |  |\n"
        "| one of these machines and another | 1 of 1 | 0 of 1 |\n"
        "| *all hold-out pairs* | 1 of 2 | 0 of 1 |\n"
        "\n"
        "Misses among hold-outs:\n"
        "\n"
        "- a ~ c: expected blas; said nothing\n"
        "- b ~ c: not reproduced\n"
        "\n"
        "Machines left out:\n"
        "\n"
        "- no qemu: d, e"
    )


def test_a_name_that_is_no_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        corpus.main(["base", "nosuch"])
    assert refused.value.code == 2
    assert "no machine 'nosuch'" in capsys.readouterr().err


def test_a_machine_that_cannot_be_recorded_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Built("broken", parts.CPUS, (parts.Part("x", "cpu.model", {}, via="false"),))
    monkeypatch.setattr(environments, "numpy", lambda version: "/nonexistent/python")
    assert corpus.record_all([broken], tmp_path, ["none"], again=False) == {"broken": "audit run ended with status 2"}


REAL = ["base", "kernel-Haswell", "simd-V3", "kernel-Haswell+simd-V3"]


def test_a_small_corpus_is_recorded_once_and_all_of_it_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On this very machine: two settings, and both together."""
    if parts.level() < 4:
        pytest.skip("this CPU has no AVX-512")
    arguments = [*REAL, "--folder", str(tmp_path), "--job", "operators"]
    assert corpus.main(arguments) == 0
    done = capsys.readouterr()
    assert done.err.count(" recorded, ") == len(REAL)
    assert done.out == (
        "| what differs | right | proven here |\n"
        "| --- | ---: | ---: |\n"
        "| settings alone | 3 of 3 |  |\n"
        "| pairs of settings | 1 of 1 |  |\n"
        "| *all development pairs* | 4 of 4 |  |\n"
    )
    assert corpus.main(arguments) == 0
    again = capsys.readouterr()
    assert again.err.count(" recorded, ") == 0
    assert again.out == done.out
