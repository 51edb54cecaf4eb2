"""The search for the settings of a person's own program, on machines whose causes are known: the battery says what to
try, the program decides."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from recorded import Twist, program
from simulated import Bench, Machine, measured, under

from audit import reproducing
from audit.causes import proven
from audit.causes.laboratory import Given, Under
from audit.causes.reproduce import reproduce
from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.errors import NotComparable
from fixtures import record_programs
from fixtures.record_programs import PROGRAMS
from probes.session import Program
from reports import codec, proof, render
from reports.report import Job, Repeat
from reports.reproduction import Reproduction

SOURCES = {"train.py": "3f1c8a02"}
STEPS = 2
USUAL = ("SkylakeX", "Haswell", "Sandybridge", "Nehalem")


def own(machine: Machine, needs: tuple[str, ...], again: int = 0, **facts: Any) -> Job:
    """What the program gives on a machine. needs: the components that its training passes through: its data come out of
    a set (ordering), its model multiplies matrices (blas) and its loss is numpy's (numpy). again: a further run, whose
    sets come in another order where nobody has said in which."""
    effect = {name: fact.value for name, fact in machine.effect().items()}
    seed = again + 100 if facts.get("python.hash_seed") == "random" else effect["python.hash_seed"]
    twists = []
    if "ordering" in needs and seed != 1:
        twists.append(Twist("batch.0", far=float(str(seed))))
    if "blas" in needs and effect["blas.kernel"] != USUAL[0]:
        twists.append(Twist("output", far=1e-6 * USUAL.index(str(effect["blas.kernel"]))))
    if "numpy" in needs and "X86_V4" not in list(effect["numpy.simd_found"]):  # type: ignore[call-overload]
        twists.append(Twist("loss"))
    given = {**effect, "program.sources": SOURCES, **facts}
    return program(*twists, steps=STEPS, facts=given, runs=1)


def with_program(side: Measured, job: Job) -> Measured:
    return Measured(side.label, side.file, side.report, replace(side.target, jobs=[job]))


def recorded(machine: Machine, needs: tuple[str, ...] = ("blas",), **facts: Any) -> Measured:
    return with_program(measured(machine), own(machine, needs, **facts))


class Lab(Bench):
    """A laboratory that runs the program. unset: nobody sets a hash seed here; facts: of the program that runs here;
    ran: how often it ran."""

    def __init__(self, machine: Machine, needs: tuple[str, ...], unset: bool = False, **facts: Any) -> None:
        super().__init__(machine)
        self.program = Program(("python", "train.py"), STEPS)
        self.needs, self.unset, self.facts = needs, unset, facts
        self.ran = 0

    def measure(
        self, values: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        given = super().measure(values, (), battery, repeat, words)
        if given.side is None or not jobs:
            return given
        facts = dict(self.facts)
        if self.unset and "PYTHONHASHSEED" not in values.settings:
            facts["python.hash_seed"] = "random"
        runs = [own(under(self.machine, values), self.needs, self.ran + n, **facts) for n in range(repeat)]
        self.ran += repeat
        digests = [job.trace.digest for job in runs if job.trace]
        repeats = [Repeat(one, *((None, None) if one == digests[0] else (0, 2))) for one in digests[1:]]
        job = replace(runs[0], runs=repeat, repeats=repeats)
        works = [*given.works, "job program"]
        return Given(given.under, works, with_program(given.side, job))


def found(there: Measured, lab: Lab) -> Reproduction:
    return reproduce(there, lab)  # type: ignore[arg-type]


def test_what_only_operators_need_is_no_part_of_it() -> None:
    """On a Haswell numpy's loops are others, too, but this program has none."""
    lab = Lab(Machine(), ("blas",))
    one = found(recorded(Machine("Haswell")), lab)
    assert (one.verdict, one.settings, one.exit) == ("reproduced", {"OPENBLAS_CORETYPE": "Haswell"}, 0)
    assert set(one.wanted) == {"job program"}
    assert proof.missing(one) == ""
    assert one.necessary["OPENBLAS_CORETYPE"].first_divergence.tensor == "output"
    assert "REPRODUCED AND PROVEN. One setting gives" in render.reproduction(one)
    assert "identical in 2 runs: your program (2 steps)" in render.reproduction(one)


