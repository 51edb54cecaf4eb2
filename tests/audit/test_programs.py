"""Recorded programs compared: made-up recordings of one small training, each with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from recorded import Twist, machine, program, trace

from audit.compare.engine import compare
from reports import render
from reports.comparison import Comparison
from reports.report import Job, Observation, Operator, Repeat, Score

FAR = 1.0
BATCH = Twist("batch.0", far=FAR)
WEIGHTS = Twist("weight:layers.0.weight", far=FAR)
GRADIENT = Twist("grad:layers.0.weight", step=1)
WINDOW = {"operators": range(1)}


def two(
    *twists: Twist, of: tuple[dict[str, Any], dict[str, Any]] = ({}, {}), recorded: Any = None, **facts: Any
) -> Comparison:
    """a and b, of which b is twisted. of: facts of the program on each; facts: machine facts, one a side."""
    how = recorded or {}
    sides = [
        machine(
            label, program(*(twists if n else ()), facts=of[n], **how), **{key: pair[n] for key, pair in facts.items()}
        )
        for n, label in enumerate("ab")
    ]
    return compare(sides)


def first(comparison: Comparison) -> tuple[int | None, str | None, str | None]:
    found = comparison.results.first_divergence
    assert found
    return found.step, found.phase, found.tensor


def roots(comparison: Comparison) -> list[str | None]:
    return [cause.root for cause in comparison.causes]


HASH = ({"python.hash_seed": 1}, {"python.hash_seed": 2})
RANDOM = ({"python.hash_seed": "random"}, {"python.hash_seed": "random"})
CODE = ({**RANDOM[0], "aten.capability": "AVX512"}, {**RANDOM[0], "aten.capability": "DEFAULT"})
SEEDS = ({"program.seeds": {"torch": 1}}, {"program.seeds": {"torch": 2}})
SOURCES = (
    {"program.sources": {"train.py": "3f1c8a02", "model.py": "9d"}},
    {"program.sources": {"train.py": "77b0e4d1", "model.py": "9d"}},
)
ANSWERS: dict[str, Callable[[], Comparison]] = {
    "same": lambda: two(),
    "gradient": lambda: two(GRADIENT),
    "operator": lambda: two(Twist("aten::gelu"), recorded=WINDOW),
    "hash seed": lambda: two(BATCH, of=HASH, variables__PYTHONHASHSEED=("1", "2")),
    "no hash seed": lambda: two(BATCH, of=RANDOM),
    "workers": lambda: two(BATCH, of=({"program.workers": 0}, {"program.workers": 2})),
    "data": lambda: two(BATCH),
    "data or digits": lambda: two(Twist("batch.0", step=1, far=FAR), of=CODE),
    "seeds": lambda: two(WEIGHTS, Twist("generator.torch", far=FAR), of=SEEDS),
    "other sources": lambda: two(GRADIENT, of=SOURCES),
    "other mode": lambda: compare([machine("a", program()), machine("b", program(operators=range(1, 2)))]),
    "shorter": lambda: compare([machine("a", program()), machine("b", program(steps=2))]),
    "scores": lambda: scored([0.912, 0.913], [0.905, 0.905]),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(("format", "suffix"), [("terminal", "txt"), ("markdown", "md")])
def test_the_answer_is_the_golden_one(name: str, format: str, suffix: str, golden: Callable[[str, str], None]) -> None:
    got = render.diff(ANSWERS[name](), format)
    golden(f"program {name}.{suffix}", got)
    if format == "terminal":
        lines = got.rstrip("\n").split("\n")
        assert len(lines) <= 25
        assert max(map(len, lines)) <= 100
        assert lines[-1].startswith("Next")


@pytest.mark.parametrize(
    ("twist", "where"),
    [
        (BATCH, (0, "data", "batch.0")),
        (Twist("batch.1", step=2, far=FAR), (2, "data", "batch.1")),
        (WEIGHTS, (0, "data", "weight:layers.0.weight")),
        (Twist("output", step=1), (1, "forward", "output")),
        (Twist("loss"), (0, "loss", "loss")),
        (GRADIENT, (1, "backward", "grad:layers.0.weight")),
        (Twist("weight:layers.1.weight", step=2), (2, "update", "weight:layers.1.weight")),
    ],
)
def test_the_first_tensor_with_equal_inputs_is_named(twist: Twist, where: tuple[int, str, str]) -> None:
    assert first(two(twist)) == where


def test_an_operator_is_named_with_its_module_and_line() -> None:
    comparison = two(Twist("aten::addmm#1"), recorded=WINDOW)
    found = comparison.results.first_divergence
    assert found
    assert (found.step, found.tensor, found.operator) == (0, "aten::addmm#1", "aten::addmm")
    assert (found.module, found.source, found.components) == ("layers.1", "train.py:23", ["mkl"])
    assert (found.differing, found.ulp.max) == (12, 1)
    assert comparison.results.jobs[0].operators


def test_a_program_comes_before_reference_jobs() -> None:
    reference = Job("numpy", trace=trace(generators=False), runs=2)
    other = replace(reference, trace=trace(Twist("loss"), generators=False))
    comparison = compare([machine("a", reference, program()), machine("b", other, program(GRADIENT))])
    found = comparison.results.first_divergence
    assert found
    assert found.job == "program"
    assert [job.name for job in comparison.results.jobs] == ["program", "numpy"]


# What is not arithmetic


def test_another_program_is_said_before_anything_is_blamed() -> None:
    comparison = two(Twist("aten::gelu"), of=SOURCES, recorded=WINDOW)
    assert roots(comparison) == ["program.sources", None]
    assert render.diff(comparison).startswith("DIFFERENT RESULTS. Not the same program: train.py differs.\n")
    alike = two(of=SOURCES)
    assert (alike.results.verdict, alike.causes) == ("identical", [])


def test_another_program_is_said_where_nothing_can_be_compared_too() -> None:
    sides = [
        machine(label, program(evaluation=evaluation, facts={"program.arguments": label}))
        for label, evaluation in (("a", None), ("b", 0))
    ]
    comparison = compare(sides)
    assert comparison.results.verdict == "not-comparable"
    assert comparison.results.jobs[0].reason.startswith("not the same program: its arguments differ; ")
    assert comparison.next == (
        "on both, with one and the same program:  audit run --trace steps -o NAME.json -- YOUR COMMAND"
    )


def test_a_file_of_one_side_is_another_program_too() -> None:
    fewer = {"train.py": "1"}
    comparison = two(BATCH, of=({"program.sources": fewer}, {"program.sources": {**fewer, "x.py": "2"}}))
    assert roots(comparison) == ["program.sources"]
    assert "x.py differs" in comparison.causes[0].title
    assert comparison.causes[0].evidence[0].values == [None, "2"]


@pytest.mark.parametrize(
    ("fact", "title"),
    [
        ("program.arguments", "not the same program: its arguments differ"),
        ("program.world_size", "not the same number of processes (1 / 2)"),
        ("program.precision", "not the same precision (1 / 2)"),
        ("program.batch", "not the same batch size (1 / 2)"),
    ],
)
def test_another_way_of_running_it_is_no_arithmetic(fact: str, title: str) -> None:
    comparison = two(Twist("output"), of=({fact: 1}, {fact: 2}))
    assert (roots(comparison), comparison.causes[0].title) == ([fact], title)


def test_other_sources_are_not_blamed_for_what_only_the_battery_shows() -> None:
    moved = [[Operator("libm.exp", "libm", result=Observation(digest, "f8", [1]))] for digest in ("00", "11")]
    sides = [machine(label, program(facts=SOURCES[n]), battery=moved[n]) for n, label in enumerate("ab")]
    assert roots(compare(sides)) == [None]


def test_data_are_laid_at_the_hash_seed_only_where_it_can_be() -> None:
    assert roots(two(BATCH, of=HASH)) == ["python.hash_seed"]
    fixed = ({"python.hash_seed": 1}, {"python.hash_seed": 1})
    assert roots(two(BATCH, of=fixed)) == [None]
    assert roots(two(BATCH, of=RANDOM)) == ["python.hash_seed"]
    assert two(BATCH, of=RANDOM).causes[0].settings == {"PYTHONHASHSEED": "0"}
    assert roots(two(Twist("aten::gelu"), of=HASH, recorded=WINDOW)) == [None]


def test_batches_that_differ_in_last_digits_are_arithmetic() -> None:
    """What prepares data computes, too: numpy's loops may round otherwise."""
    moved = [[Operator("numpy.exp", "numpy", result=Observation(digest, "f8", [1]))] for digest in ("00", "11")]
    simd = [["X86_V3"], ["X86_V4"]]
    sides = [
        machine(label, program(*[Twist("batch.0")] * n, facts=HASH[n]), battery=moved[n], numpy__simd_found=simd[n])
        for n, label in enumerate("ab")
    ]
    assert roots(compare(sides)) == ["numpy.simd_found"]


