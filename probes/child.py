"""The audited process: it answers one request with a stream of records and ends.

A record is one JSON object on one framed line (`framed`), written as soon as it is known, so that a crash keeps what
was measured. The records, in the order in which they can come:

    {"start": {"python": "3.11.7"}}                 the interpreter lives and loaded the probes
    {"machine": {fact: ...}, "jobs": [name ...]}    facts that stand once; the jobs that this interpreter can run
    {"begin": {...}}                                about to run it: the one to blame if nothing follows
    {"operator": {...}}                             its result, see `battery.py`
    {"absent": {component: reason}}                 operators that this interpreter cannot run
    {"progress": [done, total]}
    {"job": {...}}                                  a whole reference job: trace and outcome
    {"effect": {fact: ...}}                         facts in effect, read after the work
    {"gpu": {fact: ...}}
    {"end": seconds}                                seconds the work itself took
"""

import json
import os
import sys
import time
from typing import Any, Callable, Dict

from . import battery, environment

Emit = Callable[[Dict[str, Any]], None]


def framed(token: str, descriptor: int) -> Emit:
    """A function that writes a record as one line: a newline first, so that a banner without one cannot swallow it."""

    def emit(record: Dict[str, Any]) -> None:
        line = "\n{} {}\n".format(token, json.dumps(record, separators=(",", ":"))).encode("ascii")
        while line:
            line = line[os.write(descriptor, line) :]

    return emit


def serve(request: Dict[str, Any], emit: Emit) -> None:
    """Do what `request["work"]` says: "facts", "operators", "job" or "gpu"."""
    emit({"start": {"python": "{}.{}.{}".format(*sys.version_info[:3])}})
    if request["work"] == "gpu":
        emit({"gpu": environment.capture("gpu").records})
        emit({"end": 0.0})
        return
    if request.get("machine"):
        _machine(request, emit)
    # Before the clock starts; facts alone need it too: those in effect are of the libraries that a computation loads.
    # The pure-Python job runs without it, as a plain Python program does.
    if request.get("name") != "python":
        has_numpy()
    if request["work"] == "operators":
        battery.preload()
    began = time.perf_counter()
    if request["work"] == "operators":
        battery.run(emit, skip=request.get("skip", []))
    elif request["work"] == "job":
        _job(request, emit)
    seconds = time.perf_counter() - began
    emit({"effect": environment.capture("effect").records})
    emit({"end": round(seconds, 4)})


def has_numpy() -> bool:
    """Whether this interpreter can import numpy (and loads it: its libraries are mapped afterwards)."""
    try:
        import numpy
    except Exception:  # a broken installation raises anything; the jobs' own import says what
        return False
    return hasattr(numpy, "ndarray")


def _machine(request: Dict[str, Any], emit: Emit) -> None:
    facts = environment.capture("machine", environment.Options(verify=bool(request.get("verify"))))
    emit({"machine": facts.records, "jobs": ["python"] + (["numpy"] if has_numpy() else [])})


def _job(request: Dict[str, Any], emit: Emit) -> None:
    from . import jobs
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
