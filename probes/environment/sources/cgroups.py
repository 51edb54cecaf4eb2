"""The control groups of this process, version 1 and 2, with the limits of every level above it.

A limit of a parent binds its children, so the smallest on the way to the mount point is the one in effect.
Source: cgroups(7), proc_pid_mountinfo(5); kernel documentation cgroup-v2.rst.
"""

import os
from typing import Callable, List, NamedTuple, Optional

from ...facts import Absent, text

SOURCE = "/proc/self/cgroup and mountinfo"

UNLIMITED_MEMORY = 1 << 60
"""Bytes; version 1 has no word for "no limit" and gives a number just below 2**63 instead."""


class _Mount(NamedTuple):
    point: str
    root: str
    kind: str  # cgroup or cgroup2
    options: List[str]


def _unescape(field: str) -> str:
    # mountinfo writes space, tab, newline and backslash as three octal digits.
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _mounts(proc: str) -> List[_Mount]:
    found = []
    for line in text(os.path.join(proc, "mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) >= 5 and len(kinds) >= 3 and kinds[0] in ("cgroup", "cgroup2"):
            found.append(_Mount(_unescape(fields[4]), _unescape(fields[3]), kinds[0], kinds[2].split(",")))
    return found


def _own_path(proc: str, controller: str, kind: str) -> Optional[str]:
    # Lines "4:memory:/docker/<id>"; version 2 is "0::/path".
    for line in text(os.path.join(proc, "cgroup")).splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if kind == "cgroup2" and number == "0" and not controllers:
            return path
        if kind == "cgroup" and controller in controllers.split(","):
            return path
    return None


def levels(controller: str, proc: str = "/proc/self") -> List[str]:
    """Folders of this process's group of a controller, itself first, then its parents up to the mount point.

    Raises Absent where there is no such hierarchy, OSError where /proc is not there.
    """
    for mount in _mounts(proc):
        if mount.kind == "cgroup" and controller not in mount.options:
            continue
        path = _own_path(proc, controller, mount.kind)
        if path is None:
            continue
        # Without a cgroup namespace the path starts at the machine's root, as the mount's root does.
        inner = path[len(mount.root.rstrip("/")) :] if path.startswith(mount.root) else ""
        folder = os.path.normpath(mount.point + "/" + inner)
        if not os.path.isdir(folder) or not folder.startswith(mount.point):
            folder = mount.point
        if mount.kind == "cgroup2" and not _has_controller(mount.point, controller):
            continue
        chain = [folder]
        while folder != mount.point:
            folder = os.path.dirname(folder)
            chain.append(folder)
        return chain
    raise Absent("no control group for {}".format(controller))


def _has_controller(point: str, controller: str) -> bool:
    # A mixed system mounts an empty version 2 tree beside version 1.
    try:
        return controller in text(os.path.join(point, "cgroup.controllers")).split()
    except OSError:
        return True


def _smallest(controller: str, proc: str, limit: Callable[[str], Optional[float]]) -> Optional[float]:
    limits = []
    for folder in levels(controller, proc):
        try:
            value = limit(folder)
        except (FileNotFoundError, ValueError):
            continue  # the root group has no limit files
        if value is not None:
            limits.append(value)
    return min(limits) if limits else None


def cpu_quota(proc: str = "/proc/self") -> Optional[float]:
    """CPUs' worth of time that the group may use, None where it is not limited. Raises Absent, OSError."""
    return _smallest("cpu", proc, _cpu_quota)


def _cpu_quota(folder: str) -> Optional[float]:
    if os.path.exists(os.path.join(folder, "cpu.max")):
        quota, period = text(os.path.join(folder, "cpu.max")).split()
    else:
        quota = text(os.path.join(folder, "cpu.cfs_quota_us"))
        period = text(os.path.join(folder, "cpu.cfs_period_us"))
    return None if quota in ("max", "-1") else round(int(quota) / int(period), 4)


def memory(proc: str = "/proc/self") -> Optional[int]:
    """Bytes that the group may use, None where it is not limited. Raises Absent, OSError."""
    limit = _smallest("memory", proc, _memory)
    return None if limit is None else int(limit)


def _memory(folder: str) -> Optional[float]:
    path = os.path.join(folder, "memory.max")
    limit = text(path if os.path.exists(path) else os.path.join(folder, "memory.limit_in_bytes"))
    if limit == "max" or int(limit) >= UNLIMITED_MEMORY:
        return None
    return int(limit)


def cpuset(proc: str = "/proc/self") -> str:
    """The CPUs that the group may use, as the kernel writes lists: "0-3,8". Raises Absent, OSError."""
    for folder in levels("cpuset", proc):
        for file in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            try:
                cpus = text(os.path.join(folder, file))
            except FileNotFoundError:
                continue
            if cpus:
                return cpus
    raise Absent("the control group names no CPUs")


def processes(proc: str = "/proc/self") -> Optional[int]:
    """Processes that the group may have, None where it is not limited. Raises Absent, OSError."""
    limit = _smallest("pids", proc, _processes)
    return None if limit is None else int(limit)


def _processes(folder: str) -> Optional[float]:
    limit = text(os.path.join(folder, "pids.max"))
    return None if limit == "max" else int(limit)
