"""Runs the battery: every operator of every component, and every call of every reference job at its own shapes."""

import importlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from .digest import tensor
from .facts import Absent, Wrong, failure
from .jobs import NAMES
from .operators import COMPONENTS, FRAMEWORKS, Operator
from .sketch import is_floating, observe

SAMPLES = 64
"""Elements kept of a large result. Fewer than a trace keeps: of 700 operators, 256 elements each are 1 MB, and the
sketch beside them still gives the exact differences where few elements differ."""


def preload() -> None:
    """Import what numpy itself imports on first use, so that no operator's time is an import's. What is broken fails
    again, and is said, in the operators that need it."""
    for name in ("numpy.fft", "numpy.ma", "numpy.random"):
        try:
            importlib.import_module(name)
        except Exception:  # see above
            return


class _Place(NamedTuple):
    """A file with operators, the framework that it needs imported, and whether their results are sketched."""

    module: str
    framework: str
    sketched: bool


def _places() -> List[_Place]:
    """In the order in which they run: what needs no framework first, then each framework with all that needs it."""
    order = ["", *dict.fromkeys(FRAMEWORKS.values())]
    places = [_Place("operators." + name, FRAMEWORKS.get(name, ""), True) for name in COMPONENTS]
    places += [_Place("jobs." + name, name if name in order else "", False) for name in NAMES]
    return sorted(places, key=lambda place: order.index(place.framework))


def load(absent: Dict[str, str], bring: Callable[[str], bool]) -> Iterator[Tuple[Operator, bool]]:
    """All operators that this interpreter can run, each with whether to sketch its result: a job's own trace has the
    sketches of its calls. `absent` gets the reason for what cannot be run; bring: imports a framework, when all that
    does without it is done, and says whether it is there."""
    for place in _places():
        if place.framework and not bring(place.framework):
            continue
        try:
            module = importlib.import_module("." + place.module, __package__)
            for operator in module.operators():
                yield operator, place.sketched
        except Absent as error:
            absent[place.module.split(".")[1]] = str(error)


def run(
    emit: Callable[[Dict[str, Any]], None],
    skip: List[str],
    bring: Callable[[str], bool],
) -> None:
    """Run the operators and emit a record each, without those named in `skip`: what an earlier process that died had
    finished, and what killed it. bring: see `load`."""
    absent: Dict[str, str] = {}
    for operator, sketched in load(absent, bring):
        if operator.name in skip:
            continue
        record = describe(operator)
        emit({"begin": record})
        emit({"operator": dict(record, **result(operator, sketched))})
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


def result(operator: Operator, sketched: bool, whole: bool = False) -> Dict[str, Any]:
    """What is kept of what an operator gives, under "result"; or why it gives nothing. whole: every element."""
    try:
        given = tensor(operator.function())
        # Integers that differ are other numbers, not near ones: no count of ULPs to recover.
        return {"result": observe(given, whole, SAMPLES, sketched=sketched and is_floating(given.dtype))}
    except Absent as error:
        return {"status": "absent", "reason": str(error)}
    except Wrong as error:
        return {"status": "failed", "reason": str(error)}
    except Exception as error:  # an operator that raises costs itself only
        return {"status": "failed", "reason": failure(error)}
