"""Which facts differ, which could not be compared, and in which words: made-up sides with facts of the catalogue."""

from __future__ import annotations

from audit.compare import environment
from audit.compare.side import Measured
from reports.catalogue import catalogue
from reports.comparison import Environment
from reports.report import Auditor, Battery, Fact, Facts, Job, Report, Target, Trace


def side(
    label: str, machine: Facts | None = None, operators: Facts | None = None, job: Facts | None = None, *unsteady: str
) -> Measured:
    target = Target(
        "host",
        facts=machine or {},
        battery=Battery(runs=2, facts=operators or {}),
        jobs=[Job("numpy", runs=2, facts=job, trace=Trace())] if job is not None else [],
        unsteady=list(unsteady),
    )
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target)


def compared(*sides: Measured) -> Environment:
    return environment.compare([one.outline for one in sides], catalogue())


def reasons(found: Environment) -> dict[str, str]:
    return {one.fact: one.reason for one in found.not_compared}


def test_what_is_equal_is_counted_once_and_what_differs_has_a_value_a_side() -> None:
    here = {"cpu.model": Fact("A"), "libc.version": Fact("2.36"), "os.name": Fact("Linux")}
    there = {"cpu.model": Fact("B"), "libc.version": Fact("2.36"), "os.name": Fact("Linux")}
    found = compared(side("a", here), side("b", there), side("c", here))
    (difference,) = found.differences
    assert (difference.fact, difference.values, difference.works, difference.lacking) == (
        "cpu.model",
        ["A", "B", "A"],
        [],
        [],
    )
    assert (found.same, found.not_compared) == (2, [])
    row = catalogue().row("blas.kernel")
    assert row
    (kernel,) = compared(side("a", {}, {row.fact: Fact("x")}), side("b", {}, {row.fact: Fact("y")})).differences
    assert (kernel.kind, kernel.components, kernel.meaning) == (row.kind, row.components, row.meaning)


def test_a_number_is_no_truth_value_and_order_of_kinds_is_the_loudest_first() -> None:
    found = compared(
        side("a", {"cpu.name": Fact("x"), "memory.total": Fact(1), "cpu.model": Fact("A")}),
        side("b", {"cpu.name": Fact("y"), "memory.total": Fact(True), "cpu.model": Fact("B")}),
    )
    assert found.differences[0].fact == "cpu.model"
    assert {one.fact for one in found.differences} == {"cpu.model", "cpu.name", "memory.total"}


def test_equal_absences_are_equal_and_one_absence_is_a_reason() -> None:
    absent, denied = Fact(None, "", "absent", "no such file"), Fact(None, "", "denied", "not yours")
    found = compared(side("a", {"libc.version": absent}), side("b", {"libc.version": denied}))
    assert (found.same, found.differences, found.not_compared) == (1, [], [])
    both = {"libc.version": absent, "libc.name": absent}
    assert compared(side("a", both), side("b", both)).same == 2
    assert compared(side("a", {}, both), side("b", {}, {})).same == 0
    found = compared(side("a", {"libc.version": absent}), side("b", {"libc.version": Fact("2.36")}))
    assert (found.same, found.differences) == (0, [])
    assert reasons(found) == {"libc.version": "a: absent (no such file)"}
    found = compared(side("a", {}), side("b", {"libc.version": Fact("2.36")}))
    assert reasons(found) == {"libc.version": "a did not capture it"}


def test_several_that_lack_a_fact_are_one_line() -> None:
    gone = {"libc.version": Fact(None, "", "absent", "no such file")}
    has = {"libc.version": Fact("2.36")}
    found = compared(side("a", has), side("b", gone), side("c", gone), side("d", gone), side("e", has))
    assert reasons(found) == {"libc.version": "b: absent (no such file) (and 2 more)"}
    assert found.same == 1
    two = compared(side("a", has), side("b", gone), side("c", gone), side("d", {"libc.version": Fact("2.41")}))
    assert reasons(two) == {"libc.version": "b: absent (no such file) (and 1 more)"}
    assert [(one.values, one.lacking) for one in two.differences] == [(["2.36", None, None, "2.41"], [1, 2])]
    alone = compared(side("a", has), side("b", gone), side("c", gone))
    assert (alone.same, alone.differences) == (0, [])


