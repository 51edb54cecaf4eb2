"""Runs the battery: every operator of every component, and every call of every reference job at its own shapes."""

import importlib
from typing import Any, Callable, Dict, Iterator, List

from .digest import tensor
from .facts import Absent
from .operators import COMPONENTS, Operator
from .sketch import observe

JOBS = ("python", "numpy")


def load(absent: Dict[str, str]) -> Iterator[Operator]:
    """All operators that this interpreter can run, component by component; `absent` gets the reason for the rest."""
    places = ["operators." + name for name in COMPONENTS] + ["jobs." + name for name in JOBS]
    for place in places:
        try:
            module = importlib.import_module("." + place, __package__)
            yield from module.operators()
        except Absent as error:
            absent[place.split(".")[1]] = str(error)


def run(
    emit: Callable[[Dict[str, Any]], None],
    skip: List[str],
) -> None:
    """Run the operators and emit a record each, without those named in `skip`: what an earlier process that died had
    finished, and what killed it."""
    absent: Dict[str, str] = {}
    for operator in load(absent):
        if operator.name in skip:
            continue
        record = describe(operator)
        emit({"begin": record})
        emit({"operator": dict(record, **_result(operator))})
    emit({"absent": absent})


def describe(operator: Operator) -> Dict[str, Any]:
    """What a report says of an operator whatever its result; flags only where they are set."""
    record: Dict[str, Any] = {"name": operator.name, "component": operator.component}
    if operator.version != 1:
        record["version"] = operator.version
    if operator.through:
        record["through"] = list(operator.through)
    for flag in ("control", "threaded", "wide", "hazard"):
        if getattr(operator, flag):
            record[flag] = True
    return record


def _result(operator: Operator) -> Dict[str, Any]:
    try:
        return {"result": observe(tensor(operator.function()))}
    except Absent as error:
        return {"status": "absent", "reason": str(error)}
    except Exception as error:  # an operator that raises costs itself only
        return {"status": "failed", "reason": "{}: {}".format(type(error).__name__, error)}