# Generators of random numbers


def test_the_state_of_a_generator_is_no_result() -> None:
    comparison = two(Twist("generator.python", far=FAR))
    assert (comparison.results.verdict, comparison.exit) == ("identical", 0)


def test_a_state_that_nothing_draws_from_hides_no_divergence() -> None:
    assert first(two(Twist("generator.python", far=FAR), GRADIENT)) == (1, "backward", "grad:layers.0.weight")


def test_a_state_beside_other_data_is_said() -> None:
    comparison = two(Twist("generator.python", far=FAR), BATCH)
    assert first(comparison) == (0, "data", "batch.0")
    assert "Suspect Python's random without a seed and numpy.random without" in comparison.causes[0].plain


def test_a_seed_that_was_drawn_is_none_that_was_set() -> None:
    drawn: tuple[dict[str, Any], ...] = tuple({"program.seeds": {"torch": 1 << 62 | n}} for n in range(2))
    comparison = two(WEIGHTS, Twist("generator.torch", far=FAR), of=(drawn[0], drawn[1]))
    (cause,) = comparison.causes
    assert (cause.root, cause.title) == ("program.seeds", "the program sets no seed, so each run draws its own")
    assert cause.plain.endswith("So long a number is drawn where none is set: torch.manual_seed(0) sets one.")
    assert comparison.next == "on both, with one seed:  audit run --steps 1 -o NAME.json -- YOUR COMMAND"


