"""A check as workflow commands of GitHub Actions: annotations at the lines of the committed baseline.

docs.github.com, "Workflow commands for GitHub Actions": `::error file=F,line=L,title=T::MESSAGE`. In values `%`, CR and
LF are escaped, and in properties `:` and `,` as well (actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from ..checked import Check, Finding
from . import findings
from .escape import cut, visible
from .pages.words import count

MOST = 10
"""Annotations that GitHub shows of a step and of a kind; of more, the last says how many there are."""

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """One command a line; "" where nothing is to be said. all: makes no difference, for GitHub drops what is more."""
    active = findings.active(found)
    shown = active if len(active) <= MOST else active[: MOST - 1]
    lines = [_command(found, finding) for finding in shown]
    if len(active) > len(shown):
        left = active[len(shown) :]
        text = f"{count(len(left), 'more finding')}: the log and the job summary have them"
        lines.append(f"::{_COMMANDS[left[0].severity]} title=audit check::{_data(text)}")
    return "".join(f"{line}\n" for line in lines)


def _command(found: Check, finding: Finding) -> str:
    properties = {"title": f"{finding.rule}: {finding.fact}"}
    if found.baseline:
        properties = {"file": found.baseline, **properties}
        if findings.line(finding):
            properties = {"file": found.baseline, "line": str(findings.line(finding)), **properties}
    named = ",".join(f"{name}={_property(text)}" for name, text in properties.items())
    message = "%0A".join(_data(text) for text in findings.lines(finding))
    return f"::{_COMMANDS[finding.severity]} {named}::{message}"


def _data(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(cut(text, 200)).replace(":", "%3A").replace(",", "%2C")
