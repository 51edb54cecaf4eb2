"""A check as GitLab's Code Quality report: what a merge request shows beside the baseline's lines.

docs.gitlab.com, "Code Quality": a list of objects with description, check_name, fingerprint, severity, location.path
and location.lines.begin. The fingerprint is over rule and fact and never over a value, or GitLab would call every
change of the value a problem solved and another one found.
"""

from __future__ import annotations

from typing import Any

from ..checked import Check, Finding
from . import findings, json
from .escape import visible

_SEVERITIES = {"error": "major", "warning": "minor", "info": "info"}


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """A list of what is not waived; GitLab has no word for an exception. all: makes no difference."""
    shown = findings.active(found)
    names = findings.identities(shown)
    return json.text([_problem(found, finding, name) for finding, name in zip(shown, names, strict=True)])


def _problem(found: Check, finding: Finding, name: str) -> dict[str, Any]:
    return {
        "description": visible(" | ".join(findings.lines(finding))) or "(no text)",
        "check_name": visible(finding.rule),
        "fingerprint": name,
        "severity": _SEVERITIES[finding.severity],
        # GitLab drops what has no path or line: what is in no line of the baseline stands at its first.
        "location": {
            "path": visible(found.baseline.removeprefix("./")) or "audit-baseline.json",
            "lines": {"begin": findings.line(finding) or 1},
        },
    }
