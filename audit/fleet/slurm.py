"""Slurm as an engine: one `srun` of one task a node, each a command prefix like any other.

Outside an allocation each is a job of its own, which has its node alone, with all CPUs, GPUs and memory. Inside one
(SLURM_JOB_ID) each is a step on a node of it. A node that is down is never waited for, a busy one only so long.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.errors import AuditError
from audit.fleet.engine import NO_PROGRAM, Engine, Node
from audit.targets import bundle
from audit.targets.prefix import PrefixTarget
from audit.targets.talk import Child
from audit.targets.target import NotPython

SECONDS = 60.0
"""How long a command of Slurm's may take to answer."""

USABLE = ("idle", "mixed", "allocated", "completing", "planned", "reserved")
"""States in which a node takes a job, now or when another has ended. Source: sinfo(1), "NODE STATE CODES"."""

_SECONDS_TO_END = 5.0

_SAID = {
    "due to time limit": "its job reached Slurm's time limit",
    "node failure": "Slurm lost the node",
    "cancelled at": "its job was cancelled",
}
"""What srun says in small letters when Slurm ended the job, and what it means."""

_REFUSED = ("unable to allocate resources", "unable to create step")
_BUSY = ("busy", "immediate", "temporarily", "timed out")
"""Of what Slurm refuses, what it would take at another time."""


@dataclass(frozen=True)
class Asked:
    """What the options say: which nodes, the Python on them, how many seconds a node may show no progress, how many a
    busy one is waited for, and words that srun is given besides."""

    nodes: str | None
    partition: str | None
    python: str
    limit: float
    wait: int
    words: list[str] = field(default_factory=list)


class SlurmTarget(PrefixTarget):
    """One node. srun ends what it started when it is asked to, and needs its time for that."""

    @property
    def words(self) -> str:
        return f"its {os.path.basename(self.python)}"

    def end(self, child: Child) -> None:
        assert isinstance(child, subprocess.Popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_SECONDS_TO_END / 5)  # what has sent its last record: then its job is complete, not cancelled
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_SECONDS_TO_END)
        super().end(child)


class Slurm(Engine):
    """The cluster to which Slurm's commands on this machine belong."""

    via = "srun"
    chosen = "as --python says"

    def __init__(self, asked: Asked, environment: Mapping[str, str] = os.environ) -> None:
        self.asked = asked
        self.python = asked.python
        self.job_name = "audit-" + secrets.token_hex(4)
        self.began = False
        self.allocation = environment.get("SLURM_JOB_ID")
        self.allocated = environment.get("SLURM_JOB_NODELIST", "") if self.allocation else ""

    def close(self) -> None:
        """What an srun left that had to be killed."""
        if self.began and not self.allocation:
            with contextlib.suppress(AuditError):
                ask("scancel", "--quiet", f"--jobname={self.job_name}")

    def nodes(self) -> list[Node]:
        asked = self.asked.nodes or self.allocated
        states = _states(f"--nodes={asked}" if asked else self._partition())
        names = hostnames(asked) if asked else list(states)
        if not names:
            where = f"partition {self.asked.partition}" if self.asked.partition else "the default partition"
            raise AuditError(f"Slurm has no node in {where}; name nodes with --nodes or a partition with --partition")
        mine = set(hostnames(self.allocated) if self.allocated else names)
        return [Node(name, name, self._lost(name, states, mine)) for name in names]

    def target(self, node: Node) -> SlurmTarget:
        self.began = True
        target = SlurmTarget(self.prefix(node.name), self.asked.python, self.asked.limit)
        target.queue = self.asked.wait
        return target

    def prefix(self, node: str) -> list[str]:
        """What stands in front of the interpreter on a node. It is in a folder that every node has."""
        words = ["srun", "--quiet", "--nodes=1", "--ntasks=1", f"--nodelist={node}", "--chdir=/"]
        words += ["--cpu-bind=none", f"--immediate={self.asked.wait}"]
        if not self.allocation:
            words += [f"--job-name={self.job_name}", *self.alone()]
        return [*words, *self.asked.words]

    def alone(self) -> list[str]:
        """The options of a job that has its nodes for itself: an audit beside another job measures half a machine."""
        partition = [f"--partition={self.asked.partition}"] if self.asked.partition else []
        return [*partition, "--exclusive", "--mem=0"]

    def why(self, error: Exception, said: str) -> str:
        said = said.lower()
        ended = next((words for mark, words in _SAID.items() if mark in said), None)
        if ended:
            return ended
        if any(mark in said for mark in _REFUSED):
            busy = any(mark in said for mark in _BUSY)
            return f"busy: it had no place within {self.asked.wait} s" if busy else "Slurm refused its job"
        if isinstance(error, NotPython) and any(mark in said for mark in NO_PROGRAM):
            return f"it has no {os.path.basename(self.asked.python)}"
        return super().why(error, said)

    def shown(self, nodes: list[Node]) -> str:
        lines = [f"{shlex.join([*self.prefix(one.name), self.asked.python])} -c {bundle.SHELL_LOADER}" for one in nodes]
        return "".join(f"{line}\n" for line in lines)

    def _partition(self) -> str:
        return f"--partition={self.asked.partition or _default_partition()}"

    def _lost(self, name: str, states: Mapping[str, str], mine: set[str]) -> str:
        state = states.get(name)
        if state is None:
            return "Slurm knows no such node"
        if name not in mine:
            return f"not in this allocation (job {self.allocation})"
        usable = re.fullmatch(rf"({'|'.join(USABLE)})[^*]?", state.split(" ")[0])
        return "" if usable else state


def hostnames(nodes: str) -> list[str]:
    """The names in a node list of Slurm's. Raises AuditError."""
    return list(dict.fromkeys(ask("scontrol", "show", "hostnames", nodes).split()))


def _states(which: str) -> dict[str, str]:
    """What Slurm says of nodes by name: "idle", "down* (Not responding)". Raises AuditError."""
    found = {}
    for line in ask("sinfo", "--noheader", "--Node", "--format=%N|%T|%E", which).splitlines():
        name, _, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        found[name] = state if reason.strip().lower() in ("", "none") else f"{state} ({reason.strip()})"
    return found


def _default_partition() -> str:
    names = ask("sinfo", "--noheader", "--format=%P").split()
    default = next((name for name in names if name.endswith("*")), None)
    if default is None:
        raise AuditError("Slurm has no default partition; name one with --partition, or nodes with --nodes")
    return default[:-1]


def ask(*command: str) -> str:
    """What a command of Slurm's prints. Raises AuditError, in which it says why it cannot."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        raise AuditError(f"no {command[0]} on this machine; run it where Slurm's commands are") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        why = getattr(error, "strerror", None) or f"no answer within {SECONDS:.0f} s"
        raise AuditError(f"{command[0]}: {why}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise AuditError(f"{command[0]}: {said[-1].removeprefix(f'{command[0]}: ').removeprefix('error: ')}")
    return done.stdout.decode("utf-8", "replace")
