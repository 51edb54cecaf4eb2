"""The values themselves as JSON: what scripts read. The keys of DESIGN section 7 are those of the typed models."""

from __future__ import annotations

import msgspec

from ..checked import Check
from ..comparison import Comparison
from ..explained import Explanation
from ..fleet import Fleet
from ..history import Added, History
from ..report import Report
from ..reproduction import Reproduction
from ..screening import Screening
from ..variation import Variation
from . import escape
from .pages import measured
from .pages import sharing as shared
from .pages.run import RunSummary


def run_summary(report: Report, facts: RunSummary, color: bool = False) -> str:
    """The verdict of a run, the file and its fingerprints; the report itself is in the file."""
    _, verdict, answer = measured.verdict(report)
    targets = [
        {
            "target": target.name,
            "runs": measured.target_runs(target),
            "nondeterministic": measured.unrepeated(target),
            "incomplete": measured.incomplete(target),
            "results": measured.results(target),
            "environment": measured.environment(target),
        }
        for target in report.targets
    ]
    return text(
        {
            "format": "audit-run",
            "version": 1,
            "verdict": verdict.rstrip(".").lower().replace(" ", "-"),
            "plain": answer,
            "label": report.label,
            "digest": report.digest,
            "file": facts.file,
            "bytes": facts.bytes,
            "targets": targets,
            "warnings": facts.warnings,
            "next": facts.next,
        }
    )


def show(report: Report, all: bool = False, color: bool = False) -> str:
    """The whole report; `all` makes no difference, because nothing is left out."""
    return text(report)


def sharing(report: Report, file: str, color: bool = False) -> str:
    """What a report holds, by what it is about, and what no report holds."""
    found = shared.sharing(report)
    body = {**msgspec.to_builtins(found), "plain": found.plain, "look_at": found.odd, "never": shared.NEVER}
    return text({"format": "audit-sharing", "version": 1, **body})


def diff(comparison: Comparison, all: bool = False, color: bool = False) -> str:
    """The whole comparison; `all` makes no difference, because nothing is left out."""
    return text(comparison)


def reproduction(one: Reproduction, all: bool = False, color: bool = False) -> str:
    """The whole reproduction, with the digests of its children."""
    return text(one)


def variation(one: Variation, all: bool = False, color: bool = False) -> str:
    """The whole variation; `all` makes no difference, because nothing is left out."""
    return text(one)


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """The whole check; `all` makes no difference, because nothing is left out."""
    return text(found)


def explain(one: Explanation, all: bool = False, color: bool = False) -> str:
    """The whole explanation; `all` makes no difference, because nothing is left out."""
    return text(one)


def fleet(found: Fleet, all: bool = False, color: bool = False) -> str:
    """The whole fleet; `all` makes no difference, because nothing is left out."""
    return text(found)


def screening(found: Screening, all: bool = False, color: bool = False) -> str:
    """The whole screening; `all` makes no difference, because nothing is left out."""
    return text(found)


def history(found: History | Added, all: bool = False, color: bool = False) -> str:
    """The whole history, or what was added to it; `all` makes no difference."""
    return text(found)


def text(value: object) -> str:
    """Indented JSON in a stable key order, ended by a newline; nothing in it acts on a terminal."""
    return escape.json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode("utf-8")) + "\n"
