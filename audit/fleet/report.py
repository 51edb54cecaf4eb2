"""What the reports of a fleet say: its classes, the nodes that give other bits than theirs, and who is missing."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from audit import expect as expecting
from audit import inputs, reading
from audit.compare.groups import groups
from audit.compare.programs import aligned
from audit.compare.side import Outline
from audit.errors import DIFFERS, INCOMPLETE, SAME, AuditError
from audit.fleet import outliers, retest
from audit.fleet.classes import classes
from reports.fleet import FORMAT, VERSION, Agreeing, Finding, Fleet, FleetVerdict, NodeClass
from reports.render.pages.ranges import folded

_NODE = re.compile(r"[\w.-]+", re.ASCII)
"""Labels that may stand in a line for Slurm; others are no names of nodes."""


def fleet(
    folder: str,
    expect: Sequence[str] | None = None,
    failed: Mapping[str, str] | None = None,
    allow_edited: bool = False,
    notify: reading.Notify = lambda *_: None,
) -> Fleet:
    """The fleet whose reports are in `folder`, with its re-tests.

    expect: labels that should have reported (None: nobody said); failed: why there is no report of a label, in the
    words of the engine. Of each group of equal results one report is read whole. Raises AuditError for a folder that
    cannot be read, and for one without a usable report where nobody is known to be missing.
    """
    read = inputs.sides([folder], allow_edited, notify, expecting=True)
    if not (read.sides or expect or failed):
        why = inputs.none_usable(read.left_out) if read.left_out else "no report in this folder"
        raise AuditError(f"{folder}: {why}; make one on each node: audit run -o {shlex.quote(folder.rstrip('/'))}/")
    rounds, notes = retest.read(folder, allow_edited)
    return of(folder, read, rounds, [*read.notes, *notes], expect, failed or {}, notify)


def of(
    folder: str,
    read: inputs.Inputs,
    rounds: retest.Rounds,
    notes: Sequence[str] = (),
    expect: Sequence[str] | None = None,
    failed: Mapping[str, str] = MappingProxyType({}),
    notify: reading.Notify = lambda *_: None,
) -> Fleet:
    """The fleet of these reports and re-tests. folder: as commands to type name it; others as in `fleet`."""
    nodes = [side.outline for side in read.sides]
    judged = [outliers.judged(one, nodes, read.sides, rounds, notify) for one in classes(nodes)]
    found = _told_apart([one for one, _ in judged])
    agreeing = _agreeing(nodes, _odd(found))
    findings = [*_attendance(read, expect, failed), *_unjudged(found, nodes, agreeing)]
    verdict, status = _verdict(found, findings, nodes)
    return Fleet(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        expected=None if expect is None else len(set(expect)),
        reported=len(nodes),
        classes=found,
        findings=findings,
        agreeing=agreeing,
        slurm=_slurm(agreeing, _odd(found)),
        rounds=len(rounds),
        notes=list(notes),
        exit=status,
        next=_next(
            folder, found, [command for _, command in judged], findings, {node.label: node.file for node in nodes}
        ),
    )


def _odd(found: Sequence[NodeClass]) -> list[str]:
    """The labels of all outliers."""
    return [label for one in found for odd in one.outliers for label in odd.labels]


def _told_apart(found: list[NodeClass]) -> list[NodeClass]:
    """Classes that would go by one name, each with what it is known by."""
    counts = Counter(one.name for one in found)
    return [
        msgspec.structs.replace(one, name=f"{one.name} ({', '.join(one.known_by.values())})")
        if counts[one.name] > 1
        else one
        for one in found
    ]


def _agreeing(nodes: Sequence[Outline], odd: Sequence[str]) -> list[Agreeing]:
    """The sets of two or more nodes that gave the same bits in all that they measured, whatever their classes."""
    left_out = set(odd)
    steady = aligned([node for node in nodes if node.runs and node.label not in left_out])
    found = [[steady[n].label for n in group] for group in (groups(steady) if steady else [])]
    return [Agreeing(labels, ",".join(folded(labels))) for labels in found if len(labels) > 1]


def _slurm(agreeing: Sequence[Agreeing], odd: Sequence[str]) -> list[str]:
    """What keeps a job on nodes that agree, and away from those that do not."""
    lists = (("--exclude", odd), ("--nodelist", agreeing[0].labels if agreeing else []))
    able = [(option, labels) for option, labels in lists if labels and all(map(_NODE.fullmatch, labels))]
    return [f"{option}={','.join(folded(labels))}" for option, labels in able]


def _attendance(read: inputs.Inputs, expect: Sequence[str] | None, failed: Mapping[str, str]) -> list[Finding]:
    """Who of the expected nodes did not report as it should; where nobody said who, what is wrong with the files."""
    nodes = [side.outline for side in read.sides]
    reported = {node.label for node in nodes}
    why = {label: reason for label, reason in failed.items() if label not in reported}
    findings = [Finding("failed", labels, reason) for reason, labels in _by_reason(why).items()]
    unusable = {_stem(one.path): one.unusable for one in read.arrived if one.unusable}
    if expect is None:
        incomplete = {node.label: node.incomplete[0] for node in nodes if node.incomplete}
        findings += [Finding("unusable", labels, reason) for reason, labels in _by_reason(unusable).items()]
        return findings + [Finding("incomplete", labels, reason) for reason, labels in _by_reason(incomplete).items()]
    for one in expecting.judge([*expect, *unusable], read.arrived).findings:
        labels = [label for label in one.labels if label not in why]
        findings += [Finding(one.kind, labels, one.reason)] if labels else []
    return findings


def _stem(path: str) -> str:
    """The label that a file is called after."""
    return os.path.basename(path).removesuffix(".gz").removesuffix(".json")


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, reason in reasons.items():
        found.setdefault(reason, []).append(label)
    return found


def _unjudged(found: Sequence[NodeClass], nodes: Sequence[Outline], agreeing: Sequence[Agreeing]) -> list[Finding]:
    """Nodes of which something or all was held against nobody: without results, without a job that others ran, alone of
    their kind with bits that nobody else has, or of a class in which no result has a majority."""
    unmeasured = [node.label for node in nodes if not node.runs]
    findings = [Finding("incomplete", unmeasured, "no results: nothing was computed")] if unmeasured else []
    findings += [Finding("incomplete", labels, why) for why, labels in _by_reason(_without(found, nodes)).items()]
    agree = {label for one in agreeing for label in one.labels}
    for one in found:
        labels = [label for group in one.groups for label in group]
        if not one.reference and len(labels) > 1:
            findings.append(Finding("undecided", labels, "they disagree, and no result has a majority"))
        elif not one.reference and not agree.issuperset(labels):
            findings.append(Finding("alone", labels, "no other node is like it"))
    return findings


def _without(found: Sequence[NodeClass], nodes: Sequence[Outline]) -> dict[str, str]:
    """Measured nodes that lack a job which others of their class ran, and why."""
    by_label = {node.label: node for node in nodes if node.runs}
    lacking: dict[str, str] = {}
    for one in found:
        members = [by_label[label] for label in one.labels if label in by_label]
        for name in sorted({name for node in members for name in node.jobs}):
            for node in members:
                if name not in node.jobs:
                    lacking.setdefault(
                        node.label, f"no job {name}: {node.unfinished.get(name, 'it was not run there')}"
                    )
    return lacking


def _verdict(
    found: Sequence[NodeClass], findings: Sequence[Finding], nodes: Sequence[Outline]
) -> tuple[FleetVerdict, int]:
    kinds = {one.kind for one in findings}
    if _odd(found):
        return "outliers", DIFFERS
    if "undecided" in kinds:
        return "undecided", DIFFERS
    if sum(node.runs > 0 for node in nodes) < 2:
        return "not-comparable", INCOMPLETE
    if any(one.counts for one in findings):
        return "incomplete", INCOMPLETE
    return "agree", SAME


def _next(
    folder: str,
    found: Sequence[NodeClass],
    commands: Sequence[str],
    findings: Sequence[Finding],
    files: Mapping[str, str],
) -> str:
    """What brings a person nearer to why the first odd node is odd; else what is missing; else what to do with it all.

    commands: of each class, the proof of the first cause in it, or something to share.
    """
    for one, command in zip(found, commands, strict=True):
        if one.outliers:
            odd = one.outliers[0]
            if odd.root is None or odd.verdict in ("nondeterministic", "not confirmed"):
                return f"on {odd.labels[0]}:  audit screen"
            return command if "audit reproduce" in command else _diff(one.reference[0], odd.labels[0], files)
    for one in found:
        if not one.reference and len(one.groups) > 1:
            return _diff(one.groups[0][0], one.groups[1][0], files)
    where = f"{shlex.quote(folder.rstrip(os.sep) or folder)}/"
    for finding in findings:
        label = finding.labels[0]
        if finding.counts and label in files and finding.kind not in ("late", "stale"):
            return f"audit show {shlex.quote(files[label])}"
        if finding.counts:
            return f"on {label}:  audit run --label {shlex.quote(label)} -o {where}"
    return f"audit history add {where}"


def _diff(one: str, other: str, files: Mapping[str, str]) -> str:
    return f"audit diff {shlex.quote(files[one])} {shlex.quote(files[other])}"