@pytest.mark.parametrize("battery", [True, False])
def test_a_setting_that_moves_the_divergence_is_seen_to(battery: bool) -> None:
    """On a Haswell whose loss is another for a reason that no setting stands for."""
    machine = Machine(kernel="Haswell")
    facts = {name: fact.value for name, fact in machine.effect().items()}
    twists = Twist("output", far=1e-6), Twist("loss", far=1e-3)
    job = program(*twists, steps=STEPS, facts={**facts, "program.sources": SOURCES}, runs=1)
    there = with_program(measured(machine), job)
    one = found(there if battery else replaced(there, battery=None), Lab(Machine(), ("blas",)))
    assert one.settings == {}
    tried = one.tried[-1]
    assert (tried.settings, tried.outcome) == ({"OPENBLAS_CORETYPE": "Haswell"}, "not enough")
    assert one.first_divergence
    assert tried.first_divergence
    assert (one.first_divergence.tensor, tried.first_divergence.tensor) == ("output", "loss")
    text = " ".join(render.reproduction(one).split())
    assert "0 -> 0 of 1 not enough; it then parts at your program, step 0, loss" in text


@pytest.mark.parametrize(
    ("there", "needs", "settings", "runs"),
    [
        (Machine(seed=7), ("ordering",), {"PYTHONHASHSEED": "7"}, 4),
        (Machine(kernel="Haswell"), ("blas", "ordering"), {"OPENBLAS_CORETYPE": "Haswell"}, 4),
        (
            Machine(kernel="Haswell", seed=7),
            ("blas", "ordering"),
            {"OPENBLAS_CORETYPE": "Haswell", "PYTHONHASHSEED": "7"},
            8,
        ),
    ],
)
def test_the_program_runs_as_often_as_was_announced(
    there: Machine, needs: tuple[str, ...], settings: dict[str, str], runs: int
) -> None:
    lab = Lab(Machine(), needs)
    one = found(recorded(there, needs), lab)
    assert (one.verdict, one.settings) == ("reproduced", settings)
    assert proof.missing(one) == ""
    assert lab.ran == runs


def test_a_program_that_gives_the_same_is_not_searched_though_operators_differ() -> None:
    lab = Lab(Machine(), ("ordering",))
    one = found(recorded(Machine("Haswell"), ("ordering",)), lab)
    assert (one.verdict, one.settings, one.exit, lab.ran) == ("same", {}, 0, 2)


def test_an_order_that_no_run_repeats_here_is_still_that_of_a_seed_there() -> None:
    lab = Lab(Machine(), ("ordering",), unset=True)
    one = found(recorded(Machine(seed=7), ("ordering",)), lab)
    assert (one.verdict, one.settings) == ("reproduced", {"PYTHONHASHSEED": "7"})
    assert len({child.digests["job program"] for child in one.children if not child.settings}) == 2
    assert proof.missing(one) == ""
    assert one.necessary["PYTHONHASHSEED"].first_divergence.tensor == "batch.0"


def test_what_wavers_here_is_not_laid_at_the_seed_that_did_not_end_it() -> None:
    machine = Machine(seed=7)
    facts = {**{name: fact.value for name, fact in machine.effect().items()}, "program.sources": SOURCES}
    twists = Twist("batch.0", far=7.0), Twist("loss", far=1e-3)
    there = replaced(with_program(measured(machine), program(*twists, steps=STEPS, facts=facts, runs=1)), battery=None)
    one = found(there, Lab(Machine(), ("ordering",), unset=True))
    assert [tried.settings for tried in one.tried] == [{"PYTHONHASHSEED": "7"}]
    assert (one.verdict, one.settings) == ("nondeterministic", {})


