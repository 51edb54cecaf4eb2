"""What holds for every report and every comparison that can be in a file, whatever texts and numbers are in it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import strategies
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inert import assert_inert, assert_no_markup, assert_page

from audit.cli import main
from probes import assemble
from reports import codec, render
from reports.comparison import Comparison
from reports.fleet import Fleet
from reports.render import layout
from reports.render.pages.run import RunSummary
from reports.report import Report
from reports.reproduction import Reproduction

FORMATS = st.sampled_from(render.FORMATS)

often = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


def check(text: str, format: str, value: Any = None) -> None:
    """What a rendering must be: inert, within its width, or the value itself."""
    assert text.endswith("\n")
    assert_inert(text)
    if format == "markdown":
        assert_no_markup(text)
    if format == "html":
        assert_page(text)
    if format == "json" and value is not None:
        assert msgspec.json.decode(text, type=type(value)) == value


def check_color(plain: str, colored: str) -> None:
    """Colour adds rich's own codes and nothing else."""
    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == plain


@often
@given(strategies.comparisons(), FORMATS, st.booleans())
def test_any_comparison_can_be_shown(comparison: Comparison, format: str, all: bool) -> None:
    text = render.diff(comparison, format, all=all)
    check(text, format, comparison)
    if format == "terminal":
        check_color(text, render.diff(comparison, format, all=all, color=True))
        check_screen(text, all)


@often
@given(strategies.reproductions(), FORMATS, st.booleans())
def test_any_reproduction_can_be_shown(one: Reproduction, format: str, all: bool) -> None:
    text = render.reproduction(one, format, all=all)
    check(text, format, one)
    if format == "terminal":
        check_color(text, render.reproduction(one, format, all=all, color=True))
        check_screen(text, all)


@often
@given(strategies.fleets(), FORMATS, st.booleans())
def test_any_fleet_can_be_shown(found: Fleet, format: str, all: bool) -> None:
    text = render.fleet(found, format, all=all)
    check(text, format, found)
    if format == "terminal":
        check_color(text, render.fleet(found, format, all=all, color=True))
        check_screen(text, all)


def check_screen(text: str, all: bool) -> None:
    lines = text.splitlines()
    assert all or len(lines) <= 25
    width = layout.WIDE if all else layout.WIDTH
    last = -1 if lines[-1].startswith("Next") else None
    assert max(map(layout.cell_width, lines[:last])) <= width


@often
@given(strategies.reports(), FORMATS, st.booleans())
def test_any_report_can_be_shown(report: Report, format: str, all: bool) -> None:
    text = render.show(report, format, all=all)
    check(text, format, report)
    if format == "terminal":
        check_color(text, render.show(report, format, all=all, color=True))
        check_screen(text, True)


@often
@given(strategies.reports(), strategies.of(RunSummary, {}, strategies.texts()), FORMATS)
def test_any_run_can_be_summed_up(report: Report, facts: RunSummary, format: str) -> None:
    check(render.run_summary(report, facts, format), format)
    check(render.sharing(report, facts.file, format), format)


@often
@given(strategies.reports(surrogates=True), strategies.reports(surrogates=True), st.booleans())
def test_any_two_reports_can_be_compared(one: Report, two: Report, all: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIT_TRACEBACK", "1")
        paths = [os.path.join(folder, name) for name in ("one.json", "two.json")]
        for path, report in zip(paths, (one, two), strict=True):
            Path(path).write_text(assemble.to_text(signed(report)))
        for form in render.FORMATS:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(["diff", *paths, "--format", form, *(["--all"] if all else [])])
            if status == 2:  # no targets, or none that both have
                assert re.search("no target", err.getvalue())
                assert err.getvalue().count("\n") == 1
                return
            check(out.getvalue(), form)
            if form == "terminal":
                check_screen(out.getvalue(), all)
            if form == "json":
                found = msgspec.json.decode(out.getvalue(), type=Comparison)
                assert found.exit == status
                Path(folder, "c.json").write_text(out.getvalue())
                assert codec.read_any(os.path.join(folder, "c.json")) == (found, [])


def signed(report: Report) -> dict[str, Any]:
    """The report as a tree, with its digest."""
    tree: dict[str, Any] = msgspec.to_builtins(report)
    tree["digest"] = assemble.digest(tree)
    return json.loads(json.dumps(tree))  # type: ignore[no-any-return]
