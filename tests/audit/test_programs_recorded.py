"""A real program, recorded under real settings (`fixtures/record_programs.py`): every file's name is its expected
answer, and every answer is compared whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.inputs import sides
from reports import render
from reports.report import Facts

PROGRAMS = Path(__file__).parent.parent.parent / "fixtures" / "programs"
PAIRS = sorted(path.name.removesuffix(".json.gz") for path in PROGRAMS.glob("*~*.json.gz"))
"""Recordings of a real program under real settings: a file's name is its expected answer."""


def pair(name: str) -> list[Measured]:
    found = sides([f"{name.split('~')[0]}.json.gz", f"{name}.json.gz"]).sides
    return [side.whole() for side in found]


@pytest.mark.parametrize("name", PAIRS)
def test_where_a_real_program_parts_and_why_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROGRAMS)
    component, root = name.split("~")[1].split("=")
    comparison = compare(pair(name))
    found = comparison.results.first_divergence
    assert found
    assert (found.job, found.step, comparison.causes[0].root, comparison.exit) == ("program", 0, root, 1)
    assert component in found.components


@pytest.mark.parametrize("name", PAIRS)
def test_the_components_of_a_program_do_not_come_from_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROGRAMS)
    bare = [
        Measured(side.label, side.file, side.report, replace(side.target, facts=_without_variables(side)))
        for side in pair(name)
    ]
    found = compare(bare).results.first_divergence
    assert found
    assert name.split("~")[1].split("=")[0] in found.components


def test_two_makes_of_processors_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under what `reproduce` prints for both ("reproduce another make.txt"), an AMD and an emulated Intel agree."""
    monkeypatch.chdir(PROGRAMS)
    comparison = compare([side.whole() for side in sides(["meet-here.json.gz", "meet-there.json.gz"]).sides])
    assert (comparison.results.verdict, comparison.results.jobs[0].operators) == ("identical", True)
    assert {"cpu.model", "cpu.vendor", "mkl.branch"} <= {one.fact for one in comparison.environment.differences}


def _without_variables(side: Measured) -> Facts:
    return {name: fact for name, fact in side.target.facts.items() if not name.startswith("variables.")}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("format", "suffix"), [("terminal", "txt"), ("markdown", "md")])
def test_the_answer_about_a_real_program_is_the_golden_one(
    name: str, format: str, suffix: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROGRAMS)
    got = render.diff(compare(pair(name)), format)
    golden(f"program {name}.{suffix}", got)
    if format == "terminal":
        assert len(got.splitlines()) <= 25
        assert max(map(len, got.splitlines())) <= 100
