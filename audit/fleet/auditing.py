"""What `audit fleet` does: gather a report from each node, measure again who gave other bits, say what it came to."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence

import msgspec

from audit import expect
from audit.commands.options import color, refuse_unwritable, write
from audit.errors import INCOMPLETE, SAME, AuditError
from audit.fleet import report, retest
from audit.fleet.batch import Batch
from audit.fleet.engine import Engine, Node
from audit.fleet.gather import Gathered, Shown, gather, request
from audit.fleet.slurm import Slurm
from audit.inputs import NO_REPORT, SUFFIXES
from audit.progress import Progress
from probes import interrupts, orphans, streams
from probes.session import Request
from reports import render
from reports.fleet import Fleet
from reports.render.escape import visible
from reports.render.pages.words import count

EXPECTED = "expected.txt"
"""Who should report: written before the first does."""

_MOST_BYTES = 64 << 20


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Audit an engine's nodes. Raises AuditError if it cannot be begun, or if a report cannot be written."""
    interrupts.hold()
    with orphans.ended(), engine:
        with interrupts.allowed():
            nodes = engine.nodes()
        batch = _batch(engine, options)
        if options.dry_run:
            _show(engine, batch, nodes)
            return SAME
        _prepare(options.output, nodes)
        with Progress(options.quiet, patience=0) as progress:
            found = _first(engine, batch, nodes, options, Shown(progress, len(nodes)))
            told = None if found.interrupted else _judged(engine, nodes, found, options, progress)
    return _deliver(told, options) if told else _interrupted(found, len(nodes), batch, options.output)


def read(options: argparse.Namespace) -> int:
    """Say what the reports of a folder come to. Raises AuditError for one that has none."""
    listed = options.expect or os.path.join(options.folder, EXPECTED)
    expected = expect.read(listed) if options.expect or os.path.exists(listed) else None
    with Progress(options.quiet) as progress:
        told = report.fleet(options.folder, expected, _failed(options.folder), options.allow_edited, progress.notify)
    return _deliver(told, options)


def _batch(engine: Engine, options: argparse.Namespace) -> Batch | None:
    if not getattr(options, "batch", False):
        return None
    assert isinstance(engine, Slurm)
    if engine.allocation:
        raise AuditError("--batch submits jobs of its own; inside an allocation, leave it out")
    folder = os.path.abspath(options.output)
    if "%" in folder or not folder.isprintable():
        raise AuditError("--batch: sbatch takes a % in a folder's name for its own, and a line's end; name another -o")
    return Batch(engine, folder, options.job or ["auto"], options.repeat, options.chunk)


def _show(engine: Engine, batch: Batch | None, nodes: list[Node]) -> None:
    """What would be done, on standard output; whom it leaves out, on standard error."""
    asked = [node for node in nodes if not node.lost]
    streams.show(batch.shown(asked) if batch else engine.shown(asked))
    for node in nodes:
        if node.lost:
            streams.say(visible(f"{node.label}: {node.lost}"))


def _prepare(folder: str, nodes: Sequence[Node]) -> None:
    """The folder, without a report yet, and in it who is expected. Raises AuditError."""
    path = os.path.join(folder, EXPECTED)
    refuse_unwritable(path, "-o", make=True)
    if any((name.endswith(SUFFIXES) and name != NO_REPORT) or name == retest.FOLDER for name in os.listdir(folder)):
        again = f"audit fleet report {shlex.quote(folder)}"
        raise AuditError(f"{folder}: it holds reports already; name another folder, or read them: {again}")
    write(path, "".join(f"{node.label}\n" for node in nodes), "-o")


def _first(
    engine: Engine, batch: Batch | None, nodes: Sequence[Node], options: argparse.Namespace, shown: Shown
) -> Gathered:
    """Measure all nodes once, and write down why some have no report."""
    if batch:
        batch.submit(nodes)
        found = batch.watch(nodes, shown)
    else:
        found = gather(engine, nodes, _request(options), options.output, options.at_once, shown)
    failed = json.dumps(found.failed, indent=0, sort_keys=True)
    write(os.path.join(options.output, NO_REPORT), f"{failed}\n", "-o")
    return found


def _judged(
    engine: Engine, nodes: Sequence[Node], found: Gathered, options: argparse.Namespace, progress: Progress
) -> Fleet | None:
    """What it came to, when those who gave other bits were measured again, and their controls; None: interrupted."""

    def told() -> Fleet:
        with interrupts.allowed():
            labels = [node.label for node in nodes]
            return report.fleet(options.output, labels, found.failed, notify=progress.notify)

    try:
        fleet = told()
        wanted = set(retest.wanted(fleet))
        chosen = [node for node in nodes if node.label in wanted]
        for number in range(1, options.retest + 1) if chosen else ():
            folder = os.path.join(options.output, retest.FOLDER, str(number))
            os.makedirs(folder, exist_ok=True)
            shown = Shown(progress, len(chosen), f"re-test {number} of {options.retest}: ")
            again = gather(engine, chosen, _request(options, _half(number)), folder, options.at_once, shown)
            if again.interrupted:
                return None
        return told() if chosen and options.retest else fleet
    except KeyboardInterrupt:
        return None


def _request(options: argparse.Namespace, half: int | None = None) -> Request:
    return request(options.job or ["auto"], options.repeat, options.limit, half)


def _half(number: int) -> int | None:
    """Which half of the CPUs a round is measured on: the whole machine in odd rounds, then each half in turn."""
    return None if number % 2 else 1 if number % 4 == 2 else 2


def _failed(folder: str) -> dict[str, str]:
    """What `run` wrote of nodes without a report. Raises AuditError for a file that is something else."""
    path = os.path.join(folder, NO_REPORT)
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise AuditError(f"{path}: not what audit fleet writes: labels, each with why it has no report") from None


def _interrupted(found: Gathered, total: int, batch: Batch | None, folder: str) -> int:
    kept = f"{len(found.outlines):,} of {count(total, 'report')} kept"
    going = f"; jobs go on (squeue --name={batch.name})" if batch else ""
    streams.say(
        visible(f"audit fleet: interrupted; {kept}{going}; read them: audit fleet report {shlex.quote(folder)}")
    )
    return INCOMPLETE


def _deliver(told: Fleet, options: argparse.Namespace) -> int:
    if not options.quiet:
        text = render.fleet(told, options.format, all=options.all, color=color())
        streams.show(text if text.endswith("\n") else text + "\n")
    return told.exit
