"""Where a check goes: several files at once, and what GitHub Actions shows of a step, as a job sets its variables."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))

import samples

from audit.cli import main
from audit.commands import options as shared
from audit.commands import outputs
from audit.errors import AuditError
from reports import render
from reports.checked import Check, Finding


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    outputs.add_outputs(parser)
    return parser.parse_args(arguments)


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No CI service but the one that a test sets up; relative files stand in its own folder."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that GitHub shows as the summary of a step."""
    file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    return file


def test_the_formats_of_the_command_line_are_those_that_a_check_can_be_rendered_in() -> None:
    assert shared.CHECK_FORMATS == render.CHECK_FORMATS


def test_several_reports_are_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = samples.image_bump()
    outputs.deliver(found, options("--report", "sarif=drift.sarif", "--report", "junit=a=b.xml", "--format", "line"))
    assert Path("drift.sarif").read_text() == render.check(found, "sarif")
    assert Path("a=b.xml").read_text() == render.check(found, "junit")
    assert capsys.readouterr().out == render.check(found, "line")


@pytest.mark.parametrize("text", ["sarif", "sarif=", "=x", "pdf=x.pdf"])
def test_a_report_that_cannot_be_is_refused_while_options_are_read(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options("--report", text)
    assert re.search("is not FORMAT=FILE|no format '.*' .choose from", capsys.readouterr().err)


def test_files_that_cannot_be_written_are_refused_before_anything_is_measured() -> None:
    Path("baseline.json").write_text("{}")
    for given, words in (
        (("--report", "sarif=none/x.sarif"), "cannot write none/x.sarif: no folder"),
        (("--report", "sarif=baseline.json"), "baseline.json would replace a report that was read"),
        (("--report", "sarif=x", "--report", "junit=x"), "two outputs go to x"),
        (("--report", "sarif=x", "-o", "x"), "two outputs go to x"),
    ):
        with pytest.raises(AuditError, match=words):
            outputs.ready(options(*given), ["baseline.json"])
    outputs.ready(options("--report", "sarif=x.sarif"), ["baseline.json"])
    assert [path.name for path in Path().iterdir()] == ["baseline.json"]


def test_actions_shows_annotations_and_a_summary_by_itself(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = samples.image_bump()
    summary.write_text("# Earlier\n")
    outputs.deliver(found, options())
    assert capsys.readouterr().out == render.check(found) + render.check(found, "github")
    assert summary.read_text() == "# Earlier\n" + render.check(found, "markdown")


def test_annotations_do_not_spoil_what_another_program_reads(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = samples.image_bump()
    outputs.deliver(found, options("--format", "json"))
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "fail"
    assert captured.err == render.check(found, "github")


def test_annotations_that_were_asked_for_are_there_once(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = samples.image_bump()
    outputs.deliver(found, options("--format", "github"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (render.check(found, "github"), "")


def test_quiet_is_quiet_there_too(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs.deliver(samples.image_bump(), options("--quiet"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err, summary.exists()) == ("", "", False)


def test_a_baseline_is_named_as_the_repository_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path / "ci")
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
    for baseline in ("base.json", str(tmp_path / "ci" / "base.json")):
        found = samples.checked(verdict="fail", baseline=baseline, findings=samples.drifted(1).findings)
        outputs.deliver(found, options("--format", "gitlab"))
        assert json.loads(capsys.readouterr().out)[0]["location"]["path"] == "ci/base.json"


def test_no_text_of_a_report_is_a_command_to_the_runner(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spite = "x " * 42 + "::add-mask::e ##[add-path]/evil"
    found = samples.checked(verdict="fail", exit=1, findings=[Finding("r", "f", "error", spite)])
    outputs.deliver(found, options())
    lines = capsys.readouterr().out.splitlines()
    stopped = lines[0].removeprefix("::stop-commands::")
    end = lines.index(f"::{stopped}::")
    assert any(line.lstrip().startswith("::add-mask") or "##[" in line for line in lines[1:end])
    assert all(line.startswith("::error ") for line in lines[end + 1 :])


def test_a_summary_that_is_full_or_cannot_be_written_is_said(
    summary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary.write_bytes(b"x" * outputs.SUMMARY_BYTES)
    outputs.deliver(samples.passed(), options())
    assert "no room is left" in capsys.readouterr().err
    assert summary.stat().st_size == outputs.SUMMARY_BYTES
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/no/folder/summary.md")
    outputs.deliver(samples.passed(), options())
    assert "cannot write the summary" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["image_bump", "incomplete", "pass"])
def test_a_saved_check_is_shown_with_its_status(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found: Check = samples.CHECKS[name]()
    Path("check.json").write_text(render.check(found, "json"))
    for form in render.CHECK_FORMATS:
        assert main(["show", "check.json", "--format", form]) == found.exit
        assert capsys.readouterr().out.rstrip("\n") == render.check(found, form).rstrip("\n")


def test_only_a_check_is_shown_as_findings(capsys: pytest.CaptureFixture[str]) -> None:
    Path("diff.json").write_text(render.diff(samples.diverged(), "json"))
    assert main(["show", "diff.json", "--format", "sarif"]) == 2
    assert "only a check is shown as sarif; choose terminal, markdown, html, json" in capsys.readouterr().err
