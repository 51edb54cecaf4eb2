"""A check as JUnit XML, in the subset that Jenkins and pytest share: each finding is a case, and so is the baseline.

No standard names the format. Jenkins' schema (jenkinsci/xunit-plugin, junit-10.xsd) and the one that pytest writes
(`--junit-xml`, xunit2) have these elements and attributes in common; the whole text stands in the node, because some
readers show only that and others only `message`.
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from ..checked import Check, Finding
from . import findings
from .escape import cut, visible
from .line import check as one_line

ATTRIBUTE = 200
"""The most characters of an attribute: readers show it in one line."""


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """Errors are failures, what could not be read is an error, what is waived is skipped; the rest passes, with what
    it says as output: a test has no warnings. all: makes no difference."""
    shown = findings.findings(found)
    kinds = [_kind(finding) for finding in shown]
    if found.verdict != "pass" and not {"failure", "error"} & set(kinds):
        kinds[0] = "failure" if found.verdict == "fail" else "error"  # a check that failed by warnings alone
    cases = [_baseline(found), *(_case(finding, kind) for finding, kind in zip(shown, kinds, strict=True))]
    counts = {
        "tests": len(cases),
        "failures": kinds.count("failure"),
        "errors": kinds.count("error"),
        "skipped": kinds.count("skipped"),
    }
    numbers = " ".join(f'{name}="{number}"' for name, number in counts.items())
    name = _attribute(f"audit check {found.baseline}".rstrip())
    body = "".join(f"    {case}\n" for case in cases)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuites>\n  <testsuite name={name} {numbers} time="0">\n{body}  </testsuite>\n</testsuites>\n'
    )


def _kind(finding: Finding) -> str:
    """The element that a finding becomes; "" for one that passes."""
    if finding.waived:
        return "skipped"
    if finding.severity == "error" and finding.rule in findings.INCOMPLETE:
        return "error"
    return "failure" if finding.severity == "error" else ""


def _baseline(found: Check) -> str:
    """A case that is always there: a suite without any is a failure to some readers and a success to others."""
    return (
        f'<testcase classname="audit.baseline" name="compared" time="0">{_output([one_line(found).strip()])}</testcase>'
    )


def _case(finding: Finding, kind: str) -> str:
    head = f'<testcase classname={_attribute(f"audit.{finding.rule}")} name={_attribute(finding.fact)} time="0">'
    lines = findings.lines(finding)
    if kind == "skipped":
        reason = finding.waiver or "waived"
        inner = f'<skipped message={_attribute(reason)} type="audit.waiver">{_text(lines)}</skipped>'
    elif kind:
        attributes = f"message={_attribute(finding.message)} type={_attribute(finding.rule)}"
        inner = f"<{kind} {attributes}>{_text(lines)}</{kind}>"
    else:
        inner = _output(lines)
    return f"{head}{inner}</testcase>"


def _output(lines: list[str]) -> str:
    return f"<system-out>{_text(lines)}</system-out>"


def _text(lines: list[str]) -> str:
    return "\n".join(escape(visible(line)) for line in lines)


def _attribute(text: str) -> str:
    return quoteattr(visible(cut(text, ATTRIBUTE)))
