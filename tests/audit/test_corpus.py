"""The recorded machines: every fixture's name is its expected answer, and every answer is compared whole.

`pytest tests/audit/test_corpus.py --update-golden` writes the golden answers anew; then read the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.inputs import sides
from reports import codec, render
from reports.comparison import Comparison

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
PAIRS = sorted(path.name.removesuffix(".json.gz") for path in MACHINES.glob("*~*.json.gz"))


def expected(name: str) -> tuple[str, set[str], str | None]:
    """Base, components and root that a fixture's name says: `BASE~COMPONENTS=ROOT~HINT`."""
    base, answer = name.split("~")[:2]
    if answer == "none":
        return base, set(), None
    components, root = answer.split("=")
    return base, set(components.split("+")), root


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Measured]]:
    monkeypatch.chdir(MACHINES)  # file names without a folder, in answers and commands
    name: str = request.param
    found = sides([f"{expected(name)[0]}.json.gz", f"{name}.json.gz"]).sides
    return name, [side.whole() for side in found]


def answer(comparison: Comparison) -> tuple[set[str], set[str | None]]:
    components = {component for cause in comparison.causes for component in cause.components}
    return components, {cause.root for cause in comparison.causes}


def test_every_fixture_is_intact_and_small_enough() -> None:
    assert len(PAIRS) >= 12
    for path in MACHINES.glob("*.json.gz"):
        report, notes = codec.read(str(path))
        assert notes == []
        for target in report.targets:
            trace = sum(len(msgspec.json.encode(job.trace)) for job in target.jobs if job.trace)
            assert 100_000 < trace < 1_000_000, f"{path.name}: {trace} bytes of trace"


def test_the_cause_is_named(pair: tuple[str, list[Measured]]) -> None:
    name, measured = pair
    _, components, root = expected(name)
    comparison = compare(measured)
    if root is None:
        assert comparison.results.verdict == "identical"
        assert comparison.causes == []
        assert comparison.exit == 0
    else:
        assert answer(comparison) == (components, {root})
        assert comparison.results.verdict == "diverged"
        assert comparison.exit == 1


def test_the_components_do_not_come_from_variables(pair: tuple[str, list[Measured]]) -> None:
    name, measured = pair
    without = [
        Measured(
            side.label,
            side.file,
            side.report,
            msgspec.structs.replace(
                side.target,
                facts={fact: one for fact, one in side.target.facts.items() if not fact.startswith("variables.")},
            ),
        )
        for side in measured
    ]
    components, roots = answer(compare(without))
    assert components == expected(name)[1]
    assert not any(root and root.startswith("variables.") for root in roots)


def test_the_order_of_two_files_changes_nothing_but_the_order(pair: tuple[str, list[Measured]]) -> None:
    _, (a, b) = pair
    there, back = compare([a, b]), compare([b, a])
    assert answer(there) == answer(back)
    assert [one.operator for one in there.results.operators.differing] == [
        one.operator for one in back.results.operators.differing
    ]
    first, other = there.results.first_divergence, back.results.first_divergence
    assert (first and (first.job, first.step, first.tensor)) == (other and (other.job, other.step, other.tensor))


@pytest.mark.parametrize(("format", "suffix"), [("terminal", "txt"), ("markdown", "md")])
def test_the_answer_is_the_golden_one(
    pair: tuple[str, list[Measured]], format: str, suffix: str, golden: Callable[[str, str], None]
) -> None:
    name, measured = pair
    got = render.diff(compare(measured), format)
    golden(f"{name}.{suffix}", got)
    if format == "terminal":
        lines = got.rstrip("\n").split("\n")
        assert len(lines) <= 25
        assert lines[-1].startswith("Next")


def test_a_saved_comparison_is_rendered_again_as_it_was(pair: tuple[str, list[Measured]]) -> None:
    comparison = compare(pair[1])
    again = msgspec.json.decode(render.diff(comparison, "json"), type=Comparison)
    assert render.diff(again, "terminal", all=True) == render.diff(comparison, "terminal", all=True)
