"""Evidence that this process runs in a container, a sandbox or a job of a cluster: all of it, not a first match.

Identifiers are left out: a container's name and number say nothing about results.
"""

import os
import re
from typing import Any, Callable, List

from ..facts import Facts, text
from .sources import forms

SCOPE = "machine"
NAMES = ("container.evidence", "container.kind")

# What a control group's path or a mount's source names: runtime by pattern.
_PATTERNS = (
    ("kubernetes", r"kubepods"),
    ("docker", r"/docker[/-]|/docker/|/var/lib/docker/"),
    ("podman", r"libpod|/containers/storage/"),
    ("containerd", r"cri-containerd|io\.containerd"),
    ("cri-o", r"crio-"),
    ("lxc", r"/lxc(\.payload)?[./]"),
    ("systemd-nspawn", r"/machine\.slice/"),
    ("slurm", r"/slurm"),
    ("ecs", r"/ecs/"),
)
_FILES = {
    "/.dockerenv": "docker",
    "/run/.containerenv": "podman",
    "/.singularity.d": "apptainer",
    "/run/host/container-manager": "flatpak or toolbox",
    "/proc/vz": "openvz",
}
_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "kubernetes",
    "APPTAINER_CONTAINER": "apptainer",
    "SINGULARITY_CONTAINER": "apptainer",
    "CH_RUNNING": "charliecloud",
    "ECS_CONTAINER_METADATA_URI_V4": "ecs",
    "SLURM_JOB_ID": "slurm",
    "CODESPACES": "codespaces",
    "container": "container",
}
# Source: systemd, Container Interface; systemd-detect-virt(1)
_MANAGERS = forms.words("docker podman lxc lxc-libvirt systemd-nspawn rkt oci pouch proot wsl openvz vservers")


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    found = facts.read("container.evidence", "files, variables, control groups, mounts, /proc", evidence)
    facts.read("container.kind", "container.evidence", lambda: kinds(found or []))


def evidence() -> List[str]:
    """One line each, "docker: /.dockerenv is there", sorted; empty where nothing says so."""
    found = ["{}: {} is there".format(kind, path) for path, kind in _FILES.items() if os.path.exists(path)]
    found += ["{}: {} is set".format(kind, name) for name, kind in _VARIABLES.items() if name in os.environ]
    for look in (_control_groups, _root_mount, _first_process, _manager, _subsystem):
        found.extend(_guarded(look))
    return sorted(set(found))


def kinds(found: List[str]) -> List[str]:
    """The runtimes that the evidence names, sorted, each once."""
    return sorted({line.split(":")[0] for line in found})


def _guarded(look: Callable[[], List[str]]) -> List[str]:
    try:
        return look()
    except (OSError, ValueError):
        return []


def _named(content: str, where: str) -> List[str]:
    return ["{}: {}".format(kind, where) for kind, pattern in _PATTERNS if re.search(pattern, content)]


def _control_groups() -> List[str]:
    content = text("/proc/self/cgroup") + "\n" + text("/proc/1/cgroup")
    return _named(content, "a control group's path")


def _root_mount() -> List[str]:
    for line in text("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[4] == "/":
            kind = fields[fields.index("-") + 1]
            found = _named(line, "the root file system's mount")
            if kind in ("overlay", "aufs", "fuse.fuse-overlayfs"):
                found.append("container: the root file system is {}".format(kind))
            return found
    return []


def _first_process() -> List[str]:
    # In a process namespace without a hidden /proc, the kernel's scheduler file shows the outer number.
    match = re.match(r"\S+ \((\d+),", text("/proc/1/sched", 256))
    return ["container: process 1 has another number outside"] if match and match.group(1) != "1" else []


def _manager() -> List[str]:
    kind = forms.recorded(text("/run/systemd/container", 64), _MANAGERS)
    return ["{}: /run/systemd/container".format("container" if kind == forms.NOT_RECORDED else kind)]


def _subsystem() -> List[str]:
    version = text("/proc/version", 512).lower()
    return ["wsl: the kernel is Microsoft's"] if "microsoft" in version else []
