"""What one core computes in a round: all operators, those of `known.py`, and one reference job, on the round's inputs.
A GPU: the operators of `operators/cuda.py` and its reference job.

Operators that do not repeat by design are left out; on a GPU torch's deterministic algorithms are used besides.
"""

import json
import sys
from typing import Any, Callable, Container, Dict, Iterable, List, NamedTuple, Optional

from . import battery, calls, inputs, jobs, known
from .facts import Absent
from .operators import Operator, cuda
from .operators.ordering import DECIDED_BY_HASH_SEED
from .pinned import Emit, Record, Say
from .trace import Trace

Load = Callable[[str, Emit], bool]
"""Imports a library and says whether it is there; see `child.py`."""

JOB = "job "

_OF_JOB = ("digest", "digests", "rows", "sequence")
"""What is kept of a job's trace."""


class Work(NamedTuple):
    """What a worker is for. device: "cpu" or "cuda"; job: "auto", "operators" or a job; skip: operators to leave out;
    twice: it computes each round twice, as there is no other to compare it with."""

    device: str
    job: str
    skip: Container[str]
    twice: bool


def serve(work: Work, load: Load, commands: Iterable[str], emit: Emit, say: Say) -> None:
    """Answer {"round": number} with what the round gave, as digests, and {"show": names, "second": bool} with what
    these operators gave in the last round, or when that was computed again. Raises Absent where the job cannot run."""
    say("its imports")
    name = _chosen(work, load)
    libraries = dict.fromkeys(("numpy", *jobs.libraries("torch" if work.device == "cuda" else name)))
    loaded = [library for library in libraries if load(library, lambda record: None)]
    absent: Dict[str, str] = {}
    operators = _of_gpu() if work.device == "cuda" else _of_core(absent, loaded)
    operators = [one for one in operators if _repeats(one) and one.name not in work.skip]
    training = jobs.load(name) if name else None
    given: List[Record] = []
    for command in map(json.loads, commands):
        if "show" in command:
            results = given[command["second"]]
            emit({"values": {one: results.get(one) for one in command["show"]}})
            continue
        inputs.begin_round(command["round"])
        given = [_computed(operators, training, work.device, say) for _ in range(1 + work.twice)]
        digests = [{one: seen.get("digest", seen.get("reason")) for one, seen in each.items()} for each in given]
        results = given[0]
        emit(
            {
                "digests": digests[0],
                "second": digests[1] if work.twice else None,
                "wrong": [one for one in results if one.startswith(known.PREFIX) and not known.is_right(results[one])],
                "components": {one.name: [one.component, *one.through] for one in operators},
                "job": name,
                "absent": absent,
            }
        )


def _of_core(absent: Dict[str, str], loaded: List[str]) -> List[Operator]:
    battery.preload()
    return [one for one, _ in battery.load(absent, loaded.__contains__)] + known.operators()


def _of_gpu() -> List[Operator]:
    calls.before_work({"torch_deterministic": True})
    return cuda.operators()


def _repeats(operator: Operator) -> bool:
    return not operator.hazard and operator.name not in DECIDED_BY_HASH_SEED


def _computed(operators: List[Operator], training: Optional[jobs.Job], device: str, say: Say) -> Record:
    """What each operator and the job give, or why one gives nothing."""
    results: Dict[str, Any] = {}
    for operator in operators:
        say(operator.name)
        given = battery.result(operator, sketched=False, whole=True)
        if device == "cuda" and "result" not in given:
            _still_there(given["reason"])
        results[operator.name] = given.get("result") or given
    if training:
        say(JOB + training.name)
        trace = Trace()
        training.run(trace, lambda done, steps: None)
        record = trace.record()
        results[JOB + training.name] = {part: record[part] for part in _OF_JOB}
    return results


def _still_there(reason: str) -> None:
    """Raise what CUDA raises for good once a GPU is lost, and Absent where others took its memory: no result is wrong
    then."""
    if reason.startswith("OutOfMemoryError"):
        raise Absent("no memory was left on the GPU")
    sys.modules["torch"].cuda.synchronize()


def _chosen(work: Work, load: Load) -> str:
    """The job's name: of "auto" numpy's where there is numpy, else Python's; on a GPU torch's; "" for none."""
    if work.job == "operators":
        return ""
    if work.device == "cuda":
        return jobs.ON_CUDA["torch"]
    if work.job == "auto":
        return "numpy" if load("numpy", lambda record: None) else "python"
    return work.job
