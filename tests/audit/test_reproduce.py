"""The search on machines whose causes are known: what it finds is enough, needed and no more, or is said not to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from simulated import LEVELS, LIBM, SIMD, Bench, Machine, digest, measured, under

from audit.causes import proven
from audit.causes.laboratory import Under
from audit.causes.minimise import minimise
from audit.causes.reproduce import reproduce
from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.errors import AuditError, NotComparable, ReportError
from reports import proof, render
from reports.report import Observation, Operator, Repeat
from reports.reproduction import Reproduction

HERE = Machine()


def found(there: Machine, here: Machine = HERE, **more: object) -> tuple[Reproduction, Bench]:
    bench = Bench(here, **more)  # type: ignore[arg-type]
    return reproduce(measured(there), bench), bench  # type: ignore[arg-type]


machines = st.builds(
    Machine,
    cpu=st.sampled_from(LEVELS),
    threads=st.sampled_from([0, 1, 2, 4, 8]),
    seed=st.sampled_from([1, 1, 7]),
    flushed=st.booleans(),
)


@hypothesis_settings(deadline=None, max_examples=120)
@given(machines)
def test_whatever_can_be_imitated_is_reproduced_by_no_more_than_it_takes(there: Machine) -> None:
    one, bench = found(there)
    assert one.verdict in ("reproduced", "same"), one.tried
    assert one.residue == []
    imitating = under(bench.machine, Under(one.settings))
    assert measured(imitating).operators == measured(there).operators
    for name in one.settings:
        less = {other: value for other, value in one.settings.items() if other != name}
        assert measured(under(bench.machine, Under(less))).operators != measured(there).operators, name
    assert proof.missing(one) == ("" if one.settings else "nothing that was set")
    assert set(one.necessary) == set(one.settings)
    assert {cause.status for cause in one.causes} <= {"proven"}


def test_an_emulated_haswell_takes_two_settings_and_few_children() -> None:
    one, bench = found(Machine("Haswell"))
    assert {"OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"} <= set(one.settings)
    assert one.settings["OPENBLAS_CORETYPE"] == "Haswell"
    assert bench.runs <= 20
    assert one.exit == 0


def test_more_threads_than_there_are_cpus_take_a_call() -> None:
    one, _ = found(Machine(threads=8), Machine(cores=1))
    assert one.settings == {"blas_threads": "8"}
    assert one.code == {"blas_threads": "import threadpoolctl; threadpoolctl.threadpool_limits(8, 'blas')"}


def test_variables_of_ones_own_are_taken_out_first() -> None:
    one, _ = found(Machine(), Machine(variables={"OPENBLAS_CORETYPE": "Haswell"}))
    assert one.verdict == "reproduced"
    assert one.settings == {"OPENBLAS_CORETYPE": ""}
    assert [tried.settings for tried in one.tried] == [one.settings]  # the job has its bits then, and asks for no more


def test_what_only_another_value_gives_is_searched() -> None:
    """A report of a library that gives itself another name than the code it runs."""
    machine = Machine("Sandybridge", simd=tuple(SIMD["SkylakeX"]), libm=tuple(LIBM["SkylakeX"]))
    there = measured(machine, jobs=False)
    facts = {**there.target.battery.facts, "blas.kernel": msgspec.structs.replace(  # type: ignore[union-attr]
        there.target.battery.facts["blas.kernel"], value="Excavator")}  # type: ignore[union-attr]  # fmt: skip
    battery = msgspec.structs.replace(there.target.battery, facts=facts)  # type: ignore[arg-type]
    named = replace(there, target=msgspec.structs.replace(there.target, battery=battery))
    one = reproduce(named, Bench(Machine()))  # type: ignore[arg-type]
    assert one.settings == {"OPENBLAS_CORETYPE": "Sandybridge"}
    assert [tried.outcome for tried in one.tried] == ["SIGILL", "no effect", "kept"]


def test_a_value_that_crashes_is_said_and_the_search_goes_on() -> None:
    def crash(values: Under) -> str:
        return "SIGILL" if values.settings.get("OPENBLAS_CORETYPE") == "Haswell" else ""

    one, _ = found(Machine("Haswell"), crash=crash)
    assert one.verdict == "partly"
    assert "SIGILL" in [tried.outcome for tried in one.tried]
    assert "OPENBLAS_CORETYPE" not in one.settings
    assert one.settings.keys() >= {"NPY_DISABLE_CPU_FEATURES"}
    assert set(one.residue) == {"blas.dot", "blas.gemm", "job numpy"}
    assert one.exit == 1


def test_upwards_is_not_imitated_and_a_meeting_is_named() -> None:
    one, _ = found(Machine("SkylakeX"), Machine("Haswell"))
    assert one.verdict == "irreducible"
    assert one.meeting
    assert one.meeting.level == "a CPU without AVX-512"
    assert one.meeting.here == {}
    assert one.meeting.there["OPENBLAS_CORETYPE"] == "Haswell"
    # What is printed for the other machine gives there what this one gives as it is.
    assert (
        measured(under(Machine("SkylakeX"), Under(one.meeting.there))).operators
        == measured(Machine("Haswell")).operators
    )


def test_another_libm_build_has_no_setting() -> None:
    one, _ = found(Machine(build="theirs"))
    assert (one.verdict, [cause.status for cause in one.causes]) == ("irreducible", ["irreducible"])
    assert not one.reproduced
    assert one.settings == {}
    assert set(one.residue) == {"libm.exp", "libm.sin", "numpy.sin"}


def test_equal_machines_have_nothing_to_set() -> None:
    one, bench = found(Machine())
    assert (one.verdict, one.exit, one.settings, len(bench.asked)) == ("same", 0, {}, 1)


def altered(side: Measured, **others: Operator) -> Measured:
    """A side with other operators in the place of some, by name with _ for the dot."""
    battery = side.target.battery
    assert battery
    operators = [others.get(one.name.replace(".", "_"), one) for one in battery.operators]
    target = msgspec.structs.replace(side.target, battery=msgspec.structs.replace(battery, operators=operators))
    return Measured(side.label, side.file, msgspec.structs.replace(side.report, targets=[target]), target)


def test_what_no_fact_explains_is_unknown_and_no_setting_is_blamed() -> None:
    there = measured(Machine())
    other = msgspec.structs.replace(there.operators["python.sum"], result=Observation("0" * 16, "float64", [1]))
    one = reproduce(altered(there, python_sum=other), Bench(Machine()))  # type: ignore[arg-type]
    assert (one.verdict, one.exit, one.reproduced) == ("unknown", 1, False)
    assert [(cause.root, cause.status, cause.components) for cause in one.causes] == [(None, "unknown", ["python"])]
    assert (one.settings, one.residue) == ({}, ["python.sum"])
    text = " ".join(render.reproduction(one).split())
    assert text.startswith("UNKNOWN. No setting gave there's bits, and no differing fact explains it.")


def test_what_the_other_machine_does_not_repeat_is_not_wanted() -> None:
    """No operator of blas repeats there, so that only the job shows what its setting is needed for."""
    haswell = measured(Machine("Haswell"))
    dot, gemm = (
        msgspec.structs.replace(haswell.operators[name], repeats=["0" * 16]) for name in ("blas.dot", "blas.gemm")
    )
    one = reproduce(altered(haswell, blas_dot=dot, blas_gemm=gemm), Bench(HERE))  # type: ignore[arg-type]
    assert one.verdict == "reproduced"
    assert "blas.dot" not in one.wanted
    assert one.skipped == {f"operator blas.{name} on there": "not repeated" for name in ("dot", "gemm")}


def test_where_all_that_differs_is_not_repeated_there_is_nothing_to_reproduce() -> None:
    there = measured(HERE)
    shaky = msgspec.structs.replace(there.operators["blas.dot"], repeats=["0" * 16])
    one = reproduce(altered(there, blas_dot=shaky), Bench(HERE))  # type: ignore[arg-type]
    assert (one.verdict, one.exit, one.settings) == ("nondeterministic", 1, {})
    assert render.reproduction(one).startswith("NOT REPEATABLE. What differs from there is not the same in every run.")


def test_a_job_that_the_other_machine_does_not_repeat_is_left_out() -> None:
    haswell = measured(Machine("Haswell"))
    repeat = Repeat("0" * 16, step=1, row=0)
    (job,) = (msgspec.structs.replace(job, repeats=[repeat]) for job in haswell.target.jobs)
    target = msgspec.structs.replace(haswell.target, jobs=[job])
    one = reproduce(replace(haswell, target=target), Bench(HERE))  # type: ignore[arg-type]
    assert one.verdict == "reproduced"
    assert "job numpy" in one.skipped
    assert not any(name.startswith("job ") for name in one.wanted)


def test_another_version_of_a_job_is_left_out_with_its_reason() -> None:
    haswell = measured(Machine("Haswell"))
    (job,) = (msgspec.structs.replace(job, version=job.version + 1) for job in haswell.target.jobs)
    target = msgspec.structs.replace(haswell.target, jobs=[job])
    one = reproduce(replace(haswell, target=target), Bench(HERE))  # type: ignore[arg-type]
    assert one.verdict == "reproduced"
    assert one.skipped == {"job numpy": "not the same job: version 2 (c0ffee) and 1 (c0ffee)"}
    assert "job numpy: not the same job: version 2 (c0ffee) and 1" in " ".join(
        render.reproduction(one, all=True).split()
    )
    alone = replace(haswell, target=msgspec.structs.replace(target, battery=None))
    with pytest.raises(NotComparable, match="nothing in it can be compared with this machine"):
        reproduce(alone, Bench(HERE))  # type: ignore[arg-type]


def test_nothing_in_common_is_not_comparable() -> None:
    there = measured(Machine(), battery=False, jobs=False)
    with pytest.raises(NotComparable, match="nothing in it can be compared"):
        reproduce(there, Bench(Machine()))  # type: ignore[arg-type]


@pytest.mark.parametrize("after", range(1, 9))
def test_an_interruption_keeps_what_was_found(after: int) -> None:
    one, _ = found(Machine("Haswell"), interrupt=after)
    assert one.interrupted or one.verdict == "reproduced"
    assert one.reproduced is (not proof.missing(one))
    assert one.exit == (0 if one.reproduced else 3)


def test_an_interruption_before_anything_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt):
        found(Machine("Haswell"), interrupt=0)


# The proof


def test_a_proof_is_worked_out_from_digests_and_not_believed() -> None:
    one, _ = found(Machine("Haswell"))
    assert proof.missing(one) == ""
    first = one.children[0]
    assert proof.missing(msgspec.structs.replace(one, children=[first])).startswith("2 runs with it")
    for position, child in enumerate(one.children):
        if child.changed:
            children = list(one.children)
            children[position] = msgspec.structs.replace(child, changed={})
            assert proof.missing(msgspec.structs.replace(one, children=children)).startswith("digests that do not")
    less = {name: value for name, value in one.settings.items() if name != "OPENBLAS_CORETYPE"}
    without = [child for child in one.children if child.settings != less]
    needed = proof.missing(msgspec.structs.replace(one, children=without))
    assert needed == "2 runs without OPENBLAS_CORETYPE that give other bits"
    assert proof.missing(msgspec.structs.replace(one, wanted={})) == "nothing was compared"
    assert proof.missing(msgspec.structs.replace(one, settings={**one.settings, "PYTHONHASHSEED": "1"}))


def test_runs_without_a_setting_must_agree_with_each_other() -> None:
    one, _ = found(Machine("Haswell"))
    less = {name: value for name, value in one.settings.items() if name != "OPENBLAS_CORETYPE"}
    position, child = next((n, one) for n, one in enumerate(one.children) if one.settings == less)
    changed = {**child.changed, "blas.dot": "0" * 16}
    digests = {work: proof.combined(proof.of_work({**one.wanted, **changed}, work)) for work in child.works}
    other = msgspec.structs.replace(child, changed=changed, digests=digests)
    assert proof.consistent(other, one.wanted)
    assert not proof.gave(other, one.wanted)
    children = [other if n == position else each for n, each in enumerate(one.children)]
    lacks = "runs without OPENBLAS_CORETYPE that give the same bits each time (operators)"
    assert proof.missing(msgspec.structs.replace(one, children=children)) == lacks


def test_what_wavers_without_a_setting_does_not_prove_it() -> None:
    """Between two settings the machine repeats nothing: that results part there is no effect of the second one."""

    def bits(now: Machine, name: str) -> str:
        wavers = name == "numpy.exp" and now.kernel == "Haswell" and "X86_V4" in (now.simd or ())
        return digest(now.run) if wavers else now.bits(name)

    one, _ = found(Machine("Haswell"), bits=bits)
    assert one.residue == []
    assert proof.missing(one) == "runs without NPY_DISABLE_CPU_FEATURES that give the same bits each time (operators)"
    assert (one.verdict, one.reproduced, one.exit) == ("nondeterministic", False, 1)
    assert "proven" not in {cause.status for cause in one.causes}
    assert render.reproduction(one).startswith("NOT REPEATABLE. ")


# Minimising


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0)), max_size=5))))
def test_of_many_exactly_those_that_are_needed_are_left(case: tuple[int, set[int]]) -> None:
    count, needed = case
    needed = {n for n in needed if n < count}
    tried: list[tuple[int, ...]] = []

    def works(part: list[int]) -> bool:
        tried.append(tuple(part))
        return needed <= set(part)

    left = minimise(range(count), works)
    assert set(left) == needed or (not needed and len(left) <= 1)
    assert len(tried) == len(set(tried))


def test_of_two_ways_one_is_left() -> None:
    assert minimise(["a", "b", "c"], lambda part: "a" in part or "c" in part) in (["a"], ["c"])


# What a person reads


PAGES = {
    "reproduced": lambda: found(Machine("Haswell"))[0],
    "one setting": lambda: found(Machine(threads=1))[0],
    "a call": lambda: found(Machine(flushed=True))[0],
    "partly": lambda: found(
        Machine("Haswell"), crash=lambda values: "SIGILL" * (values.settings.get("OPENBLAS_CORETYPE") == "Haswell")
    )[0],
    "upwards": lambda: found(Machine("SkylakeX"), Machine("Haswell"))[0],
    "irreducible": lambda: found(Machine(build="theirs"))[0],
    "same": lambda: found(Machine())[0],
    "interrupted": lambda: found(Machine("Haswell"), interrupt=4)[0],
}


@pytest.mark.parametrize("format", ["terminal", "markdown"])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_golden_one(name: str, format: str, golden: Callable[[str, str], None]) -> None:
    text = render.reproduction(PAGES[name](), format)
    golden(f"reproduce {name}.{'md' if format == 'markdown' else 'txt'}", text)
    if format == "terminal":
        lines = text.rstrip("\n").split("\n")
        assert len(lines) <= 25
        assert max(map(len, lines)) <= 100


def test_a_file_that_says_proven_is_not_believed(tmp_path: Path) -> None:
    one, _ = found(Machine("Haswell"))
    forged = msgspec.structs.replace(one, children=one.children[:2])
    assert render.reproduction(forged).startswith(
        "NOT PROVEN. The file says that it is reproduced, but it lacks 2 runs"
    )
    path = tmp_path / "forged.json"
    path.write_text(render.reproduction(forged, "json"))
    with pytest.raises(AuditError, match="it proves nothing: it lacks 2 runs with it"):
        proven.applied(compare(sides_of(Machine("Haswell"), HERE)), sides_of(Machine("Haswell"), HERE),
                       proven.read(str(path)), "forged.json")  # fmt: skip


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "$(reboot)", "OPENBLAS_CORETYPE\n"])
def test_a_file_can_set_nothing_that_is_not_ours(name: str, tmp_path: Path) -> None:
    one, _ = found(Machine("Haswell"))
    path = tmp_path / "hostile.json"
    path.write_text(render.reproduction(msgspec.structs.replace(one, settings={name: "x"}), "json"))
    with pytest.raises(ReportError, match="nothing that it could have set"):
        proven.read(str(path))


@pytest.mark.parametrize(
    ("name", "version"), [("numpy; reboot", "2.3"), ("--index-url", "2.3"), ("numpy", "2.3 --index-url http://x")]
)
def test_a_file_can_name_no_package_that_is_no_name(name: str, version: str, tmp_path: Path) -> None:
    one, _ = found(Machine("Haswell"))
    path = tmp_path / "hostile.json"
    path.write_text(render.reproduction(msgspec.structs.replace(one, packages={name: version}), "json"))
    with pytest.raises(ReportError, match="nothing that it could have set"):
        proven.read(str(path))


# A proof beside a comparison


def sides_of(*those: Machine) -> list[Measured]:
    return [measured(one, f"m{number}") for number, one in enumerate(those)]


def test_a_proof_makes_a_suspected_cause_a_proven_one(tmp_path: Path) -> None:
    there, here = sides_of(Machine("Haswell"), HERE)
    one = reproduce(there, Bench(HERE))  # type: ignore[arg-type]
    comparison = compare([there, here])
    assert {cause.status for cause in comparison.causes} == {"suspected"}
    after = proven.applied(comparison, [there, here], one, "proof.json")
    assert {cause.status for cause in after.causes} == {"proven"}
    assert after.causes[0].settings_on == "m1"
    assert "proven cause" in render.diff(after).lower().split("\n")[0] + render.diff(after).lower().split("\n")[1]


def test_a_proof_of_other_results_is_refused() -> None:
    there = measured(Machine("Haswell"), "m0")
    one = reproduce(there, Bench(HERE))  # type: ignore[arg-type]
    for pair in (sides_of(Machine("Nehalem"), HERE), [there, measured(Machine(threads=1), "m1")]):
        with pytest.raises(AuditError, match="it is about other results"):
            proven.applied(compare(pair), list(pair), one, "proof.json")
