"""What a target is asked, and what becomes of deaths, silence and runs that do not repeat. Children are scripted here;
`tests/audit/test_prefix.py` and `tests/audit/test_run.py` use real ones."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from probes.session import DEATHS, Died, Plan, Program, Record, Request, capture

MACHINE = {"machine": {"cpu.model": {"value": "A 1-2", "source": "s"}}, "jobs": ["python"]}
EFFECT = {"effect": {"python.hash_seed": {"value": 7, "source": "s"}}}


def begin(name: str) -> Record:
    return {"begin": {"name": name, "component": name.split(".")[0]}}


def operator(name: str, digest: str = "00") -> Record:
    return {"operator": {"name": name, "component": name.split(".")[0], "result": {"digest": digest}}}


def quiet(words: str, done: int, total: int) -> None:
    pass


class Child:
    """Answers requests from a script and remembers them."""

    def __init__(self, answer: Callable[[Request], Iterator[Record]]) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Iterator[Record]:
        self.requests.append(request)
        if request.get("machine"):
            yield MACHINE
        yield from self.answer(request)


def test_a_dead_operator_is_left_out_and_the_rest_is_kept() -> None:
    def answer(request: Request) -> Iterator[Record]:
        for name in ("libm.exp", "numpy.argsort", "blas.dot"):
            if name in request["skip"]:
                continue
            yield begin(name)
            if name == "numpy.argsort":
                raise Died("failed", "SIGSEGV")
            yield operator(name)
        yield {"absent": {}}
        yield EFFECT
        yield {"end": 0.5}

    child = Child(answer)
    target = capture(Plan(jobs=(), repeat=1), child, quiet)
    by_name = {one["name"]: one for one in target["battery"]["operators"]}
    assert by_name["numpy.argsort"] == {
        "name": "numpy.argsort",
        "component": "numpy",
        "status": "failed",
        "reason": "SIGSEGV",
    }
    assert by_name["libm.exp"]["result"] == by_name["blas.dot"]["result"] == {"digest": "00"}
    assert target["incomplete"] == ["operator numpy.argsort: SIGSEGV"]
    # Machine facts are asked for once, and what is finished or deadly is not run again.
    assert [request.get("machine", False) for request in child.requests] == [True, False]
    assert child.requests[1]["skip"] == ["libm.exp", "numpy.argsort"]


def test_a_battery_that_keeps_dying_is_given_up() -> None:
    def answer(request: Request) -> Iterator[Record]:
        yield begin(f"libm.f{len(request['skip'])}")
        raise Died("timeout", "no progress for 120 s")

    child = Child(answer)
    target = capture(Plan(jobs=(), repeat=1), child, quiet)
    assert len(child.requests) == DEATHS
    assert target["incomplete"][0] == f"operators: given up after {DEATHS} dead processes"
    assert target["incomplete"][-1] == f"operators: {DEATHS - 5} more failed"
    assert {one["status"] for one in target["battery"]["operators"]} == {"timeout"}


def test_an_operator_that_dies_in_a_later_run_is_not_called_repeatable() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if "libm.exp" not in request["skip"]:
            yield begin("libm.exp")
            if request["run"] == 1:
                raise Died("failed", "SIGSEGV")
            yield operator("libm.exp")
        yield EFFECT
        yield {"end": 0.5}

    target = capture(Plan(jobs=(), repeat=2), Child(answer), quiet)
    assert target["battery"]["operators"] == [
        {"name": "libm.exp", "component": "libm", "status": "failed", "reason": "SIGSEGV"}
    ]
    assert target["incomplete"] == ["operator libm.exp: SIGSEGV"]


def test_an_interpreter_that_gives_no_facts_is_no_target() -> None:
    def launch(request: Request) -> Iterator[Record]:
        raise Died("failed", "SIGILL")
        yield

    with pytest.raises(Died, match="SIGILL"):
        capture(Plan(), launch, quiet)


def test_operators_that_differ_between_runs_are_not_repeatable() -> None:
    def answer(request: Request) -> Iterator[Record]:
        yield operator("libm.exp")
        yield operator("blas.dot", f"0{request['run']}")
        yield EFFECT
        yield {"end": 0.1}

    operators = capture(Plan(jobs=(), repeat=3), Child(answer), quiet)["battery"]["operators"]
    assert "repeats" not in operators[0]
    assert operators[1]["repeats"] == ["01", "02"]


@pytest.mark.parametrize(("seed", "hazard"), [("random", True), (3, False)])
def test_set_order_is_a_hazard_only_under_a_random_seed(seed: Any, hazard: bool) -> None:
    def answer(request: Request) -> Iterator[Record]:
        yield operator("ordering.set.str", f"0{request['run']}")
        yield {"effect": {"python.hash_seed": {"value": seed, "source": "s"}}}
        yield {"end": 0.1}

    (found,) = capture(Plan(jobs=(), repeat=2), Child(answer), quiet)["battery"]["operators"]
    assert found.get("hazard", False) is hazard
    assert ("repeats" in found) is not hazard


def test_facts_in_effect_that_move_between_runs_are_unsteady() -> None:
    def answer(request: Request) -> Iterator[Record]:
        yield {"effect": {"blas.threads": {"value": request["run"], "source": "s"}}}
        yield {"end": 0.1}

    assert capture(Plan(jobs=(), repeat=2), Child(answer), quiet)["unsteady"] == ["blas.threads"]


def test_a_run_that_was_given_up_is_no_run() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["run"] == 1:
            raise Died("failed", "exit status 255")
        yield operator("libm.exp")
        yield EFFECT
        yield {"end": 0.1}

    target = capture(Plan(jobs=(), repeat=2), Child(answer), quiet)
    assert target["battery"]["runs"] == 1
    assert target["incomplete"] == ["operators: exit status 255"]
    assert "unsteady" not in target


def interrupted_at(work: str, run: int) -> Callable[[Request], Iterator[Record]]:
    """A child that answers everything, and a person who presses Ctrl-C half-way through one of its answers."""

    def answer(request: Request) -> Iterator[Record]:
        now = (request["work"], request["run"]) == (work, run)
        if request["work"] == "operators":
            yield operator("libm.exp")
        if now:
            raise KeyboardInterrupt
        if request["work"] == "operators":
            yield operator("libm.log")
        else:
            yield {"job": {"name": request["name"], "trace": _trace([b"a"], "d")}}
        yield EFFECT
        yield {"end": 0.1}

    return answer


@pytest.mark.parametrize(
    ("work", "run", "operators", "runs", "jobs", "words"),
    [
        ("operators", 0, ["libm.exp"], 1, [], "operators, run 1 of 2; not begun: job python, job numpy"),
        ("operators", 1, ["libm.exp", "libm.log"], 1, [], "operators, run 2 of 2; not begun: job python, job numpy"),
        ("job", 0, ["libm.exp", "libm.log"], 2, [], "job python, run 1 of 2; not begun: job numpy"),
        ("job", 1, ["libm.exp", "libm.log"], 2, [("python", 1)], "job python, run 2 of 2; not begun: job numpy"),
    ],
)
def test_an_interruption_keeps_what_was_measured(
    work: str, run: int, operators: list[str], runs: int, jobs: list[tuple[str, int]], words: str
) -> None:
    child = Child(interrupted_at(work, run))
    target = capture(Plan(jobs=("python", "numpy"), partial=True), child, quiet)
    assert target["incomplete"] == ["interrupted during " + words]
    assert [one["name"] for one in target["battery"]["operators"]] == operators
    assert target["battery"]["runs"] == runs
    assert [(job["name"], job["runs"]) for job in target.get("jobs", [])] == jobs
    assert "unsteady" not in target


def test_an_interruption_keeps_nothing_unless_asked_or_without_facts() -> None:
    with pytest.raises(KeyboardInterrupt):
        capture(Plan(), Child(interrupted_at("job", 1)), quiet)

    def launch(request: Request) -> Iterator[Record]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        capture(Plan(partial=True), launch, quiet)


def test_a_battery_whose_hash_seed_is_not_known_may_have_had_a_random_one() -> None:
    def answer(request: Request) -> Iterator[Record]:
        yield operator("ordering.set.str")
        raise KeyboardInterrupt

    (found,) = capture(Plan(jobs=(), partial=True), Child(answer), quiet)["battery"]["operators"]
    assert found["hazard"] is True


def test_a_library_that_kills_at_its_import_is_left_out() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if "numpy" not in request.get("without", []):
            yield {"loading": "numpy"}
            raise Died("failed", "SIGSEGV")
        yield operator("libm.exp")
        yield EFFECT
        yield {"end": 0.1}

    child = Child(answer)
    target = capture(Plan(jobs=(), repeat=2), child, quiet)
    assert target["incomplete"] == ["numpy: SIGSEGV while it was imported"]
    assert target["battery"]["runs"] == 2
    assert [request.get("without") for request in child.requests] == [None, ["numpy"], ["numpy"]]


def _trace(rows: list[bytes], digest: str) -> dict[str, Any]:
    return {"digest": digest, "digests": [base64.b64encode(b"".join(row.ljust(8) for row in rows)).decode()]}


def test_the_first_row_that_a_machine_does_not_repeat_is_named() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "facts":
            return
        last = b"other" if request["run"] else b"c"
        yield {"job": {"name": request["name"], "trace": _trace([b"a", b"b", last], f"d{request['run']}")}}
        yield EFFECT
        yield {"end": 0.2}

    target = capture(Plan(battery=False, jobs=("numpy",), repeat=2), Child(answer), quiet)
    (job,) = target["jobs"]
    assert job["repeats"] == [{"digest": "d1", "step": 0, "row": 2}]
    assert job["runs"] == 2


def test_a_job_that_dies_is_said_and_the_others_run() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "job" and request["name"] == "numpy":
            raise Died("failed", "SIGILL")
        if request["work"] == "job":
            yield {"job": {"name": "python", "trace": _trace([b"a"], "d")}}
        yield EFFECT
        yield {"end": 0.2}

    target = capture(Plan(battery=False, jobs=("numpy", "python"), repeat=1), Child(answer), quiet)
    assert target["jobs"][0] == {"name": "numpy", "status": "failed", "reason": "SIGILL"}
    assert target["jobs"][1]["runs"] == 1
    assert target["incomplete"] == ["job numpy: SIGILL"]


def test_nvml_that_hangs_costs_its_own_facts_only() -> None:
    def launch(request: Request) -> Iterator[Record]:
        if request["work"] == "gpu":
            raise Died("timeout", "no progress for 120 s")
        yield {"machine": {"gpu.nvml": {"value": "libnvidia-ml.so.1", "source": "s"}}, "jobs": []}
        yield {"end": 0.1}

    facts = capture(Plan(battery=False, jobs=()), launch, quiet)["facts"]
    assert facts["gpu.count"] == {"status": "timeout", "reason": "NVML: no progress for 120 s"}


PROGRAM = Program(("python", "train.py"), steps=2)


def ran(run: int, rows: bytes = b"a", reason: str = "", asked: bool = False) -> Iterator[Record]:
    """A program of two processes, as `program/launch.py` tells of it."""
    yield {"progress": [1, 2]}
    for name in ("program.rank0", "program.rank1"):
        told = {"name": name, "trace": _trace([rows], f"d{rows.decode()}"), "scores": [{"name": "bleu", "value": run}]}
        yield {"job": {**told, "facts": {"program.status": {"value": 0, "source": "its end"}}}}
    yield {"program": {"steps": 2, "reason": reason, "asked": asked}}
    yield {"end": 1.5 + run}


def test_a_program_is_run_after_all_else_and_every_process_of_it_is_a_job() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "program":
            yield from ran(request["run"], b"b" if request["run"] == 2 else b"a")
            return
        yield EFFECT
        yield {"end": 0.1}

    child = Child(answer)
    said: list[tuple[str, int, int]] = []
    target = capture(Plan(jobs=(), repeat=3, program=PROGRAM), child, lambda *words: said.append(words))
    assert [request["work"] for request in child.requests] == ["operators"] * 3 + ["program"] * 3
    asked = child.requests[-1]
    assert {name: asked[name] for name in PROGRAM._fields} == PROGRAM._asdict()
    assert ("program, run 2 of 3", 1, 2) in said
    first, second = target["jobs"]
    assert (first["name"], second["name"], first["runs"]) == ("program.rank0", "program.rank1", 3)
    assert first["seconds"] == [1.5, 2.5, 3.5]
    assert first["facts"] == {"program.status": {"value": 0, "source": "its end"}}
    assert first["repeats"] == [
        {"digest": "da", "scores": [{"name": "bleu", "value": 1}]},
        {"digest": "db", "scores": [{"name": "bleu", "value": 2}], "step": 0, "row": 0},
    ]
    assert "incomplete" not in target


@pytest.mark.parametrize("failing", [0, 1])
def test_a_program_that_fails_is_run_no_further_and_is_no_evidence(failing: int) -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "program":
            yield from ran(request["run"], reason="it failed" if request["run"] == failing else "")
        yield {"end": 0.1}

    child = Child(answer)
    target = capture(Plan(battery=False, jobs=(), repeat=3, program=PROGRAM), child, quiet)
    assert sum(request["work"] == "program" for request in child.requests) == failing + 1
    assert target["incomplete"] == ["it failed"]
    assert (target["jobs"][0]["runs"], target["jobs"][0]["repeats"]) == (1, [])
    assert target["jobs"][0]["trace"]["digest"] == "da"


def test_what_watches_a_program_may_die_and_what_it_told_is_kept() -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "program":
            yield next(record for record in ran(0) if "job" in record)
            raise Died("failed", "SIGKILL")
        yield {"end": 0.1}

    target = capture(Plan(battery=False, jobs=(), repeat=1, program=PROGRAM), Child(answer), quiet)
    assert target["incomplete"] == ["program: SIGKILL"]
    assert [job["name"] for job in target["jobs"]] == ["program.rank0"]


def test_a_program_that_recorded_nothing_still_tells_its_facts() -> None:
    facts = {"program.status": {"value": 1, "source": "its end"}}

    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "program":
            yield {"job": {"name": "program", "status": "failed", "reason": "no step", "facts": facts}}
            yield {"program": {"steps": 0, "reason": "no step", "asked": False}}
        yield {"end": 0.1}

    target = capture(Plan(battery=False, jobs=(), repeat=1, program=PROGRAM), Child(answer), quiet)
    assert target["jobs"] == [{"name": "program", "status": "failed", "reason": "no step", "facts": facts}]
    assert target["incomplete"] == ["no step"]


@pytest.mark.parametrize("partial", [False, True])
def test_an_interrupted_program_is_kept_though_nobody_asked_for_it(partial: bool) -> None:
    def answer(request: Request) -> Iterator[Record]:
        if request["work"] == "program":
            yield from ran(0, asked=True)
        yield {"end": 0.1}

    plan = Plan(battery=False, jobs=(), repeat=2, partial=partial, program=PROGRAM)
    target = capture(plan, Child(answer), quiet)
    assert target["incomplete"] == ["interrupted during program, run 1 of 2, after 2 steps"]
    assert target["jobs"][0]["runs"] == 1


def test_an_interruption_before_a_program_says_that_it_was_not_begun() -> None:
    plan = Plan(jobs=("python",), partial=True, program=PROGRAM)
    target = capture(plan, Child(interrupted_at("operators", 0)), quiet)
    assert target["incomplete"] == ["interrupted during operators, run 1 of 2; not begun: job python, program"]
    with pytest.raises(KeyboardInterrupt):
        capture(plan._replace(partial=False), Child(interrupted_at("operators", 0)), quiet)
