"""Checks in every format: compared whole with golden files, read by parsers that are not ours, and what holds for any
check."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import msgspec
import pytest
import samples
import strategies
from hypothesis import given
from hypothesis import strategies as st
from inert import assert_inert, assert_no_markup, assert_page, without_assets
from msgspec.structs import replace
from sarif_pydantic import Sarif
from test_any import check_color, check_screen, often

from reports import render
from reports.checked import Change, Check, Finding
from reports.render import findings, markdown

Golden = Callable[[str, str], None]

SCHEMAS = Path(__file__).parent / "schemas"
GITLAB = json.loads((SCHEMAS / "gitlab-code-quality.json").read_text())

ENDINGS = {
    "terminal": "txt",
    "markdown": "md",
    "html": "html",
    "json": "json",
    "github": "github.txt",
    "junit": "junit.xml",
    "sarif": "sarif",
    "gitlab": "gitlab.json",
    "line": "line.txt",
}


@pytest.mark.parametrize("format", render.CHECK_FORMATS)
@pytest.mark.parametrize("name", samples.CHECKS)
def test_a_check_is_as_committed(name: str, format: str, golden: Golden) -> None:
    text = render.check(samples.CHECKS[name](), format)
    golden(f"check_{name}.{ENDINGS[format]}", without_assets(text) if format == "html" else text)


def test_everything_of_a_check_is_as_committed(golden: Golden) -> None:
    golden("check_image_bump_all.txt", render.check(samples.image_bump(), all=True))
    golden("check_image_bump_all.md", render.check(samples.image_bump(), "markdown", all=True))


@pytest.mark.parametrize("name", samples.CHECKS)
def test_a_page_fits_a_screen_and_ends_with_the_next_command(name: str) -> None:
    found = samples.CHECKS[name]()
    text = render.check(found)
    check_screen(text, False)
    assert text.splitlines()[0].split()[0].isupper()
    assert text.splitlines()[-1].startswith("Next")
    assert text.splitlines()[-1].endswith(found.next)


def test_a_check_comes_back_from_its_json() -> None:
    assert msgspec.json.decode(render.check(samples.image_bump(), "json"), type=Check) == samples.image_bump()


# Each format, by somebody else's rules


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it: name, properties, message."""
    match = re.fullmatch(r"::(\w+)(?: ([^:]*))?::(.*)", line)
    assert match, line
    properties = dict(pair.split("=", 1) for pair in (match[2] or "").split(",") if pair)
    assert all(re.fullmatch(r"(?:[^%]|%(?:25|0D|0A|3A|2C))*", value) for value in properties.values())
    assert re.fullmatch(r"(?:[^%]|%(?:25|0D|0A))*", match[3])
    unescaped = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

    def unescape(text: str, names: str) -> str:
        return re.sub(names, lambda found: unescaped[found.group()], text)

    values = {name: unescape(value, "%0D|%0A|%3A|%2C|%25") for name, value in properties.items()}
    return match[1], values, unescape(match[3], "%0D|%0A|%25")


def check_github(text: str, found: Check) -> None:
    commands = [read_command(line) for line in text.splitlines()]
    assert len(commands) == min(10, len(findings.active(found)))
    for name, properties, message in commands:
        assert name in ("error", "warning", "notice")
        assert set(properties) <= {"file", "line", "title"}
        assert "line" not in properties or int(properties["line"]) > 0
        assert message or found.findings


def check_junit(text: str, found: Check) -> None:
    """The elements and attributes that Jenkins' schema and pytest's have in common."""
    allowed = {
        "testsuites": set(),
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
        "testcase": {"classname", "name", "time"},
        "failure": {"message", "type"},
        "error": {"message", "type"},
        "skipped": {"message", "type"},
        "system-out": set(),
    }
    root = ET.fromstring(text.encode())
    for element in root.iter():
        assert set(element.attrib) <= allowed[element.tag]
    (suite,) = root
    cases = list(suite)
    assert int(suite.attrib["tests"]) == len(cases) == len(findings.findings(found)) + 1
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[plural]) == sum(case.find(tag) is not None for case in cases)
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    assert failed or found.verdict == "pass"


