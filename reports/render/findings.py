"""What all formats of a check say alike: which findings there are, in which order, at which line, in which words.

Texts here are raw; each format escapes what it writes.
"""

from __future__ import annotations

import hashlib

from ..checked import Change, Check, Finding
from .escape import cut
from .pages.words import count, listed, value

LONGEST = 1000
"""The most characters of one text in a format that a service stores or a person reads in a list."""

_ORDER = {"error": 0, "warning": 1, "info": 2}

LABELS = {"error": "ERROR", "warning": "WARN", "info": "INFO"}

NOT_READ = "unreadable"
"""The rule of what a check says of facts that could not be read, where none of its findings does."""

_UNREAD = (NOT_READ, "required-unreadable")

NOTHING = "nothing-compared"
"""The rule of a check that did not pass and says of nothing why: comparing nothing is never a pass."""

INCOMPLETE = (*_UNREAD, NOTHING)
"""The rules of what was not compared, where others found what differs."""


def findings(found: Check) -> list[Finding]:
    """All that a format must show, the gravest first and what is waived last. What could not be read is a finding in
    every format, though a check may only name it, and a check that did not pass has at least one."""
    told = any(finding.rule in _UNREAD for finding in found.findings)
    every = [*found.findings, *([] if told else _unread(found))]
    if found.verdict != "pass" and all(finding.waived for finding in every):
        every.append(Finding(NOTHING, "results", "error", _no_reason(found)))
    return sorted(every, key=lambda one: (one.waived, _ORDER[one.severity], one.new is False))


def _unread(found: Check) -> list[Finding]:
    """One finding a reason: whatever cannot be loaded leaves many facts without a value."""
    reasons: dict[str, list[str]] = {}
    for fact, reason in found.missing.items():
        reasons.setdefault(reason, []).append(fact)
    return [
        Finding(NOT_READ, facts[0], "error", f"{listed(facts, 3)} could not be read: {reason}")
        for reason, facts in reasons.items()
    ]


def _no_reason(found: Check) -> str:
    if found.verdict == "incomplete":
        return "what the baseline holds was not compared, so nothing is known to be in order"
    return "the check failed, and no finding in it says why"


def active(found: Check) -> list[Finding]:
    """The findings that no waiver covers."""
    return [finding for finding in findings(found) if not finding.waived]


def totals(found: Check) -> str:
    """ "1 error, 2 warnings"."""
    severities = [finding.severity for finding in active(found)]
    parts = [
        count(severities.count(severity), noun)
        for severity, noun in (("error", "error"), ("warning", "warning"), ("info", "remark"))
        if severity in severities
    ]
    return ", ".join(parts)


def words(text: str) -> str:
    """A text, cut to what is stored or read in a list."""
    return cut(text, LONGEST)


def line(finding: Finding) -> int:
    """The line of the baseline that a finding is about, counted from 1; 0: none."""
    places = [finding.line, *(change.line for change in finding.changes)]
    return next((place for place in places if 0 < place < 1 << 31), 0)


def change(one: Change) -> str:
    """ "libc.version 2.36 -> 2.41"."""
    return f"{one.fact} {cut(value(one.before), 40)} -> {cut(value(one.now), 40)}"


def because(finding: Finding) -> str:
    """What made it so: the finding's own words, else the root's change, which comes first; "" where the message is
    about just that."""
    first = finding.changes[0] if finding.changes else None
    return finding.because or (change(first) if first and first.fact not in finding.message else "")


def came_with(finding: Finding) -> str:
    """What else moved with the root, and how many changes are folded into this finding."""
    others = len(finding.changes) - 1
    told = "folded" in finding.came_with  # the finding's own words count them
    folded = f"{count(others, 'other change')} folded into this finding" if others > 0 and not told else ""
    return "; ".join(part for part in (finding.came_with, folded) if part)


def history(finding: Finding) -> str:
    """Whether the previous check had it too; "" where none was given."""
    if finding.new is None:
        return ""
    return "the previous check did not have it" if finding.new else "the previous check had it too"


def details(finding: Finding) -> list[tuple[str, str]]:
    """All that a finding says beside its message: what it is called, and the text."""
    parts = [
        ("because", because(finding)),
        ("came with", came_with(finding)),
        ("effect", finding.effect),
        ("new" if finding.new else "known", history(finding)),
        ("waived", finding.waiver if finding.waived else ""),
        ("keep", finding.keep),
        ("accept", finding.accept),
        ("postpone", finding.postpone),
    ]
    return [(name, words(text)) for name, text in parts if text]


def lines(finding: Finding) -> list[str]:
    """A finding as lines of text: its message, then its details."""
    return [words(finding.message), *(f"{name}: {text}" for name, text in details(finding))]


def identity(finding: Finding) -> str:
    """What names a finding in every run: its own identity, or one from rule and fact; never from a value."""
    if finding.identity:
        return finding.identity
    text = f"{finding.rule}\0{finding.fact}".encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def identities(shown: list[Finding]) -> list[str]:
    """Fingerprints (hex) that are unique in one file: services take two findings of one fingerprint for one."""
    seen: dict[str, int] = {}
    found = []
    for finding in shown:
        name = identity(finding)
        seen[name] = seen.get(name, 0) + 1
        numbered = f"{name}\0{seen[name]}" if seen[name] > 1 else name
        found.append(hashlib.blake2b(numbered.encode("utf-8", "replace"), digest_size=16).hexdigest())
    return found
