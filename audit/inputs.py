"""What a person named on the command line, as the sides of a comparison: `REPORT[#TARGET]...`, or folders."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from audit import reading
from audit.compare.side import Measured, Outline, Side
from audit.errors import AuditError, ReportError
from audit.expect import Arrived
from reports.comparison import NotCompared

SUFFIXES = (".json", ".json.gz")
"""What the reports of a folder are called; hidden files (one that is being written) are none."""

NO_REPORT = "failed.json"
"""What else is in a folder of reports: why there is none of some nodes."""


@dataclass(frozen=True)
class _Asked:
    """One file to read. target: the wanted one, None for whichever fits; in_folder: it was found, not named."""

    path: str
    target: str | None = None
    in_folder: bool = False


@dataclass(frozen=True)
class Inputs:
    """The sides in the order given; what must be said about the files; reports of a folder that cannot be used.
    arrived: all files, where somebody wants to know who reported."""

    sides: list[Side]
    notes: list[str]
    left_out: list[NotCompared]
    arrived: list[Arrived] = field(default_factory=list)


def sides(
    names: list[str], allow_edited: bool = False, notify: reading.Notify = lambda *_: None, expecting: bool = False
) -> Inputs:
    """The sides to compare. expecting: who reported is an answer, too, though it be only one or nobody.

    One report with several targets gives its targets. Several reports give the target that all of them have. A file
    that was named must be readable; one of a folder is left out with its reason, and costs nobody else's result.
    Raises ReportError for a file that cannot be used, AuditError if there is nothing to compare.
    """
    loaded, left_out, arrived = _loaded(names, allow_edited, notify, expecting)
    notes = [note for file, _ in loaded for note in file.notes]
    if len(loaded) == 1 and not expecting:
        return Inputs(_targets(*loaded[0], left_out), notes, left_out)
    if not loaded and not expecting:
        raise ReportError(f"{names[0]}: {none_usable(left_out)}")
    found = _matched(loaded, notes) if loaded else []
    notes += _same_twice([side.outline for side in found])
    return Inputs(_told_apart(found), notes, left_out, arrived)


def none_usable(left_out: list[NotCompared]) -> str:
    """What is said of a folder in which there are files, and of which none is a report that can be used."""
    return f"none of its {len(left_out)} files can be used; the first: {left_out[0].reason}"


def every(
    names: list[str], allow_edited: bool = False, notify: reading.Notify = lambda *_: None
) -> tuple[list[tuple[reading.File, list[Side]]], list[NotCompared]]:
    """Every report that is named or lies in a folder, with all its targets or the one that was chosen; and the reports
    of folders that cannot be used. Raises as `sides` does."""
    loaded, left_out, _ = _loaded(names, allow_edited, notify)
    return loaded, left_out


def _loaded(
    names: list[str], allow_edited: bool, notify: reading.Notify, expecting: bool = False
) -> tuple[list[tuple[reading.File, list[Side]]], list[NotCompared], list[Arrived]]:
    asked = [one for name in names for one in _asked(name, expecting)]
    loaded: list[tuple[reading.File, list[Side]]] = []
    left_out: list[NotCompared] = []
    arrived: list[Arrived] = []
    files = reading.read([one.path for one in asked], allow_edited, notify)
    for one, file in zip(asked, files, strict=True):
        if isinstance(file, ReportError):
            if not one.in_folder:
                raise file
            left_out.append(NotCompared(f"report {Path(one.path).name}", str(file).removeprefix(f"{one.path}: ")))
        else:
            loaded.append((file, _chosen(file, one.target)))
        if expecting:
            arrived += _arrived(one.path, file if isinstance(file, ReportError) else loaded[-1])
    return loaded, left_out, arrived


def _arrived(path: str, found: ReportError | tuple[reading.File, list[Side]]) -> list[Arrived]:
    """A file as whoever waits for it sees it; none if it is gone again."""
    try:
        modified = os.stat(path).st_mtime
    except OSError:
        return []
    if isinstance(found, ReportError):
        return [Arrived(path, modified, unusable=str(found).removeprefix(f"{path}: "))]
    file, chosen = found
    lacks = next((reason for side in chosen for reason in side.outline.incomplete), "")
    return [Arrived(path, modified, file.label, file.created, lacks)]


def gathered(folder: str, allow_edited: bool = False, notify: reading.Notify = lambda *_: None) -> Inputs:
    """The sides of a folder that many nodes write into, one a report, though there be one or none; and who arrived.

    Raises AuditError for a folder that cannot be read, and where no target is in all reports.
    """
    return sides([folder], allow_edited, notify, expecting=True)


def one(name: str, allow_edited: bool = False) -> tuple[Measured, list[str]]:
    """One target of one report, `REPORT[#TARGET]`, and what must be said about the file: its only target, or the host.

    Raises ReportError for a file that cannot be used, and where none of several targets is named or is the host.
    """
    path, wanted = split(name)
    (file,) = reading.read([path], allow_edited, lambda *_: None)
    if isinstance(file, ReportError):
        raise file
    chosen = _chosen(file, wanted)
    hosts = [side for side in chosen if side.outline.target == "host"]
    if len(chosen) > 1 and not hosts:
        names = ", ".join(side.outline.target for side in chosen)
        raise ReportError(f"{path}: several targets ({names}); choose one with {path}#TARGET")
    return (chosen[0] if len(chosen) == 1 else hosts[0]).whole(), file.notes


def _asked(name: str, expecting: bool) -> list[_Asked]:
    """The files that a name stands for. Raises AuditError for a folder without reports, unless some are expected."""
    if not os.path.isdir(name):
        return [_Asked(*split(name))]
    try:
        inside = sorted(filter(_is_report, os.listdir(name)))
    except OSError as error:
        raise AuditError(f"{name}: {error.strerror or error}") from None
    if not inside and not expecting:
        raise AuditError(f"{name}: no report in this folder (*.json, *.json.gz); make one: audit run -o FILE")
    return [_Asked(os.path.join(name, one), in_folder=True) for one in inside]


def _is_report(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".") and name != NO_REPORT


def split(name: str) -> tuple[str, str | None]:
    """`REPORT#TARGET` at its last `#`, unless a file has the whole name."""
    if "#" not in name or os.path.exists(name):
        return name, None
    path, target = name.rsplit("#", 1)
    return path, target


def _chosen(file: reading.File, wanted: str | None) -> list[Side]:
    if wanted is None:
        return file.targets
    found = [side for side in file.targets if side.outline.target == wanted]
    if not found:
        names = ", ".join(side.outline.target for side in file.targets)
        raise ReportError(f"{file.path}: no target {wanted!r}; it has: {names}")
    return found


def _targets(file: reading.File, chosen: list[Side], left_out: list[NotCompared]) -> list[Side]:
    """The targets of the only report. Raises AuditError if there is only one."""
    if len(chosen) < 2:
        others = f" ({len(left_out)} other files of the folder cannot be used)" if left_out else ""
        raise AuditError(
            f"{file.path} has one target ({chosen[0].outline.target}){others}; "
            f"name a second report: audit diff {file.path} OTHER.json"
        )
    return _told_apart([_relabelled(side, side.outline.target) for side in chosen])


def _matched(loaded: list[tuple[reading.File, list[Side]]], notes: list[str]) -> list[Side]:
    """One side a report: its only target, or the one that all reports have (host first)."""
    if all(len(targets) == 1 for _, targets in loaded):
        return [targets[0] for _, targets in loaded]
    names = [[side.outline.target for side in targets] for _, targets in loaded]
    common = [name for name in names[0] if all(name in others for others in names)]
    if not common:
        shown = [f"{file.path}: {', '.join(those)}" for (file, _), those in zip(loaded, names, strict=True)]
        more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise AuditError(f"no target is in all reports ({'; '.join(shown[:3])}{more}); choose with REPORT#TARGET")
    chosen = "host" if "host" in common else common[0]
    others = list(dict.fromkeys(name for name in common if name != chosen))
    if others:
        notes.append(f"compared target {chosen}; also in all reports: {', '.join(others)} (choose with REPORT#TARGET)")
    return [next(side for side in targets if side.outline.target == chosen) for _, targets in loaded]


def _same_twice(found: list[Outline]) -> list[str]:
    first: dict[tuple[str, str], Outline] = {}
    notes = []
    for side in found:
        same = first.setdefault((side.digest, side.target), side)
        if same is not side:
            notes.append(f"{same.file} and {side.file} are the same report")
    return notes if len(notes) < 4 else [*notes[:2], f"{len(notes) - 2} more reports are given twice"]


def _told_apart(found: list[Side]) -> list[Side]:
    """Labels that two sides share are replaced: by the file's name, then by label and target, then by position."""
    if len(found) < 2:
        return found
    outlines = [side.outline for side in found]
    names = [side.label for side in outlines]
    if len({side.file for side in outlines}) == 1 and len({side.target for side in outlines}) == len(outlines):
        names = [side.target for side in outlines]  # targets of one report: the machine is the same
    for better in (
        [Path(side.file).name.removesuffix(".gz").removesuffix(".json") for side in outlines],
        [f"{side.label}#{side.target}" for side in outlines],
        [side.file for side in outlines],
        [f"{side.file} ({position + 1})" for position, side in enumerate(outlines)],
    ):
        counts = Counter(names)
        if max(counts.values()) == 1:
            break
        names = [new if counts[name] > 1 else name for name, new in zip(names, better, strict=True)]
    return [_relabelled(side, name) for side, name in zip(found, names, strict=True)]


def _relabelled(side: Side, label: str) -> Side:
    if side.outline.label == label:
        return side
    if isinstance(side, Measured):
        return replace(side, label=label)
    assert isinstance(side, reading.Stored)
    return replace(side, outline=msgspec.structs.replace(side.outline, label=label))