def test_what_wavers_without_a_seed_there_cannot_be_had_again() -> None:
    there = replaced(recorded(Machine(), ("ordering",), **{"python.hash_seed": "random"}), battery=None)
    with pytest.raises(NotComparable):
        found(there, Lab(Machine(), ("ordering",), unset=True))


def replaced(side: Measured, **changes: Any) -> Measured:
    return Measured(side.label, side.file, side.report, replace(side.target, **changes))


def test_another_program_is_not_reproduced() -> None:
    lab = Lab(Machine(), ("blas",), **{"program.sources": {"train.py": "77b0e4d1"}})
    with pytest.raises(NotComparable, match=r"not the same program: train\.py differs"):
        found(recorded(Machine("Haswell")), lab)


def test_without_its_command_the_program_is_left_out() -> None:
    lab = Lab(Machine(), ())
    lab.program = None
    one = found(recorded(Machine(kernel="Haswell")), lab)
    assert one.skipped["job program"] == "-- COMMAND was not given"
    assert (one.verdict, lab.ran) == ("reproduced", 0)
    assert not any(name.startswith("job ") for name in one.wanted)


class Played:
    """A laboratory that plays recorded programs. below: the recording under all settings that are tried."""

    def __init__(self, usual: str, below: str) -> None:
        self.program = Program(("python", "train.py"), 1, "operators", (0, 1))
        self.sides = [read(usual), read(below)]
        self.environments, self.runs, self.seconds = None, 0, 0.0

    def measure(
        self, under: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        self.runs += 1
        side = self.sides[bool(under)]
        again = [replace(job, runs=repeat, repeats=[Repeat(job.trace.digest)]) for job in side.target.jobs if job.trace]
        return Given(under, ["job program"], replaced(side, jobs=again))


def read(name: str) -> Measured:
    report, _ = codec.read(str(PROGRAMS / f"{name}.json.gz"))
    return Measured(report.label, name, report, report.targets[0])


def test_a_library_that_goes_by_whose_processor_it_is_has_a_place_to_meet(golden: Callable[[str, str], None]) -> None:
    """oneDNN and ATen go down to a Haswell's code; MKL does on no other make's processor what it does on Intel's."""
    one = found(read("sgd~onednn=cpu.model~haswell"), Played("sgd", "sgd-below"))  # type: ignore[arg-type]
    assert (one.verdict, one.settings) == ("irreducible", {})
    assert one.tried[-1].first_divergence
    assert one.tried[-1].first_divergence.operator == "aten::addmm f4"
    assert one.meeting
    assert one.meeting.own == "mkl"
    assert one.meeting.there == {"MKL_CBWR": "COMPATIBLE"}
    assert one.meeting.here.items() >= {**record_programs.BELOW, "MKL_CBWR": "COMPATIBLE"}.items()
    assert one.notes == []
    options = Namespace(report="server-sgd.json", python=None, via=None)
    shown = replace(one, next=reproducing._next(one, options, None, None, False))  # type: ignore[arg-type]
    golden("reproduce another make.txt", render.reproduction(shown))


def test_what_a_processor_gives_of_itself_is_no_settings_matter(golden: Callable[[str, str], None]) -> None:
    """Under what the other has not, only the square roots of AdamW are left."""
    one = found(read("below~mkl=cpu.model"), Played("operators", "below"))  # type: ignore[arg-type]
    assert (one.verdict, one.settings, one.meeting) == ("irreducible", {}, None)
    assert one.tried[-1].first_divergence
    assert one.tried[-1].first_divergence.operator == "aten::sqrt f4"
    golden("reproduce a processor.txt", render.reproduction(one))


def test_a_proof_is_taken_by_the_comparison_of_the_same_programs() -> None:
    there, lab = recorded(Machine("Haswell")), Lab(Machine(), ("blas",))
    here = recorded(Machine())
    one = found(there, lab)
    comparison = proven.applied(compare([there, here]), [there, here], one, "proof.json")
    assert [cause.status for cause in comparison.causes if "blas" in cause.components] == ["proven"]
    assert "Proven cause:" in render.diff(comparison)
