"""A whole session in one child, for a node that is reached once: `work: "report"`.

Contract: it forks for each request, as `alone` does and before any framework is loaded, and sends what the session is
at and, in the end, the target's part of a report. Nothing is written on the node. The request:

    {"work": "report", "jobs": [name ...], "repeat": N, "limit": seconds without progress, "half": null | 1 | 2}
"""

import os
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from . import alone, interrupts, orphans, session

TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/{}"

SECONDS_BETWEEN = 1.0
"""What the session is at is told at most so often."""

SECONDS_TO_END = 5.0
"""How much later than its limit a silent process of the session may be given up. Who waits for it waits longer."""


def run(request: Dict[str, Any], emit: Callable[[Dict[str, Any]], None]) -> None:
    """Answer the request. A signal ends the session and this process; what it started is gone then."""
    interrupts.install()
    began = time.perf_counter()
    if request.get("half"):
        os.sched_setaffinity(0, half(sorted(os.sched_getaffinity(0)), request["half"]))
    limit = float(request["limit"])

    def launch(asked: session.Request) -> Iterator[session.Record]:
        return alone.launch(dict(asked, mortal=limit + SECONDS_TO_END), limit)

    try:
        with orphans.ended():
            plan = session.plan(request["jobs"], request["repeat"])
            emit({"target": session.capture(plan, launch, _told(emit))})
    except session.Died as death:
        emit({"died": {"status": death.status, "reason": death.reason}})
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    emit({"end": round(time.perf_counter() - began, 4)})


def half(cpus: List[int], which: int, topology: str = TOPOLOGY) -> List[int]:
    """The first or second half of some CPUs. The threads of one core are in the same half, unless there is no other
    core; of a single CPU both halves are that one."""
    cores: Dict[Tuple[int, int], List[int]] = {}
    for cpu in sorted(cpus):
        place = (_number(topology.format(cpu, "physical_package_id")), _number(topology.format(cpu, "core_id")))
        cores.setdefault(place, []).append(cpu)
    units = [cores[place] for place in sorted(cores)] if len(cores) > 1 else [[cpu] for cpu in sorted(cpus)]
    middle = (len(units) + 1) // 2
    chosen = units[:middle] if which == 1 else units[middle:] or units
    return sorted(cpu for unit in chosen for cpu in unit)


def _number(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _told(emit: Callable[[Dict[str, Any]], None]) -> session.Notify:
    last: Optional[Tuple[str, float]] = None

    def notify(words: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None or words != last[0] or now - last[1] > SECONDS_BETWEEN:
            last = (words, now)
            emit({"doing": words, "progress": [done, total]})

    return notify