def test_a_complete_family_knows_what_is_not_there() -> None:
    listed = {"packages.count": Fact(1), "packages.numpy.version": Fact("2.4.6")}
    empty = {"packages.count": Fact(0)}
    unread = {"packages.count": Fact(None, "", "failed", "OSError")}
    (count, version) = sorted(compared(side("a", listed), side("b", empty)).differences, key=lambda one: one.fact)
    assert (count.fact, version.fact, version.values) == ("packages.count", "packages.numpy.version", ["2.4.6", None])
    assert compared(side("a", listed), side("b", unread)).differences == []
    assert compared(side("a", listed), side("b", {"cpu.model": Fact("A")})).differences == []
    # A family without a count is known where one member of it was captured.
    one, other = {"libraries.libgomp.build_id": Fact("a")}, {"libraries.libomp.build_id": Fact("b")}
    assert {
        difference.fact: difference.values for difference in compared(side("a", one), side("b", other)).differences
    } == {
        "libraries.libgomp.build_id": ["a", None],
        "libraries.libomp.build_id": [None, "b"],
    }


def test_facts_in_effect_are_compared_work_by_work() -> None:
    two, four = {"blas.threads": Fact(2)}, {"blas.threads": Fact(4)}
    found = compared(side("a", {}, two, two), side("b", {}, four, four))
    assert [(one.values, sorted(one.works)) for one in found.differences] == [([2, 4], ["job numpy", "operators"])]
    apart = compared(side("a", {}, two, two), side("b", {}, four, {"blas.threads": Fact(8)}))
    assert sorted((tuple(one.values), tuple(one.works)) for one in apart.differences) == [
        ((2, 4), ("operators",)),
        ((2, 8), ("job numpy",)),
    ]
    # What differs after one work is not "the same" because it is after another.
    half = compared(side("a", {}, two, two), side("b", {}, two, four))
    assert ([one.works for one in half.differences], half.same) == ([["job numpy"]], 0)
    # A work that only one side did is compared with nothing.
    assert compared(side("a", {}, two, two), side("b", {}, two)).differences == []
    assert compared(side("a", {}, {}, two), side("b", {}, {})).same == 0


def test_what_a_side_does_not_repeat_itself_is_compared_with_nothing_unless_it_varies_by_nature() -> None:
    two, four = {"blas.threads": Fact(2)}, {"blas.threads": Fact(4)}
    found = compared(side("a", {}, two), side("b", {}, four, None, "blas.threads"))
    assert (found.differences, reasons(found)) == ([], {"blas.threads": "not the same in b's own runs"})
    shaky = compared(side("a", {}, two, None, "blas.threads"), side("b", {}, four, None, "blas.threads"))
    assert reasons(shaky) == {"blas.threads": "not the same in a's own runs"}
    load = "time.load"
    loads = compared(side("a", {}, {load: Fact([1.0])}), side("b", {}, {load: Fact([2.0])}, None, load))
    assert [one.kind for one in loads.differences] == ["volatile"]


def test_what_changed_in_a_list_or_a_mapping_is_said() -> None:
    first, other = Fact(["avx", "fma", "sse"]), Fact(["avx512", "fma", "sse"])
    found = compared(side("a", {"cpu.flags": first}), side("b", {"cpu.flags": first}), side("c", {"cpu.flags": other}))
    assert found.differences[0].changes == ["-avx", "+avx512"]
    lacking = compared(side("a"), side("b", {"cpu.flags": first}), side("c", {"cpu.flags": other}))
    assert lacking.differences[0].changes == ["-avx", "+avx512"]
    caches = [{"L1d": 32, "L2": 512}, {"L1d": 48, "L2": 512, "L3": 1024}]
    found = compared(*(side(str(n), {"cpu.caches": Fact(one)}) for n, one in enumerate(caches)))  # type: ignore[arg-type]
    assert sorted(found.differences[0].changes) == [
        "Item root['L3'] (1024) added to dictionary.",
        "Value of root['L1d'] changed from 32 to 48.",
    ]
    many = [{"L1d": 32}, {"L1d": 48, "L2": 1, "L3": 2, "L4": 3}]
    found = compared(*(side(str(n), {"cpu.caches": Fact(one)}) for n, one in enumerate(many)))  # type: ignore[arg-type]
    assert len(found.differences[0].changes) == 4  # a large change hides no small one
    mapping = compared(side("a", {"cpu.caches": Fact({"L2": 1})}), side("b", {"cpu.caches": Fact("none")}))
    assert mapping.differences[0].changes == []
    mixed = compared(side("a", {"cpu.flags": first}), side("b", {"cpu.flags": Fact("avx")}))
    assert mixed.differences[0].changes == []


def test_a_fact_of_a_later_auditor_is_no_difference() -> None:
    found = compared(side("a", {"new.fact": Fact(1)}), side("b", {"new.fact": Fact(2)}))
    assert (found.differences, found.same) == ([], 0)
    assert reasons(found) == {"new.fact": "a fact that this auditor does not know; upgrade it"}


def test_a_host_has_no_engine_and_nothing_is_missing_there() -> None:
    found = compared(side("host"), side("image", {"image.platform": Fact("linux/amd64")}))
    assert (found.differences, found.not_compared) == ([], [])
