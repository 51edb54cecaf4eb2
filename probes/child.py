"""The audited process: it answers one request with a stream of records and ends.

A record is one JSON object on one framed line (`framed`), written as soon as it is known, so that a crash keeps what
was measured. The records, in the order in which they can come:

    {"start": {"python": "3.11.7"}}                 the interpreter lives and loaded the probes
    {"machine": {fact: ...}, "jobs": [name ...]}    facts that stand once; jobs that need no library
    {"loading": name}                               about to import a library, which may end the process
    {"loading": null, "broken": {name: reason}}     it is over; what is installed and cannot be imported
    {"jobs": [name ...]}                            the jobs that this interpreter can run, with its libraries
    {"begin": {...}}                                about to run it: the one to blame if nothing follows
    {"operator": {...}}                             its result, see `battery.py`
    {"absent": {component: reason}}                 operators that this interpreter cannot run
    {"progress": [done, total]}
    {"job": {...}}                                  a whole reference job: trace and outcome
    {"effect": {fact: ...}}                         facts in effect, read after the work
    {"gpu": {fact: ...}}
    {"doing": words, "progress": [done, total]}     what a whole session is at, see `whole.py`
    {"target": {...}}                               all of it: the target's part of a report
    {"died": {"status", "reason"}}                  or why there is none
    {"screen", "round", "refused"}                  what the cores gave, see `screen.py`
    {"command": {"python", "missing"}}              where a command leads, see `program/command.py`
    {"program": {...}}                              what became of a program, see `program/launch.py`
    {"end": seconds}                                seconds the work itself took
"""

import importlib
import importlib.util
import json
import os
import signal
import sys
import time
from typing import Any, Callable, Dict, Optional

from . import battery, calls, environment, jobs

LIBRARIES = {"numpy": "ndarray", "torch": "Tensor", "jax": "jit"}
"""What is imported before any work, each with a name that it has unless no more than its folder is left."""

Emit = Callable[[Dict[str, Any]], None]


def framed(token: str, descriptor: int) -> Emit:
    """A function that writes a record as one line: a newline first, so that a banner without one cannot swallow it."""

    def emit(record: Dict[str, Any]) -> None:
        line = "\n{} {}\n".format(token, json.dumps(record, separators=(",", ":"))).encode("ascii")
        while line:
            line = line[os.write(descriptor, line) :]

    return emit


def serve(request: Dict[str, Any], emit: Emit, line: Optional[int] = None) -> None:
    """Do what `request["work"]` says: "facts", "operators", "job", "gpu", "command", "program", "report" or "screen";
    without the libraries and under the calls that it names. line: see `program/launch.py`."""
    signal.signal(signal.SIGTERM, _leave)
    if "mortal" in request:
        emit = _mortal(emit, float(request["mortal"]))
    emit({"start": {"python": "{}.{}.{}".format(*sys.version_info[:3])}})
    if request["work"] == "gpu":
        emit({"gpu": environment.capture("gpu").records})
        emit({"end": 0.0})
        return
    if request["work"] in ("command", "program"):
        _command(request, emit, line)
        return
    if request["work"] == "report":
        from . import whole

        whole.run(request, emit)
        return
    if request["work"] == "screen":
        from . import screen

        screen.run(request, emit, _load)
        return
    for name in request.get("without", []):
        _bar(name)
    under = request.get("calls", {})
    calls.before_libraries(under)
    if request.get("machine"):
        options = environment.Options(verify=bool(request.get("verify")))
        emit({"machine": environment.capture("machine", options).records, "jobs": ["python"]})
        if _load("numpy", emit):
            emit({"jobs": [name for name in jobs.NAMES if all(map(_installed, jobs.LIBRARIES[name]))]})
    # Before the clock starts; facts alone need it too: those in effect are of the libraries that a computation loads.
    # A job is given its own and no other: the pure-Python one runs without any, as a plain Python program does.
    for name in jobs.libraries(request["name"]) if request["work"] == "job" else ("numpy",):
        _load(name, emit)
    calls.before_work(under)
    if request["work"] == "operators":
        battery.preload()
    began = time.perf_counter()

    def bring(name: str) -> bool:
        nonlocal began
        start = time.perf_counter()
        found = _load(name, emit)
        calls.before_work(under)
        began += time.perf_counter() - start  # importing is no work
        return found

    if request["work"] == "operators":
        battery.run(emit, request.get("skip", []), bring)
    elif request["work"] == "job":
        _job(request, emit)
    seconds = time.perf_counter() - began
    emit({"effect": environment.capture("effect").records})
    emit({"end": round(seconds, 4)})


def _leave(number: int, frame: object) -> None:
    """End by SIGTERM, and not as by default at once: temporary folders go on the way out."""
    sys.exit(128 + number)


def _mortal(emit: Emit, seconds: float) -> Emit:
    """`emit`, and this process ends when nothing was emitted for so long, hung or not: who would end it from outside
    may have been killed, and behind a container engine nobody else ends it."""
    import faulthandler  # its thread needs no GIL, and no signal, which a container's first process would not get

    nowhere = os.open(os.devnull, os.O_WRONLY)
    armed = float("-inf")

    def mortal(record: Dict[str, Any]) -> None:
        nonlocal armed
        if time.monotonic() - armed > 1:  # each arming starts a thread
            faulthandler.dump_traceback_later(seconds + 1, exit=True, file=nowhere)
            armed = time.monotonic()
        emit(record)

    return mortal


def _load(name: str, emit: Emit) -> bool:
    """Import a library, so that its own libraries are mapped afterwards; whether it can be used."""
    if name not in sys.modules:
        emit({"loading": name})
        broken = {}
        try:
            getattr(importlib.import_module(name), LIBRARIES[name])
        except (Exception, SystemExit) as error:  # a broken installation raises anything
            if not (isinstance(error, ModuleNotFoundError) and error.name == name):
                words = "cannot be imported ({}); see what it says: python -c 'import {}'"
                broken[name] = words.format(type(error).__name__, name)  # its message may name anything
            _bar(name)
        emit({"loading": None, "broken": broken})
    return sys.modules[name] is not None


def _installed(name: str) -> bool:
    """Whether a library is there to be imported, and not barred; that it can be is not known before a job needs it."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # without one: no more than its folder is left


def _bar(name: str) -> None:
    """Let every import of a library fail at once, and by the usual exception."""
    sys.modules[name] = None  # type: ignore[assignment]


def _command(request: Dict[str, Any], emit: Emit, line: Optional[int]) -> None:
    from .program import command, launch

    if request["work"] == "program":
        launch.run(request, emit, line)
    else:
        emit({"command": command.located(request["command"])._asdict()})
        emit({"end": 0.0})


def _job(request: Dict[str, Any], emit: Emit) -> None:
    from .facts import Absent
    from .trace import Trace

    try:
        job = jobs.load(request["name"])
    except Absent as error:
        emit({"job": {"name": request["name"], "status": "absent", "reason": str(error)}})
        return
    trace = Trace(whole_step=request.get("whole"))

    def progress(step: int, steps: int) -> None:
        emit({"progress": [step, steps]})

    outcome = job.run(trace, progress)
    record: Dict[str, Any] = {
        "name": job.name,
        "version": job.version,
        "configuration": jobs.configuration_digest(job),
        "trace": trace.record(),
        "outcome": outcome,
    }
    emit({"job": record})
