"""Who agrees with whom: groups against their definition, and that the order of files changes nothing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare.engine import compare
from audit.compare.groups import by_job, groups
from audit.compare.side import Measured
from reports.comparison import Comparison
from reports.report import Auditor, Battery, Fact, Job, Observation, Operator, Repeat, Report, Target, Trace

Made = tuple[dict[str, str], dict[str, str | None], dict[str, str]]
"""Operators and jobs of a side by name with their digests (None: not repeated), and its facts."""


def side(label: str, made: Made) -> Measured:
    operators, jobs, facts = made
    target = Target(
        "host",
        facts={name: Fact(value) for name, value in facts.items()},
        battery=Battery(
            runs=2,
            operators=[Operator(name, "libm", result=Observation(digest)) for name, digest in operators.items()],
        ),
        jobs=[
            Job(name, runs=2, trace=Trace(digest=digest or "0" * 8), repeats=[Repeat(digest or "f" * 8)])
            for name, digest in jobs.items()
        ],
    )
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target)


DIGEST = st.sampled_from(["aaaaaaaa", "bbbbbbbb"])
OPERATORS = ["libm.exp", "libm.log", "libm.sin"]
FULL: st.SearchStrategy[Made] = st.tuples(
    st.fixed_dictionaries(dict.fromkeys(OPERATORS, DIGEST)),
    st.fixed_dictionaries({"numpy": DIGEST}),
    st.fixed_dictionaries({"cpu.model": DIGEST, "libc.version": DIGEST}, optional={"libm.build_id": DIGEST}),
)
PARTIAL: st.SearchStrategy[Made] = st.tuples(
    st.dictionaries(st.sampled_from(OPERATORS), DIGEST),
    st.dictionaries(st.sampled_from(["numpy", "python"]), st.none() | DIGEST, max_size=2),
    st.fixed_dictionaries({"cpu.model": DIGEST}, optional={"libc.version": DIGEST}),
)


def sides(made: list[Made]) -> list[Measured]:
    return [side(f"n{number}", one) for number, one in enumerate(made)]


def grouped(measured: list[Measured]) -> list[list[str]]:
    return [[measured[n].label for n in group] for group in groups([one.outline for one in measured])]


@given(st.lists(FULL, min_size=1, max_size=8))
def test_what_measured_the_same_things_is_grouped_as_pairs_agree(made: list[Made]) -> None:
    found = grouped(sides(made))
    assert sorted(label for group in found for label in group) == sorted(f"n{n}" for n in range(len(made)))
    group_of = {label: number for number, group in enumerate(found) for label in group}
    for a, mine in enumerate(made):
        for b, its in enumerate(made):
            assert (group_of[f"n{a}"] == group_of[f"n{b}"]) == (mine[:2] == its[:2])


@settings(max_examples=400)
@given(st.lists(PARTIAL, min_size=1, max_size=8))
def test_members_of_a_group_agree_pairwise_in_all_that_both_measured(made: list[Made]) -> None:
    measured = sides(made)
    settled = {one.label: one.outline.settled for one in measured}
    if not any(one.runs for one in measured):
        return
    found = grouped(measured)
    for group in found:
        for a in group:
            for b in group:
                common = settled[a].keys() & settled[b].keys()
                assert all(settled[a][name] == settled[b][name] for name in common)
                assert len(group) == 1 or settled[a]
    # ... and nobody stands apart who could have joined the largest group that holds all he measured.
    for label, mine in settled.items():
        own = next((group for group in found if label in group), None)
        if own is not None and len(own) == 1 and mine:
            others = [settled[other] for group in found if group != own for other in group]
            assert not any(mine.items() <= other.items() for other in others)


@given(st.lists(PARTIAL | FULL, min_size=2, max_size=7), st.randoms(use_true_random=False))
def test_the_order_of_sides_does_not_change_the_groups(made: list[Made], shuffle: random.Random) -> None:
    measured = sides(made)
    shuffled = list(measured)
    shuffle.shuffle(shuffled)
    assert {frozenset(one) for one in grouped(measured)} == {frozenset(one) for one in grouped(shuffled)}


def test_the_largest_group_is_first_and_ties_go_to_the_first_file() -> None:
    one: Made = ({"libm.exp": "aaaaaaaa"}, {}, {})
    two: Made = ({"libm.exp": "bbbbbbbb"}, {}, {})
    assert grouped(sides([one, two, two])) == [["n1", "n2"], ["n0"]]
    assert grouped(sides([two, one, two, one])) == [["n0", "n2"], ["n1", "n3"]]


def test_what_measured_less_joins_the_larger_group_and_never_merges_two() -> None:
    less: Made = ({"libm.exp": "aaaaaaaa"}, {}, {})
    here: Made = ({"libm.exp": "aaaaaaaa", "libm.log": "aaaaaaaa"}, {}, {})
    there: Made = ({"libm.exp": "aaaaaaaa", "libm.log": "bbbbbbbb"}, {}, {})
    assert grouped(sides([less, here, there, there])) == [["n0", "n2", "n3"], ["n1"]]


def test_what_repeats_nothing_agrees_with_nobody() -> None:
    shaky: Made = ({}, {"numpy": None}, {})
    steady: Made = ({}, {"numpy": "aaaaaaaa"}, {})
    measured = sides([shaky, steady, shaky, steady])
    assert grouped(measured) == [["n1", "n3"], ["n0"], ["n2"]]
    assert by_job([one.outline for one in measured], "numpy") == [[1, 3], [0], [2]]


def test_thousands_of_different_sides_are_grouped_in_linear_time() -> None:
    """Each against each would be two million comparisons of 200 digests."""
    made: list[Made] = [({f"libm.op{n}": f"{number:08x}" for n in range(200)}, {}, {}) for number in range(2000)]
    assert len(groups([one.outline for one in sides(made)])) == 2000


def said(comparison: Comparison) -> object:
    """All that must not depend on the order: the answer, each group with its root, and each label's values."""
    labels = [one.label for one in comparison.reports]
    reference = comparison.groups[0] if comparison.groups else None
    strict = len(comparison.groups) < 2 or len(comparison.groups[0].labels) > len(comparison.groups[1].labels)
    return (
        comparison.verdict,
        comparison.exit,
        comparison.results.verdict,
        {frozenset(group.labels) for group in comparison.groups},
        {job.name: {frozenset(group) for group in job.groups} for job in comparison.results.jobs},
        sorted(
            (one.fact, sorted(zip(labels, map(str, one.values), strict=True)), sorted(labels[n] for n in one.lacking))
            for one in comparison.environment.differences
        ),
        comparison.environment.same,
        {one.fact for one in comparison.environment.not_compared},
        reference
        and strict
        and {(frozenset(group.labels), group.root, repr(group.only)) for group in comparison.groups},
    )