def check_sarif(text: str, found: Check) -> None:
    log = json.loads(text)
    read = Sarif.model_validate(log).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert read == log  # what a reader of SARIF does not know, it leaves out
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    prints = [result["partialFingerprints"]["auditFinding/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints) == len(findings.findings(found))
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert not re.search(r"(?<!\\)\]\(", result["message"]["text"])  # a link


def check_gitlab(text: str, found: Check) -> None:
    problems = json.loads(text)
    jsonschema.Draft202012Validator(GITLAB).validate(problems)
    assert len({problem["fingerprint"] for problem in problems}) == len(problems) == len(findings.active(found))


def check_line(text: str, found: Check) -> None:
    assert text.isascii()
    assert text.count("\n") == 1
    assert len(text) <= 101
    assert not set(text) & set('"`$\\')


CHECKED: dict[str, Callable[[str, Check], None]] = {
    "terminal": lambda text, found: check_screen(text, False),
    "markdown": lambda text, found: assert_no_markup(text),
    "html": lambda text, found: assert_page(text),
    "json": lambda text, found: None,
    "github": check_github,
    "junit": check_junit,
    "sarif": check_sarif,
    "gitlab": check_gitlab,
    "line": check_line,
}


@pytest.mark.parametrize("format", render.CHECK_FORMATS)
@pytest.mark.parametrize("name", samples.CHECKS)
def test_a_format_is_what_its_readers_take(name: str, format: str) -> None:
    found = samples.CHECKS[name]()
    CHECKED[format](render.check(found, format), found)


def test_junit_is_read_by_a_parser_that_is_not_ours(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(render.check(samples.image_bump(), "junit"))
    (suite,) = junitparser.JUnitXml.fromfile(str(file))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 1, 0, 0)
    failed = [case for case in suite if case.result]
    assert [case.name for case in failed] == ["image.layers"]
    assert "keep: FROM python:3.12-slim@sha256:4f2c91aa" in failed[0].result[0].text


def test_a_check_that_fails_by_a_warning_fails_in_junit() -> None:
    text = render.check(samples.new_class(), "junit")
    assert ET.fromstring(text.encode())[0].attrib["failures"] == "1"


def test_ten_annotations_are_shown_and_of_more_nine() -> None:
    for count, shown in ((9, 9), (10, 10), (11, 9)):
        commands = [read_command(line) for line in render.check(samples.drifted(count), "github").splitlines()]
        assert sum("file" in properties for _, properties, _ in commands) == shown
    assert commands[-1][2].startswith("2 more findings")
    assert commands[0][1] == {"file": "audit-baseline.json", "line": "1", "title": "numeric-drift: variables.X0"}
    assert commands[0][2] == "X0 is set, 100%: a,b"


def test_a_fingerprint_is_of_the_fact_and_not_of_its_value() -> None:
    one = Finding("numeric-drift", "cpu.count", "error", "8, not 4", changes=[Change("cpu.count", 4, 8, 3)])
    two = replace(one, message="16, not 4", changes=[Change("cpu.count", 4, 16, 3)])
    other = replace(one, fact="limits.cpu_quota")
    for form, key in (("gitlab", '"fingerprint": "(.*)"'), ("sarif", '"auditFinding/v1": "(.*)"')):
        prints = [
            re.findall(key, render.check(samples.checked(verdict="fail", findings=found), form))
            for found in ([one], [two], [other], [one, one])
        ]
        assert prints[0] == prints[1] != prints[2]
        assert prints[3][0] == prints[0][0] != prints[3][1]


def test_new_and_known_are_said_in_sarif() -> None:
    log = json.loads(render.check(samples.image_bump(), "sarif"))
    assert [result["baselineState"] for result in log["runs"][0]["results"]] == ["new", "unchanged"]
    log = json.loads(render.check(samples.waived_and_stale(), "sarif"))
    waived = log["runs"][0]["results"][1]
    assert waived["suppressions"] == [{"kind": "external", "justification": "until 2027-01-31: CVE fix"}]


def test_comparing_nothing_is_a_pass_in_no_format() -> None:
    nothing = samples.checked(verdict="incomplete", held=[0, 1104], exit=3)
    for form in ("github", "gitlab", "sarif", "junit"):
        assert "nothing-compared" in render.check(nothing, form)
    assert render.check(nothing, "line").startswith("audit check INCOMPLETE (1 error): nothing-compared")
    assert render.check(nothing).startswith("INCOMPLETE:")


def test_a_summary_is_cut_before_github_drops_it() -> None:
    found = samples.drifted(30_000)
    text = render.check(found, "markdown", all=True)
    assert len(text.encode()) <= markdown.MOST
    assert text.endswith("... cut here; the JSON of the check has everything\n")
    assert_no_markup(text[:20_000].rpartition("\n")[0] + "\n")
    assert len(render.check(found, "markdown").encode()) < 5000


@often
@given(strategies.of(Check, {}, strategies.texts()), st.sampled_from(render.CHECK_FORMATS), st.booleans())
def test_any_check_can_be_shown(found: Check, format: str, all: bool) -> None:
    found = replace(found, version=1, exit=1)
    text = render.check(found, format, all=all)
    assert text.endswith("\n") or (format == "github" and not findings.active(found))
    assert_inert(text)
    if format == "terminal":
        check_color(text, render.check(found, format, all=all, color=True))
        check_screen(text, all)
    else:
        CHECKED[format](text, found)
    if format == "json":
        assert msgspec.json.decode(text, type=Check) == found


def test_no_finding_is_left_out_by_a_file_without_lines(any_findings: list[dict[str, Any]]) -> None:
    found = samples.checked(verdict="fail", findings=[Finding(**one) for one in any_findings], baseline="")
    for form in render.CHECK_FORMATS:
        CHECKED[form](render.check(found, form), found)


@pytest.fixture
def any_findings() -> list[dict[str, Any]]:
    return [{"rule": "", "fact": "", "severity": "info", "message": ""}, {"rule": "a", "fact": "b", "severity": "error",
             "message": "m", "line": -3}]  # fmt: skip
