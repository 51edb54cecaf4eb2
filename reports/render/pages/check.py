"""The page of `audit check`: passed or not and why, what each finding is about, what is in order, what one can do."""

from __future__ import annotations

from ...checked import Check, Finding
from .. import findings
from ..escape import cut
from .page import Block, Code, Page, Row, Term, Tone, page, section, sentence
from .words import count, listed, value

MOST = 8
"""Findings that are shown without `all`; a check that has more is read in its JSON, or with --all."""

_CHOICES = ("keep", "accept", "postpone")

MESSAGE = 300
"""The most characters of a finding's message in the first line."""


def check_page(found: Check, all: bool = False) -> Page:
    """The page of a check. all: every finding with everything that is folded into it."""
    every = findings.findings(found)
    active = [finding for finding in every if not finding.waived]
    shown = active if all else active[:MOST]
    blocks = [_finding(found, finding, number, all) for number, finding in enumerate(shown)]
    return page(
        _first(found, active),
        [
            *([section(block, _folded(finding)) for block, finding in zip(blocks, shown, strict=True)] if all else []),
            *([] if all else [section(*blocks, _more(active[len(shown) :]))]),
            section(_fine(found), _waived(every, all), _held(found)),
            section(_choose(active, all)),
        ],
        _closing(found),
        _next(found.next),
    )


# The first line


def _first(found: Check, active: list[Finding]) -> tuple[Tone, str, str]:
    """Tone, verdict and the rest of the first line: what the gravest finding says."""
    if found.verdict == "pass":
        warned = [finding for finding in active if finding.severity != "info"]
        if warned:
            return "unsure", "PASSED,", f"with {findings.totals(found)}: {_message(warned[0])}"
        return "good", "PASSED.", f"Nothing that counts differs from {found.baseline or 'the baseline'}."
    verdict: tuple[Tone, str] = ("bad", "FAILED:") if found.verdict == "fail" else ("unsure", "INCOMPLETE:")
    others = [finding.severity for finding in active[1:]]
    more = [
        count(others.count(severity), f"more {noun}")
        for severity, noun in (("error", "error"), ("warning", "warning"))
        if severity in others
    ]
    rest = f" And {listed(more)}." if more else ""
    return *verdict, _message(active[0]) + rest


def _message(finding: Finding) -> str:
    """What is the matter, and why: as sentences."""
    parts = [finding.message or f"{finding.rule} {finding.fact}", finding.because and f"Cause: {finding.because}"]
    return " ".join(_ended(cut(part, MESSAGE)) for part in parts if part)


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


# Findings


def _finding(found: Check, finding: Finding, number: int, all: bool) -> Block:
    """A finding: what, because of what, with what effect. How to keep or accept it stands below, for all together."""
    said = number == 0 and max(map(len, (finding.message, finding.because))) <= MESSAGE  # in the first line of the page
    what = finding.rule.replace("-", " ") if said else finding.message.removeprefix(f"{finding.fact} ")
    skipped = (*(() if all else _CHOICES), *(("because",) if said else ()))
    told = {name: text for name, text in findings.details(finding) if name not in skipped}
    where = _where(found, finding)
    if "because" in told:
        told["because"] += where
        where = ""
    rows = [Row((Code(finding.fact or finding.rule), findings.words(what) + where))]
    rows += [Row((Term(name), text)) for name, text in told.items()]
    grave = finding.severity == "error"
    return Block(
        findings.LABELS[finding.severity],
        tuple(rows),
        least=1 if number < 3 else 0,
        weight=(8 if grave else 6) + (number == 0),
    )


def _where(found: Check, finding: Finding) -> str:
    line = findings.line(finding)
    return f"   ({found.baseline}:{line})" if line and found.baseline else ""


def _more(left: list[Finding]) -> Block | None:
    return sentence("", f"... {count(len(left), 'more finding')} (--all)", weight=9) if left else None


def _folded(finding: Finding) -> Block | None:
    """Every change of a finding; with one alone its sentence has said it."""
    if len(finding.changes) < 2:
        return None
    rows = [
        Row((Code(one.fact), cut(value(one.before), 80), cut(value(one.now), 80), str(one.line or "")))
        for one in finding.changes
    ]
    return Block("Changes", tuple(rows), header=("fact", "baseline", "now", "line"), least=0)


# What is in order, and what can be done


def _fine(found: Check) -> Block | None:
    return Block("Fine", tuple(Row((findings.words(text),)) for text in found.fine), least=0, weight=3)


def _waived(every: list[Finding], all: bool) -> Block:
    waived = [finding for finding in every if finding.waived]
    texts = [f"{findings.words(one.message)} ({findings.words(one.waiver) or 'no reason given'})" for one in waived]
    most = len(texts) if all else 4
    more = [f"{len(texts) - most} more (--all)"] if len(texts) > most else []
    return Block("Waived", tuple(Row((text,)) for text in [*texts[:most], *more]), least=min(1, len(texts)), weight=4)


def _held(found: Check) -> Block:
    """ "1,104 of 1,104 lines of audit-baseline.json and 148 of 148 operators were compared; policy audit.toml"."""
    lines = f"lines of {found.baseline}" if found.baseline else "lines"
    parts = [
        f"{numbers[0]:,} of {numbers[1]:,} {noun}"
        for numbers, noun in ((found.held, lines), (found.operators, "operators"))
        if len(numbers) == 2 and any(numbers)
    ]
    compared = f"{listed(parts)} were compared" if parts else "nothing was compared"
    return sentence("Held", f"{compared}; policy {found.policy}" if found.policy else compared)


def _choose(active: list[Finding], all: bool) -> Block | None:
    """How to keep, accept or postpone what was found, each way said once; `all` has said it with each finding."""
    if all:
        return None
    rows = []
    for name in _CHOICES:
        texts = list(
            dict.fromkeys(text for finding in active[:MOST] for key, text in findings.details(finding) if key == name)
        )
        rows += [Row((Term(name), text)) for text in texts[:2]]
        rows += [Row((Term(""), f"... {len(texts) - 2} more (--all)"))] if len(texts) > 2 else []
    return Block("Choose", tuple(rows), least=min(3, len(rows)), weight=7)


def _closing(found: Check) -> str:
    why = {0: "passed", 1: "drift", 3: "incomplete"}.get(found.exit, "could not check")
    return ". ".join([f"Exit {found.exit} ({why})", *map(findings.words, found.notes[:8])])


def _next(command: str) -> str:
    """ "Next, on this machine:  audit ..." of "on this machine:  audit ..."."""
    if not command or command.startswith("Next"):
        return command
    return f"Next, {command}" if command.startswith("on ") else f"Next:  {command}"
