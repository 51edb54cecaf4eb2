"""Labels in ranges: as Slurm writes them, and nothing lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render.pages.ranges import folded


def unfolded(text: str) -> list[str]:
    """What a node list stands for, by its definition."""
    match = re.fullmatch(r"([^\[\]]*)\[([\d,-]+)\]([^\[\]]*)", text)
    if not match:
        return [text]
    prefix, runs, suffix = match.groups()
    found = []
    for run in runs.split(","):
        first, _, last = run.partition("-")
        width = len(first) if first.startswith("0") else 0
        found += [f"{prefix}{n:0{width}d}{suffix}" for n in range(int(first), int(last or first) + 1)]
    return found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["gpu001", "gpu002", "gpu003", "gpu119"], ["gpu[001-003,119]"]),
        (["n9", "n10", "n11"], ["n[9-11]"]),
        (["n099", "n100", "n1000"], ["n[099-100]", "n1000"]),
        (["rack1-node7-ib0", "rack1-node8-ib0"], ["rack1-node[7-8]-ib0"]),
        (["r1n1", "r1n2", "r2n1"], ["r1n[1-2]", "r2n1"]),
        (["old", "new", "old"], ["old", "new"]),
        (["7", "8"], ["[7-8]"]),
        (["a[1]", "a[2]", "x,1", "x,2"], ["a[1]", "a[2]", "x,1", "x,2"]),
        (["m-" + "9" * 30, "m-" + "8" * 30], ["m-" + "9" * 30, "m-" + "8" * 30]),
        ([], []),
    ],
    ids=str,
)
def test_labels_that_differ_in_one_number_are_one_range(labels: list[str], expected: list[str]) -> None:
    assert folded(labels) == expected


def test_a_range_of_many_runs_is_cut_and_says_how_many_labels_follow() -> None:
    assert folded([f"n{i}" for i in range(0, 100, 2)], most=3) == ["n[0,2,4,... 47 more]"]


NAMES = st.from_regex(r"(n|gpu|r1-)(0{0,2}[0-9]{1,3})(-ib[01])?", fullmatch=True)


@given(st.lists(NAMES | st.text(max_size=6), max_size=40))
def test_nothing_is_lost_and_nothing_invented(labels: list[str]) -> None:
    found = [label for text in folded(labels) for label in ([text] if text in labels else unfolded(text))]
    assert sorted(found) == sorted(set(labels))
