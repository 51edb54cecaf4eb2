"""Slurm jobs that are left to themselves: one for each chunk of nodes, which runs `probes.pyz` on each of them.

They need a folder that the nodes have, too; what a node measured is there as soon as it is written, whoever watches.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit import reading
from audit.commands.options import write, writing
from audit.errors import AuditError, ReportError
from audit.fleet.engine import Node
from audit.fleet.gather import Gathered, Shown
from audit.fleet.slurm import Slurm, ask
from audit.targets import bundle
from probes import assemble, interrupts

FOLDER = "batch"

_BETWEEN = 2.0
_SECONDS_BEHIND = 5.0
"""From the end of the last job until what is not there is missing: file systems of clusters take their time."""


class Script(NamedTuple):
    """What is submitted for one chunk."""

    path: str
    nodes: list[Node]
    text: str


@dataclass(frozen=True)
class Batch:
    """folder: where the reports go; jobs, repeat: as audit run has them; chunk: so many nodes a job."""

    slurm: Slurm
    folder: str
    jobs: Sequence[str]
    repeat: int
    chunk: int

    @property
    def name(self) -> str:
        return f"{self.slurm.job_name}-batch"

    def scripts(self, nodes: Sequence[Node]) -> list[Script]:
        asked = [node for node in nodes if not node.lost]
        chunks = [asked[at : at + self.chunk] for at in range(0, len(asked), self.chunk)]
        return [self._script(number, chunk) for number, chunk in enumerate(chunks, 1)]

    def shown(self, nodes: Sequence[Node]) -> str:
        """The commands and the scripts that they submit."""
        texts = [f"$ {shlex.join(_submission(one.path))}\n{one.text}" for one in self.scripts(nodes)]
        return "\n".join(texts)

    def submit(self, nodes: Sequence[Node]) -> None:
        """Write the scripts and what they run, and submit them. Raises AuditError; then no job is left."""
        self._prepare()
        for one in self.scripts(nodes):
            write(one.path, one.text, "-o")
            try:
                ask(*_submission(one.path))
            except AuditError:
                ask("scancel", "--quiet", f"--jobname={self.name}")
                raise

    def watch(self, nodes: Sequence[Node], shown: Shown) -> Gathered:
        """What arrives, until all of it is there or no job is left. A signal ends the watching and no job."""
        found = Gathered(failed={node.label: node.lost for node in nodes if node.lost})
        left = {os.path.join(self.folder, assemble.file_name(node.label)): node for node in nodes if not node.lost}
        over: float | None = None
        try:
            with interrupts.allowed():
                while left and (over is None or time.monotonic() < over):
                    self._take(left, found)
                    shown.summary(found)
                    if left:
                        over = over or (None if self._running() else time.monotonic() + _SECONDS_BEHIND)
                        time.sleep(_BETWEEN)
        except KeyboardInterrupt:
            found.interrupted = True
            return found
        shown.summary(found, last=True)
        logs = {node.label: f"{one.path[:-3]}.log" for one in self.scripts(nodes) for node in one.nodes}
        for node in left.values():
            log = os.path.relpath(logs[node.label], self.folder)
            found.failed[node.label] = f"its job ended without a report of it; see {log}"
            shown.failure(node.label, found.failed[node.label])
        return found

    def _take(self, left: dict[str, Node], found: Gathered) -> None:
        for path in [path for path in left if os.path.exists(path)]:
            node = left.pop(path)
            (read,) = reading.read([path], False, lambda *_: None)
            if isinstance(read, ReportError):
                found.failed[node.label] = "its report cannot be read"
            else:
                found.add(read.targets[0].outline)

    def _running(self) -> bool:
        """Whether a job is left, as far as Slurm tells: its controller may be away for a while."""
        try:
            return bool(ask("squeue", "--noheader", "--format=%i", f"--name={self.name}").strip())
        except AuditError:
            return True

    @property
    def _inside(self) -> str:
        return os.path.join(self.folder, FOLDER)

    def _prepare(self) -> None:
        with writing(self._inside, "-o"):
            os.makedirs(self._inside, exist_ok=True)
            assemble.write_bytes(os.path.join(self._inside, "probes.pyz"), bundle.pyz())

    def _script(self, number: int, nodes: list[Node]) -> Script:
        stem = os.path.join(self._inside, str(number))
        options = [
            f"--job-name={self.name}",
            f"--nodes={len(nodes)}",
            "--ntasks-per-node=1",
            f"--nodelist={','.join(node.name for node in nodes)}",
            "--chdir=/",
            f"--output={stem}.log",
            *self.slurm.alone(),
            *self.slurm.asked.words,
        ]
        jobs = [word for job in self.jobs for word in ("--job", job)]
        program = [self.slurm.python, os.path.join(self._inside, "probes.pyz"), "--quiet", *jobs]
        program += [
            "--repeat",
            str(self.repeat),
            "-o",
            self.folder + "/",
        ]  # there Slurm's name of the node is the label
        lines = ["#!/bin/sh", *(f"#SBATCH {shlex.quote(one)}" for one in options)]
        lines += [shlex.join(["srun", "--cpu-bind=none", "--kill-on-bad-exit=0", *program])]
        return Script(f"{stem}.sh", nodes, "".join(f"{line}\n" for line in lines))


def _submission(path: str) -> list[str]:
    return ["sbatch", "--parsable", path]
