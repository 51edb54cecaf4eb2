"""What a person named on the command line, as the sides of a comparison: `REPORT[#TARGET]...`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from audit.compare.side import Measured
from audit.errors import AuditError, ReportError
from reports import codec
from reports.report import Report, Target


def sides(names: list[str], allow_edited: bool = False) -> tuple[list[Measured], list[str]]:
    """The sides to compare, in the order given, and what must be said about the files.

    One report with several targets gives its targets. Several reports give the target that all of them have.
    Raises ReportError for a file that cannot be used, AuditError if there is nothing to compare.
    """
    loaded, notes = [], []
    for name in names:
        path, wanted = split(name)
        report, said = _read(path, allow_edited)
        notes += said
        loaded.append((path, report, _chosen(path, report, wanted)))
    if len(loaded) == 1:
        path, report, targets = loaded[0]
        if len(targets) < 2:
            raise AuditError(
                f"{path} has one target ({targets[0].name}); name a second report: audit diff {path} OTHER.json"
            )
        found = [Measured(target.name, path, report, target) for target in targets]
        return found, notes
    found = _matched(loaded, notes)
    notes += _same_twice(found)
    return _told_apart(found), notes


def split(name: str) -> tuple[str, str | None]:
    """`REPORT#TARGET` at its last `#`, unless a file has the whole name."""
    if "#" not in name or os.path.exists(name):
        return name, None
    path, target = name.rsplit("#", 1)
    return path, target


def _read(path: str, allow_edited: bool) -> tuple[Report, list[str]]:
    try:
        return codec.read(path, allow_edited)
    except codec.CodecError as error:
        raise ReportError(str(error)) from None


def _chosen(path: str, report: Report, wanted: str | None) -> list[Target]:
    if not report.targets:
        raise ReportError(f"{path}: it has no target; make it again: audit run -o {path}")
    if wanted is None:
        return list(report.targets)
    found = [target for target in report.targets if target.name == wanted]
    if not found:
        names = ", ".join(target.name for target in report.targets)
        raise ReportError(f"{path}: no target {wanted!r}; it has: {names}")
    return found


def _matched(loaded: list[tuple[str, Report, list[Target]]], notes: list[str]) -> list[Measured]:
    """One side a report: its only target, or the one that all reports have (host first)."""
    if all(len(targets) == 1 for _, _, targets in loaded):
        return [Measured(report.label, path, report, targets[0]) for path, report, targets in loaded]
    common = [
        target.name
        for target in loaded[0][2]
        if all(any(other.name == target.name for other in targets) for _, _, targets in loaded)
    ]
    if not common:
        names = "; ".join(f"{path}: {', '.join(target.name for target in targets)}" for path, _, targets in loaded)
        raise AuditError(f"no target is in all reports ({names}); choose with REPORT#TARGET")
    chosen = "host" if "host" in common else common[0]
    others = [name for name in common if name != chosen]
    if others:
        notes.append(f"compared target {chosen}; also in all reports: {', '.join(others)} (choose with REPORT#TARGET)")
    return [
        Measured(report.label, path, report, next(target for target in targets if target.name == chosen))
        for path, report, targets in loaded
    ]


def _same_twice(found: list[Measured]) -> list[str]:
    counts = Counter((side.report.digest, side.target.name) for side in found)
    twice = [side for side in found if counts[side.report.digest, side.target.name] > 1]
    return [f"{twice[0].file} and {twice[1].file} are the same report"] if twice else []


def _told_apart(found: list[Measured]) -> list[Measured]:
    """Labels that two sides share are replaced: by the file's name, then by label and target, then by position."""
    names = [side.label for side in found]
    for better in (
        [Path(side.file).name.removesuffix(".gz").removesuffix(".json") for side in found],
        [f"{side.label}#{side.target.name}" for side in found],
        [side.file for side in found],
        [f"{side.file} ({position + 1})" for position, side in enumerate(found)],
    ):
        counts = Counter(names)
        if max(counts.values()) == 1:
            break
        names = [new if counts[name] > 1 else name for name, new in zip(names, better, strict=True)]
    return [replace(side, label=name) for side, name in zip(found, names, strict=True)]
