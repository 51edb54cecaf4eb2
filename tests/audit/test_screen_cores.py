"""Which core is named, from what simulated cores gave; and the page of every answer, whole."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))

import strategies
from test_any import FORMATS, check, check_color, check_screen, often

from audit import screening
from audit.commands.screen import cores as parsed
from audit.compare import cores
from audit.compare.cores import Given, Round, Row
from reports import codec, render
from reports.screening import Finding, Screening

Golden = Callable[[str, str], None]

OPERATORS = {"libm.exp": "libm", "numpy.exp.f64": "numpy", "blas.dot.f64": "blas"}
MASK = 1 << 40


def values(bits: Sequence[int], dtype: str = "f8") -> Given:
    return Given(dtype, struct.pack(f"<{len(bits)}Q", *bits), elements=len(bits), unequal=1)


def run(number: int, given: Mapping[int, Mapping[str, str]], again: int = 0, **more: Any) -> Round:
    """A round in which cores gave these digests: "right", or "wrong" and whatever. Of 4 elements the last is another,
    by MASK and for every other digest by one bit more."""
    kinds = ["right", *sorted({digest for one in given.values() for digest in one.values()} - {"right"})]
    bits = {kind: values([1, 2, 3, 4 ^ (MASK | n - 1 if n else 0)]) for n, kind in enumerate(kinds)}
    digests = {name: {core: one.get(name, "right") for core, one in given.items()} for name in OPERATORS}
    return Round(
        number,
        again,
        list(given),
        705,
        digests={name: one for name, one in digests.items() if again or len(set(one.values())) > 1},
        components={name: [component] for name, component in OPERATORS.items()},
        values={name: {core: bits[kind] for core, kind in one.items()} for name, one in digests.items()},
        **more,
    )


def plain(count: int) -> dict[int, dict[str, str]]:
    return {core: {} for core in range(count)}


def unlike(count: int, *wrong: int, name: str = "libm.exp", digest: str = "wrong") -> dict[int, dict[str, str]]:
    return {core: {name: digest} if core in wrong else {} for core in range(count)}


def named(found: list[Finding]) -> list[tuple[str, list[int], str]]:
    return [(one.kind, one.cores, one.evidence) for one in found]


# Of eight cores


def test_cores_that_agree() -> None:
    runs = [run(number, plain(8)) for number in range(3)]
    assert cores.findings(runs) == []
    assert cores.whole(runs) == 3


def test_the_core_that_differs_again_is_wrong_and_only_it() -> None:
    runs = [run(0, unlike(8, 3)), run(0, unlike(8, 3), again=1), run(0, unlike(8, 3), again=2), run(1, plain(8))]
    (found,) = cores.findings(runs)
    assert named([found]) == [("wrong", [3], "majority")]
    assert (found.unlike, found.runs, found.again, found.retests) == (3, 4, 2, 2)
    (one,) = found.operators
    assert (one.operator, one.component, one.mask) == ("libm.exp", "libm", f"0x{MASK:016x}")
    assert (one.differing, one.elements, one.unlike) == (1, 4, 3)


def test_the_core_that_does_not_differ_again_is_intermittent() -> None:
    runs = [run(0, plain(8)), run(1, unlike(8, 3)), run(1, plain(8), again=1), run(1, plain(8), again=2)]
    (found,) = cores.findings(runs)
    assert named([found]) == [("intermittent", [3], "majority")]
    assert (found.unlike, found.runs, found.again, found.retests) == (1, 4, 0, 2)
    assert found.operators[0].mask == f"0x{MASK:016x}"


def test_a_core_is_only_suspected_without_a_retest() -> None:
    assert named(cores.findings([run(0, unlike(8, 3))])) == [("suspected", [3], "majority")]


def test_two_wrong_cores_of_eight() -> None:
    runs = [run(0, unlike(8, 2, 5), again=again) for again in range(3)]
    assert named(cores.findings(runs)) == [("wrong", [2], "majority"), ("wrong", [5], "majority")]


def test_a_retest_with_few_others_turns_nothing_round() -> None:
    again = {core: given for core, given in unlike(8, 2, 5).items() if core in (2, 5, 7)}
    runs = [run(0, unlike(8, 2, 5)), run(0, again, again=1)]
    assert named(cores.findings(runs)) == [("wrong", [2], "majority"), ("wrong", [5], "majority")]


def test_what_all_give_in_a_fresh_process_is_not_held_against_them() -> None:
    fresh = {core: {"libm.exp": "fresh"} for core in range(8)}
    runs = [run(0, unlike(8, 3)), run(0, fresh, again=1)]
    assert named(cores.findings(runs)) == [("intermittent", [3], "majority")]


def test_masks_of_several_elements_and_runs_are_joined() -> None:
    other = run(0, unlike(8, 3, digest="wronger"), again=1)
    other.values["libm.exp"][3] = values([1 ^ 2, 2, 3, 4 ^ 1])
    (found,) = cores.findings([run(0, unlike(8, 3)), other])
    assert found.operators[0].mask == f"0x{MASK | 2 | 1:016x}"
    assert found.operators[0].differing == 2


def test_a_complex_number_differs_in_its_parts() -> None:
    one = run(0, unlike(3, 0), again=0)
    one.values["libm.exp"] = {0: values([1, 2, 3 ^ 2, 4 ^ 1], "c16"), 1: values([1, 2, 3, 4], "c16")}
    (found,) = cores.findings([one])
    assert (found.operators[0].mask, found.operators[0].elements) == ("0x0000000000000003", 4)


def test_a_core_whose_process_dies_is_a_finding() -> None:
    dead = {3: ("SIGKILL", "libm")}
    lives = {core: {} for core in range(8) if core != 3}
    runs = [run(0, lives, died=dead), run(0, lives, again=1, died=dead), run(0, plain(8), again=2), run(1, lives)]
    (found,) = cores.findings(runs)
    assert (found.kind, found.cores, found.reason, found.at) == ("died", [3], "SIGKILL", "libm")
    assert (found.unlike, found.again, found.retests) == (2, 1, 2)
    assert cores.whole(runs) == 2


def test_halves_that_disagree_name_nobody() -> None:
    runs = [run(0, unlike(4, 2, 3), again=again) for again in range(3)]
    (found,) = cores.findings(runs)
    assert named([found]) == [("disagree", [0, 1, 2, 3], "")]
    assert found.groups == [[0, 1], [2, 3]]
    assert (found.again, found.retests) == (2, 2)


@settings(deadline=None)
@given(
    st.integers(3, 9).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1))),
    st.lists(st.sampled_from([*OPERATORS]), min_size=1, unique=True),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_the_planted_core_and_only_it_in_any_order(
    planted: tuple[int, int], names: list[str], rounds: int, order: random.Random
) -> None:
    """Wrong at random in rounds and re-tests, at least once, always with other bits."""
    count, wrong = planted
    runs, times = [], 0
    for number in range(rounds):
        for again in range(3):
            given = plain(count)
            if not times or order.random() < 0.5:
                times += 1
                given[wrong] = dict.fromkeys(names, f"wrong {times}")
            runs.append(run(number, given, again))
    found = cores.findings(runs)
    assert [one.cores for one in found] == [[wrong]]
    assert found[0].unlike == times
    assert {one.operator for one in found[0].operators} == set(names)

    def shuffled(one: Round) -> Round:
        def mixed(table: Mapping[Any, Any]) -> dict[Any, Any]:
            return dict(order.sample([*table.items()], len(table)))

        return replace(
            one,
            cores=order.sample(one.cores, len(one.cores)),
            digests={name: mixed(table) for name, table in mixed(one.digests).items()},
            values={name: mixed(table) for name, table in mixed(one.values).items()},
        )

    assert cores.findings([shuffled(one) for one in runs]) == found


# Of two cores


def test_two_that_keep_disagreeing_are_both_told() -> None:
    runs = [run(0, unlike(2, 1), again=again) for again in range(3)]
    (found,) = cores.findings(runs)
    assert named([found]) == [("disagree", [0, 1], "")]
    assert found.groups == [[0], [1]]
    assert found.operators[0].mask == f"0x{MASK:016x}"


def test_the_one_that_changes_its_mind_is_the_wrong_one() -> None:
    runs = [run(0, unlike(2, 0)), run(0, plain(2), again=1), run(0, plain(2), again=2)]
    assert named(cores.findings(runs)) == [("intermittent", [0], "it changed")]
    runs = [run(0, unlike(2, 0)), run(0, unlike(2, 0), again=1), run(0, plain(2), again=2)]
    assert named(cores.findings(runs)) == [("wrong", [0], "it changed")]


def test_one_that_changes_has_no_voice_in_other_rounds() -> None:
    runs = [run(0, unlike(2, 1)), run(0, plain(2), again=1), run(1, unlike(2, 1, name="blas.dot.f64"))]
    (found,) = cores.findings(runs)
    assert named([found]) == [("intermittent", [1], "it changed")]
    assert {one.operator for one in found.operators} == {"libm.exp", "blas.dot.f64"}
    assert found.unlike == 2


def test_two_that_both_change_their_minds_are_both_told() -> None:
    both = {0: {"libm.exp": "a"}, 1: {"libm.exp": "b"}}
    runs = [run(0, both), run(0, plain(2), again=1)]
    assert named(cores.findings(runs)) == [("disagree", [0, 1], "")]


def test_an_earlier_report_tells_which_of_two_is_wrong() -> None:
    runs = [run(0, unlike(2, 1)), run(0, unlike(2, 1), again=1)]
    assert named(cores.findings(runs, {"libm.exp": "right"})) == [("wrong", [1], "the report")]
    assert named(cores.findings(runs, {"libm.exp": "wrong"})) == [("wrong", [0], "the report")]
    assert named(cores.findings(runs, {"libm.exp": "of another numpy"})) == [("disagree", [0, 1], "")]


def test_a_report_has_the_inputs_of_round_0_only() -> None:
    runs = [run(1, unlike(2, 1)), run(1, unlike(2, 1), again=1)]
    assert named(cores.findings(runs, {"libm.exp": "right"})) == [("disagree", [0, 1], "")]


def known(wrong: dict[int, list[str]], again: int = 0, count: int = 2) -> Round:
    """A round in which core 1 differs in an operator, and these cores in known answers."""
    one = run(0, unlike(count, 1, name="blas.dot.f64"), again=again, wrong=wrong)
    digests = {core: "bad" if "known.exp" in wrong.get(core, []) else "good" for core in range(count)}
    return replace(one, digests={**one.digests, "known.exp": digests})


def test_known_answers_tell_which_of_two_is_wrong() -> None:
    runs = [known({1: ["known.exp"]}, again) for again in range(3)]
    (found,) = cores.findings(runs)
    assert named([found]) == [("wrong", [1], "known answers")]
    assert {one.operator for one in found.operators} == {"known.exp", "blas.dot.f64"}


def test_known_answers_count_more_than_a_majority() -> None:
    runs = [known({core: ["known.exp"] for core in (0, 1, 2)}, again, count=4) for again in range(2)]
    assert {core for one in cores.findings(runs) if one.kind == "wrong" for core in one.cores} == {0, 1, 2}


def test_what_all_cores_have_wrong_is_no_cores_fault() -> None:
    one = Round(0, 0, [0, 1], 705, wrong={0: ["known.exp"], 1: ["known.exp"]})
    assert cores.findings([one]) == []


def test_the_row_of_a_job_where_it_parts() -> None:
    def trace(second: bytes) -> Given:
        rows = [Row("forward", "a", ["numpy"]), Row("forward", "b", ["blas"])]
        return Given(digests=[bytes(16), bytes(8) + second], rows=rows)

    one = Round(
        0,
        0,
        [0, 1, 2],
        705,
        digests={"job numpy": {0: "right", 1: "right", 2: "wrong"}},
        values={"job numpy": {0: trace(bytes(8)), 2: trace(b"\1" * 8)}},
    )
    (found,) = cores.findings([one])
    assert (found.operators[0].where, found.operators[0].component) == ("step 1, forward, b", "blas")


# What is said


def seen(runs: list[Round], count: int, reason: str = "", **more: Any) -> Screening:
    told = screening._Seen()
    told.rounds, told.reason = runs, reason
    told.about = {"cores": [*range(count)], "machine_cores": count, "at_once": count, "job": "numpy", "absent": {}}
    options = screening.argparse.Namespace(
        limit=50.0,
        device="cpu",
        python=None,
        via=None,
        job="auto",
        cores=None,
        seed=0,
        rounds=None,
        against=None,
        **more,
    )
    return screening._screening(told, options, 45.04, {})


TIMES = [0, 1, 2]
DEAD = {3: ("SIGSEGV", "blas")}
LIVES = {core: {} for core in range(16) if core != 3}

ANSWERS = {
    "agree": seen([run(number, plain(16)) for number in range(31)], 16),
    "wrong": seen([*(run(0, unlike(16, 3), again=n) for n in TIMES), run(1, unlike(16, 3))], 16),
    "intermittent": seen([run(0, plain(16)), run(1, unlike(16, 3)), run(1, plain(16), again=1)], 16),
    "died": seen([*(run(0, LIVES, again=n, died=DEAD) for n in TIMES), run(1, LIVES)], 16),
    "disagree": seen([run(0, unlike(2, 1), again=n) for n in TIMES], 2),
    "silent": seen([run(0, plain(16)), run(1, LIVES, silent={3: "numpy_job"})], 16),
    "incomplete": seen([run(0, LIVES, silent={3: "its imports"})], 16),
    "ended": seen([run(0, plain(16)), run(1, plain(16))], 16, reason="SIGKILL"),
    "alone": seen([run(0, plain(1))], 1),
}


@pytest.mark.parametrize("format", ["terminal", "markdown", "line"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_as_committed(name: str, format: str, golden: Golden) -> None:
    text = render.screening(ANSWERS[name], format)
    if format == "line":
        assert len(text) <= 101
    ending = {"terminal": "txt", "markdown": "md", "line": "line"}[format]
    golden(f"screen {name}.{ending}", text)
    assert "health" not in text


def test_exit_statuses() -> None:
    assert {name: one.exit for name, one in ANSWERS.items()} == {
        "agree": 0, "wrong": 1, "intermittent": 1, "died": 1, "disagree": 1, "silent": 3, "incomplete": 3, "alone": 3,
        "ended": 3,
    }  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_a_saved_answer_is_shown_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    path.write_text(render.screening(ANSWERS[name], "json"))
    found, notes = codec.read_any(str(path), False)
    assert found == ANSWERS[name]
    assert not notes


@often
@given(strategies.of(Screening, {}, strategies.texts()), FORMATS, st.booleans())
def test_any_screening_can_be_shown(found: Screening, format: str, all: bool) -> None:
    operators = [replace(one, mask="") for finding in found.findings for one in finding.operators]
    findings = [replace(one, operators=operators[:9]) for one in found.findings]
    found = replace(found, version=1, exit=1, findings=findings)
    text = render.screening(found, format, all=all)
    check(text, format, found)
    if format == "terminal":
        check_color(text, render.screening(found, format, all=all, color=True))
        check_screen(text, all)


@pytest.mark.parametrize(("text", "found"), [("0", [0]), ("0-3,8", [0, 1, 2, 3, 8]), ("2,1,2", [1, 2])])
def test_a_list_of_cores(text: str, found: list[int]) -> None:
    assert parsed(text) == found


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-99999", "²"])
def test_no_list_of_cores(text: str) -> None:
    with pytest.raises(screening.argparse.ArgumentTypeError):
        parsed(text)