def test_a_generator_that_nothing_seeds_is_suspected_of_other_data() -> None:
    seeds = {"program.seeds": {"torch": 1, "numpy": 3}}
    assert "Suspect Python's random without a seed, other" in two(BATCH, of=(seeds, seeds)).causes[0].plain
    unset = {**seeds, **RANDOM[0]}
    title = "the order of sets (PYTHONHASHSEED is not set) or Python's random without a seed"
    assert two(BATCH, of=(unset, unset)).causes[0].title == title


def test_what_a_program_gives_itself_is_laid_at_its_data_whatever_else_differs() -> None:
    """A copy computes nothing: other bits of equal inputs were given to it. What differs behind it comes second."""
    given, drawn = Twist("aten::stack", far=FAR), Twist("aten::normal_")
    comparison = two(given, drawn, of=CODE, recorded=WINDOW)
    assert first(comparison) == (0, "setup", "aten::stack")
    assert roots(comparison) == ["python.hash_seed", "aten.capability"]
    told = " ".join(render.diff(comparison).split())
    assert told.startswith("DIFFERENT RESULTS. The data differ, not the arithmetic. Likely cause: the order of sets")
    assert "aten::stack (train.py:8) (the program's own values)" in told
    assert comparison.next.startswith("on both:  PYTHONHASHSEED=0 audit run")


def test_an_evaluation_is_no_data() -> None:
    recorded = {"evaluation": 1}
    comparison = two(Twist("evaluation.output", step=1), of=CODE, recorded=recorded)
    assert first(comparison) == (1, "evaluation", "evaluation.output")
    assert roots(comparison) == []


# As far as both go


def test_recordings_are_compared_as_far_as_both_go() -> None:
    comparison = compare([machine("a", program(steps=5)), machine("b", program(steps=3))])
    (job,) = comparison.results.jobs
    assert (job.verdict, job.steps, job.recorded) == ("identical", 3, [5, 3])
    assert comparison.exit == 0
    assert [group.labels for group in comparison.groups] == [["a", "b"]]
    assert first(compare([machine("a", program(steps=5)), machine("b", program(GRADIENT, steps=3))]))[0] == 1


def test_what_a_longer_one_has_more_is_no_difference() -> None:
    longer = compare([machine("a", program(Twist("loss", step=3), steps=5)), machine("b", program(steps=3))])
    assert (longer.results.verdict, longer.exit) == ("identical", 0)


def test_a_short_recording_does_not_join_what_parts_behind_its_end() -> None:
    a, b, c = program(steps=5), program(Twist("loss", step=3), steps=5), program(steps=2)
    comparison = compare([machine("c", c), machine("a", a), machine("b", b)])
    assert comparison.results.verdict == "diverged"
    assert first(comparison) == (3, "loss", "loss")
    assert sorted(sorted(group.labels) for group in comparison.groups) in ([["a", "c"], ["b"]], [["a"], ["b", "c"]])
    assert sum(len(group) for group in comparison.results.jobs[0].groups) == 3