@settings(max_examples=200)
@given(st.lists(FULL, min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_files_changes_nothing(made: list[Made], shuffle: random.Random) -> None:
    measured = sides(made)
    shuffled = list(measured)
    shuffle.shuffle(shuffled)
    assert said(compare(measured)) == said(compare(shuffled))


def test_a_fact_that_the_reference_has_too_is_no_cause_and_what_only_one_has_is_named() -> None:
    usual: Made = ({"libm.exp": "aaaaaaaa"}, {}, {"libc.version": "2.36", "os.release": "debian 12"})
    newer: Made = ({"libm.exp": "aaaaaaaa"}, {}, {"libc.version": "2.41", "os.release": "debian 12"})
    odd: Made = ({"libm.exp": "bbbbbbbb"}, {}, {"libc.version": "2.41", "os.release": "debian 12"})
    alone = compare(sides([usual, odd]))
    assert [cause.root for cause in alone.causes] == ["libc.version"]
    # Another machine has the same glibc and the reference's bits: glibc is cleared, and unknown beats a wrong cause.
    cleared = compare(sides([usual, newer, odd]))
    assert [cause.root for cause in cleared.causes] == [None]
    assert cleared.groups[1].only == {}
    other: Made = ({"libm.exp": "bbbbbbbb"}, {}, {"libc.version": "2.43", "os.release": "debian 12"})
    named = compare(sides([usual, newer, other]))
    assert named.groups[1].root == "libc.version"
    assert named.groups[1].only == {"libc.version": "2.43"}


def test_what_one_of_three_cannot_say_is_compared_among_the_others() -> None:
    with_it: Made = ({"libm.exp": "aaaaaaaa"}, {}, {"libc.version": "2.36"})
    other: Made = ({"libm.exp": "aaaaaaaa"}, {}, {"libc.version": "2.41"})
    without: Made = ({"libm.exp": "aaaaaaaa"}, {}, {})
    found = compare(sides([with_it, without, other])).environment
    (difference,) = found.differences
    assert (difference.values, difference.lacking) == (["2.36", None, "2.41"], [1])
    assert [(one.fact, one.reason) for one in found.not_compared] == [("libc.version", "n1 did not capture it")]
    pair = compare(sides([with_it, without])).environment
    assert pair.differences == []


def test_what_lacks_an_operator_and_has_another_joins_all_the_same() -> None:
    here: Made = ({"libm.exp": "aaaaaaaa", "libm.log": "aaaaaaaa"}, {}, {})
    there: Made = ({"libm.exp": "aaaaaaaa", "libm.sin": "aaaaaaaa"}, {}, {})
    third: Made = ({"libm.exp": "aaaaaaaa", "libm.sin": "bbbbbbbb"}, {}, {})
    assert grouped(sides([here, there])) == [["n0", "n1"]]
    # What two members measured besides must agree as well: the third one contradicts the second.
    assert len(grouped(sides([here, there, third]))) == 2


def many_of(*made: tuple[int, dict[str, str]]) -> list[list[str]]:
    """The groups of so many sides of each kind."""
    return grouped(
        sides(
            [
                ({f"libm.{name}": f"{value * 8}" for name, value in one.items()}, {}, {})
                for count, one in made
                for _ in range(count)
            ]
        )
    )


def test_among_equally_full_ones_the_many_decide_what_a_group_is() -> None:
    found = many_of((1, {"exp": "a", "sin": "c"}), (2, {"exp": "a", "log": "b"}), (3, {"sin": "d", "log": "b"}))
    assert [len(group) for group in found] == [5, 1]


def test_a_group_is_found_though_it_was_opened_after_others_were_asked() -> None:
    kinds = [{"exp": "a", "log": "a"}, {"exp": "b", "sin": "b"}, {"exp": "c", "log": "c"}, {"exp": "c", "sin": "c"}]
    assert [len(group) for group in many_of(*zip((4, 3, 2, 1), kinds, strict=True))] == [4, 3, 3]
