"""The page at the end of `audit run`: does this machine repeat itself, what was measured and saved, what next."""

from __future__ import annotations

import os
import re
import shlex

from msgspec import Struct
from msgspec.structs import replace

from ...programs import is_program
from ...report import Report
from . import measured, recorded
from .page import Block, Page, Row, Section, page, section
from .show import left_out, target_sections
from .words import size_bytes

_HOME = re.compile(r"^(?:/root|/home/[^/]+|/Users/[^/]+)(?=/)")
"""What people paste from a terminal need not name them."""


class RunSummary(Struct, frozen=True):
    """What a report does not say of its own making.

    interpreter: which Python was measured, as a path on this machine; the report has its last part only.
    file: the name it was saved under, "" if it was not; bytes: its size there. next: the last line, with or without
    its "Next". warnings: what a person must know at once, such as an interpreter that was not the active one.
    """

    file: str = ""
    bytes: int = 0
    next: str = ""
    warnings: list[str] = []
    interpreter: str = ""


def pasted(facts: RunSummary) -> RunSummary:
    """The same for a page that others will read: without the folders of this machine."""
    name = os.path.basename(facts.file)
    shown = facts.next.replace(shlex.quote(facts.file), shlex.quote(name)) if facts.file else facts.next
    return replace(facts, file=name, next=shown, interpreter="")


def run_page(report: Report, facts: RunSummary) -> Page:
    """The page of `audit run`."""
    tone, verdict, answer = measured.verdict(report)
    if facts.file:
        answer += f" Saved {facts.file} ({size_bytes(facts.bytes)})."
    sections = [_warnings(facts)]
    for target in report.targets:
        if facts.interpreter:
            target = replace(target, interpreter=_HOME.sub("~", facts.interpreter))
        sections += target_sections(target, several=len(report.targets) > 1)
    unseen = dict.fromkeys(text for target in report.targets for text in measured.not_seen(measured.every(target)))
    texts = [
        *list(unseen)[:3],
        *([f"{len(unseen) - 3} more reasons (audit show)"] if len(unseen) > 3 else []),
    ]
    notes = dict.fromkeys(note for target in report.targets for note in recorded.notes(target))
    rows = tuple(Row((text,)) for text in [*notes, "; ".join(texts)] if text)
    last = section(Block("Not seen", rows) if rows else None, left_out())
    return page(
        (tone, verdict, answer),
        [*sections, last],
        _reach(report),
        _next(facts),
    )


def _reach(report: Report) -> str:
    """What was not measured, so that nobody takes the reference jobs for the own training, nor one run for all."""
    if recorded.once(report):
        return "Your program ran once; whether it repeats itself, --steps N --repeat 2 tells."
    jobs = [job for target in report.targets for job in target.jobs]
    ran = any(job.trace for job in jobs) and not any(is_program(job.name) for job in jobs)
    return "This measured the machine. For your training:  audit run --steps 20 -- python train.py" if ran else ""


def _warnings(facts: RunSummary) -> Section:
    rows = tuple(Row((text,)) for text in facts.warnings)
    return section(Block("Warning", rows) if rows else None)


def _next(facts: RunSummary) -> str:
    if not facts.next or facts.next.startswith("Next"):
        return facts.next
    return f"Next, {facts.next}" if facts.next.startswith("on ") else f"Next:  {facts.next}"