def test_phases_of_later_steps_change_no_step() -> None:
    """An evaluation that only the longer recording reached."""
    longer, short = program(steps=4, evaluation=2), program(steps=2)
    comparison = compare([machine("a", longer), machine("b", short)])
    assert comparison.results.verdict == "identical"
    assert [group.labels for group in comparison.groups] == [["a", "b"]]
    assert comparison.results.jobs[0].steps == 2


def test_an_evaluation_that_parts_is_arithmetic_unless_its_data_do() -> None:
    moved = [machine(label, program(*[Twist("evaluation.output")] * n, evaluation=1)) for n, label in enumerate("ab")]
    assert first(compare(moved)) == (1, "evaluation", "evaluation.output")
    assert "Your program parts in step 1, evaluation" in " ".join(render.diff(compare(moved)).split())


def test_a_recording_without_a_step_is_no_pass() -> None:
    comparison = compare([machine("a", program()), machine("b", program(steps=0, losses=[0.0]))])
    assert (comparison.results.verdict, comparison.exit) == ("not-comparable", 3)
    assert comparison.results.jobs[0].reason == "no step of it was recorded on b"


def test_other_calls_are_named_where_they_begin() -> None:
    comparison = compare([machine("a", program()), machine("b", program(generators=False))])
    assert comparison.results.verdict == "not-comparable"
    assert "until step 0, where the programs part: generator.torch (data) on a and batch.0 (data) on b" in (
        comparison.results.jobs[0].reason
    )


def test_that_operators_agree_is_no_answer_about_a_program() -> None:
    battery = [Operator("libm.exp", "libm", result=Observation("00", "f8", [1]))]
    a, b = machine("a", program(), battery=battery), machine("b", program(**WINDOW), battery=battery)
    comparison = compare([a, b])
    assert (comparison.results.verdict, comparison.exit) == ("not-comparable", 3)
    assert comparison.next == "on b:  audit run --trace steps -o NAME.json -- YOUR COMMAND"


# Ranks


def test_ranks_are_compared_by_name_and_a_lacking_one_is_said() -> None:
    ranks = [program(name=f"program.rank{n}") for n in range(2)]
    twisted = program(GRADIENT, name="program.rank1")
    comparison = compare([machine("a", *ranks), machine("b", ranks[0], twisted)])
    assert {job.name: job.verdict for job in comparison.results.jobs} == {
        "program.rank0": "identical",
        "program.rank1": "diverged",
    }
    assert "your program (rank1), step 1" in render.diff(comparison)
    lacking = compare([machine("a", *ranks), machine("b", ranks[0])])
    assert (lacking.verdict, lacking.exit) == ("incomplete", 3)
    assert [(one.fact, one.reason) for one in lacking.environment.not_compared] == [
        ("job program.rank1", "b did not run it")
    ]


def test_the_rank_that_parts_first_is_named_and_not_the_one_that_it_hands_its_gradients() -> None:
    how: dict[str, Any] = {"operators": range(3), "ranks": True}
    ranks = [program(name=f"program.rank{n}", **how) for n in range(2)]
    given = program(Twist("c10d::allreduce_"), name="program.rank0", **how)
    odd = program(Twist("aten::gelu"), name="program.rank1", **how)
    comparison = compare([machine("a", *ranks), machine("b", given, odd)])
    found = comparison.results.first_divergence
    assert found
    assert (found.job, found.tensor) == ("program.rank1", "aten::gelu")
    assert "puts together" not in render.diff(comparison).split("Not seen")[0]
    alone = compare([machine("a", ranks[0]), machine("b", given)])
    shown = " ".join(render.diff(alone).split())
    assert alone.results.first_divergence
    assert alone.results.first_divergence.components == []
    assert shown.startswith("DIFFERENT RESULTS. Cause unknown")
    assert (
        "c10d::allreduce_ puts together what all ranks gave, and what others gave is not among its inputs: "
        "compare all ranks" in shown
    )


# Once, and repeated


def test_one_run_each_is_never_more_than_a_suspicion() -> None:
    assert "suspected: each machine ran it once." in " ".join(render.diff(two(BATCH, of=HASH)).split())
    twice = {"runs": 2, "repeats": [Repeat(program().trace.digest)]}  # type: ignore[union-attr]
    repeated = two(BATCH, of=HASH, recorded=twice)
    assert ", not yet proven." in " ".join(render.diff(repeated).split())


