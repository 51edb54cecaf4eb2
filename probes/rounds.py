"""What one core computes in a round: all operators, those of `known.py`, and one reference job, on the round's inputs.

Operators that do not repeat by design are left out.
"""

import json
from typing import Any, Callable, Container, Dict, Iterable, List

from . import battery, inputs, jobs, known
from .operators import Operator
from .operators.ordering import DECIDED_BY_HASH_SEED
from .pinned import Emit, Record, Say
from .trace import Trace

Load = Callable[[str, Emit], bool]
"""Imports a library and says whether it is there; see `child.py`."""

JOB = "job "

_OF_JOB = ("digest", "digests", "rows", "sequence")
"""What is kept of a job's trace."""


def serve(job: str, skip: Container[str], load: Load, commands: Iterable[str], emit: Emit, say: Say) -> None:
    """Answer {"round": number} with what the round gave, as digests, and {"show": names} with what these operators
    gave in the last round. job: "auto", "operators" or a job; skip: operators to leave out. Raises Absent where the job
    cannot run."""
    say("its imports")
    name = _chosen(job, load)
    libraries = dict.fromkeys(("numpy", *jobs.libraries(name)))
    loaded = [library for library in libraries if load(library, lambda record: None)]
    battery.preload()
    absent: Dict[str, str] = {}
    operators = [one for one, _ in battery.load(absent, loaded.__contains__) if _repeats(one)] + known.operators()
    operators = [one for one in operators if one.name not in skip]
    training = jobs.load(name) if name else None
    results: Record = {}
    for command in map(json.loads, commands):
        if "show" in command:
            emit({"values": {one: results.get(one) for one in command["show"]}})
            continue
        inputs.begin_round(command["round"])
        results = _computed(operators, say)
        if training:
            say(JOB + name)
            trace = Trace()
            training.run(trace, lambda done, steps: None)
            record = trace.record()
            results[JOB + name] = {part: record[part] for part in _OF_JOB}
        emit(
            {
                "digests": {one: seen.get("digest", seen.get("reason")) for one, seen in results.items()},
                "wrong": [one for one in results if one.startswith(known.PREFIX) and not known.is_right(results[one])],
                "components": {one.name: [one.component, *one.through] for one in operators},
                "job": name,
                "absent": absent,
            }
        )


def _repeats(operator: Operator) -> bool:
    return not operator.hazard and operator.name not in DECIDED_BY_HASH_SEED


def _computed(operators: List[Operator], say: Say) -> Record:
    """What each operator gives, or why it gives nothing."""
    results: Dict[str, Any] = {}
    for operator in operators:
        say(operator.name)
        given = battery.result(operator, sketched=False, whole=True)
        results[operator.name] = given.get("result") or given
    return results


def _chosen(job: str, load: Load) -> str:
    """The job's name: of "auto" numpy's where there is numpy, else Python's; "" for none."""
    if job == "operators":
        return ""
    if job == "auto":
        return "numpy" if load("numpy", lambda record: None) else "python"
    return job
