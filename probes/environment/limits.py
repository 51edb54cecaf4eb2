"""What this process may use of the machine: CPUs, memory, and the limits of getrlimit(2)."""

import os
import sys
from typing import Any, List, Optional

from ..facts import Absent, Facts
from .sources import cgroups

SCOPE = "machine"

_ULIMITS = {
    "limits.address_space": "RLIMIT_AS",
    "limits.core": "RLIMIT_CORE",
    "limits.cpu_seconds": "RLIMIT_CPU",
    "limits.data": "RLIMIT_DATA",
    "limits.file_size": "RLIMIT_FSIZE",
    "limits.locked_memory": "RLIMIT_MEMLOCK",
    "limits.open_files": "RLIMIT_NOFILE",
    "limits.processes": "RLIMIT_NPROC",
    "limits.stack": "RLIMIT_STACK",
}
NAMES = (
    "limits.affinity",
    "limits.affinity_list",
    "limits.cpu_quota",
    "limits.cpuset",
    "limits.memory",
    "limits.cgroup_processes",
    "limits.cgroup_version",
    *_ULIMITS,
)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("limits.affinity", "sched_getaffinity", lambda: len(_affinity()))
    facts.read("limits.affinity_list", "sched_getaffinity", lambda: ranges(_affinity()))
    facts.read("limits.cpu_quota", cgroups.SOURCE, lambda: cgroups.cpu_quota())
    facts.read("limits.cpuset", cgroups.SOURCE, lambda: cgroups.cpuset())
    facts.read("limits.memory", cgroups.SOURCE, lambda: cgroups.memory())
    facts.read("limits.cgroup_processes", cgroups.SOURCE, lambda: cgroups.processes())
    facts.read("limits.cgroup_version", cgroups.SOURCE, _cgroup_version)
    for name, limit in _ULIMITS.items():
        facts.read(name, "getrlimit", lambda limit=limit: _ulimit(limit))  # type: ignore[misc]


def _affinity() -> List[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise Absent("this system has no CPU affinity that Python can read")
    return sorted(os.sched_getaffinity(0))


def ranges(numbers: List[int]) -> str:
    """[0, 1, 2, 8] as the kernel writes it: "0-2,8"."""
    parts: List[str] = []
    start = previous = None
    for number in [*numbers, -1]:
        if previous is not None and number == previous + 1:
            previous = number
            continue
        if start is not None:
            parts.append(str(start) if start == previous else "{}-{}".format(start, previous))
        start = previous = number
    return ",".join(parts)


def _cgroup_version() -> int:
    try:
        folder = cgroups.levels("cpu")[-1]
    except Absent:
        folder = cgroups.levels("memory")[-1]
    return 2 if os.path.exists(os.path.join(folder, "cgroup.controllers")) else 1


def _ulimit(limit: str) -> Optional[int]:
    if sys.platform == "win32":
        raise Absent("Windows has no getrlimit")
    import resource

    if not hasattr(resource, limit):
        raise Absent("this system has no {}".format(limit))
    soft = resource.getrlimit(getattr(resource, limit))[0]
    return None if soft == resource.RLIM_INFINITY else int(soft)
