"""The catalogue finds a fact's row, and what it decides."""

from __future__ import annotations

import pytest

from reports.catalogue import Catalogue, catalogue


@pytest.fixture
def rows() -> Catalogue:
    return catalogue()


def test_every_family_is_found_by_its_members(rows: Catalogue) -> None:
    for row in rows.rows:
        for member in ("one", "two.parts", "0", "\x1b\n"):
            found = rows.find(row.fact.replace("*", member))
            assert found is not None
            assert found == (row, member if "*" in row.fact else "") or found[0].fact > row.fact


def test_the_most_particular_family_counts(rows: Catalogue) -> None:
    assert [
        found and found[0].fact for found in map(rows.find, ("libraries.numpy.a.build_id", "libraries.a.build_id"))
    ] == [
        "libraries.numpy.*.build_id",
        "libraries.*.build_id",
    ]


@pytest.mark.parametrize(
    "fact", ["", ".", "packages..version", "packages.version", "packages.a.colour", "x.packages.a.version"]
)
def test_what_is_no_fact_is_not_found(rows: Catalogue, fact: str) -> None:
    assert rows.find(fact) is None
    assert rows.row(fact) is None
    assert list(rows.deciders(fact)) == []
    assert rows.decided(fact) == []


def test_what_decides_a_member_is_of_that_member(rows: Catalogue) -> None:
    edges = [edge.fact for edge in rows.deciders("packages.numpy.record")]
    assert edges
    assert all("*" not in edge for edge in edges)


def test_what_a_fact_decides_is_followed_to_its_end(rows: Catalogue) -> None:
    below = rows.decided("cpu.flags")
    for fact in below:
        assert set(rows.decided(fact)) <= set(below)
    assert all(row and row.components for row in map(rows.row, below))
