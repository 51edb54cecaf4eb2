"""A check as SARIF 2.1.0, for GitHub code scanning and other readers of static analysis.

OASIS, Static Analysis Results Interchange Format 2.1.0: section numbers below are of that document.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from ..checked import Check, Finding
from ..rules import RULES
from . import findings, json
from .escape import visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}

_LINK = re.compile(r"\](?=\()")
"""What would make a link of a text (3.11.6)."""


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """One run of one tool. all: makes no difference, because nothing is left out."""
    shown = findings.findings(found)
    ids = list(dict.fromkeys(finding.rule for finding in shown))
    names = findings.identities(shown)
    results = [_result(found, finding, ids, name) for finding, name in zip(shown, names, strict=True)]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "reproducibility-auditor", "rules": [_rule(rule) for rule in ids]}},
        "invocations": [{"executionSuccessful": found.verdict != "incomplete", "exitCode": found.exit}],
        "results": results,
    }
    return json.text({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(name: str) -> dict[str, Any]:
    """A rule as code scanning lists it (3.49)."""
    known = RULES.get(name)
    described = {"shortDescription": {"text": known.meaning}} if known else {}
    helped = (
        {"help": {"text": f"Keep: {known.keep} Accept: {known.accept} Postpone: {known.postpone}"}} if known else {}
    )
    return {"id": visible(name), **described, **helped}


def _result(found: Check, finding: Finding, ids: list[str], name: str) -> dict[str, Any]:
    """One finding (3.27). Its fingerprint is made of rule and fact, so another value is still the same finding."""
    result: dict[str, Any] = {
        "ruleId": visible(finding.rule),
        "ruleIndex": ids.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": _message(finding)},
        "locations": [_location(found, finding)],
        "partialFingerprints": {"auditFinding/v1": name},
    }
    if finding.new is not None:
        result["baselineState"] = "new" if finding.new else "unchanged"
    if finding.waived:
        reason = {"justification": visible(findings.words(finding.waiver))} if finding.waiver else {}
        # Its status is left out, which means accepted (3.35.3): the first schema calls it "state", Errata 01 "status".
        result["suppressions"] = [{"kind": "external", **reason}]
    return result


def _message(finding: Finding) -> str:
    return "\n".join(_LINK.sub(r"\\]", visible(text)) for text in findings.lines(finding)) or "(no text)"


def _location(found: Check, finding: Finding) -> dict[str, Any]:
    """Where the baseline holds the fact (3.28), and the fact itself as what a person calls the place (3.33)."""
    logical = {"logicalLocations": [{"fullyQualifiedName": visible(findings.words(finding.fact)) or "(none)"}]}
    if not found.baseline:
        return logical
    line = findings.line(finding)
    region = {"region": {"startLine": line}} if line else {}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(found.baseline)}, **region}, **logical}


def _uri(path: str) -> str:
    """A file's name as a URI: relative to the repository, or a whole one for an absolute path (3.4.3)."""
    quoted = quote(path.removeprefix("./"), safe="/", errors="replace")
    return f"file://{quoted}" if path.startswith("/") else quoted