def test_what_a_machine_does_not_repeat_masks_what_follows() -> None:
    shaky = program(GRADIENT, repeats=[Repeat("00", step=1, row=2)], runs=2)
    comparison = compare([machine("a", program()), machine("b", shaky)])
    assert (comparison.results.verdict, comparison.causes) == ("nondeterministic", [])
    assert comparison.results.nondeterministic == ["your program on b: step 1, data, batch.0"]
    assert render.diff(comparison).startswith("NOT REPEATABLE. b does not repeat itself: your program.\n")
    again = "audit run --steps 3 --repeat 3 -o NAME.json -- YOUR COMMAND"
    assert comparison.next == f"on the machine that does not repeat itself:  {again}"
    unset = [replace(job, facts=program(facts=RANDOM[0]).facts) for job in (program(), shaky)]
    assert compare([machine("a", unset[0]), machine("b", unset[1])]).next.endswith(f":  PYTHONHASHSEED=0 {again}")
    ahead = program(Twist("loss"), repeats=[Repeat("00", step=1, row=2)], runs=2)
    assert first(compare([machine("a", program()), machine("b", ahead)])) == (0, "loss", "loss")


# What could not be seen, and scores


def test_what_could_not_be_seen_is_said() -> None:
    notes = ["3 DataLoader workers are not recorded", "compiled regions are one row", "two more"]
    comparison = two(recorded={"notes": notes})
    assert comparison.results.jobs[0].notes == notes
    assert "Not seen   3 DataLoader workers are not recorded; compiled regions are one row; 1 more" in render.diff(
        comparison
    )
    assert "two more" in render.diff(comparison, all=True)


def scored(a: list[float], b: list[float], stderr: float | None = None) -> Comparison:
    """Two machines with one score, a value a run."""
    sides = []
    for label, values in (("a", a), ("b", b)):
        given, *further = [[Score("accuracy", value, stderr)] for value in values]
        recorded = program(runs=len(values))
        assert recorded.trace
        repeats = [Repeat(recorded.trace.digest, scores=one) for one in further]
        sides.append(machine(label, replace(recorded, scores=given, repeats=repeats)))
    return compare(sides)


@pytest.mark.parametrize(
    ("a", "b", "stderr", "verdict"),
    [
        ([0.9], [0.9], None, "same"),
        ([0.9], [0.8], None, "unknown"),
        ([0.90, 0.92], [0.91, 0.91], None, "within"),
        ([0.90, 0.90], [0.91, 0.91], None, "beyond"),
        ([0.90, 0.91], [0.914, 0.924], None, "within"),
        ([0.90], [0.91], 0.004, "within"),
        ([0.90], [0.91], 0.003, "beyond"),
        ([0.90, 0.95], [0.92], None, "within"),
    ],
)
def test_scores_are_held_against_each_machines_own_spread(
    a: list[float], b: list[float], stderr: float | None, verdict: str
) -> None:
    (score,) = scored(a, b, stderr).results.jobs[0].scores
    assert (score.verdict, score.values) == (verdict, [a[0], b[0]])


def test_a_score_that_was_given_again_is_its_last() -> None:
    given = [Score("loss", 3.0), Score("loss", 2.0)]
    sides = [machine(label, program(scores=given if label == "a" else given[1:])) for label in "ab"]
    (score,) = compare(sides).results.jobs[0].scores
    assert (score.verdict, score.values) == ("same", [2.0, 2.0])


def test_a_score_of_one_side_is_not_compared() -> None:
    sides = [machine("a", program(scores=[Score("accuracy", 0.5)])), machine("b", program())]
    assert compare(sides).results.jobs[0].scores == []


# The way on


def test_the_way_on_comes_nearer_until_there_is_nothing_nearer() -> None:
    """Steps, then operators of the step that parts, then the proof; what is one call of a framework is the end."""
    window = "on both:  audit run --steps 2 --trace operators --window 1:2 -o NAME.json -- YOUR COMMAND"
    assert two(GRADIENT).next == window
    elsewhere = two(GRADIENT, recorded=WINDOW)
    assert (elsewhere.next, elsewhere.results.jobs[0].operators) == (window, False)
    seen = two(Twist("output"), recorded={"operators": range(1)})
    assert seen.results.jobs[0].operators
    repeated = "on a, whether it repeats itself:  audit run --steps 1 --repeat 3 -o NAME.json -- YOUR COMMAND"
    assert seen.next == repeated
    assert "Cause unknown: no differing fact explains it." in render.diff(seen)
