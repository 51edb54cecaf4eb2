"""Every rendering of every verdict, compared whole with its golden file, and what must hold for all of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import samples
from msgspec.structs import replace

from reports import render
from reports.comparison import Comparison, Environment, FactDifference, Size, Ulp
from reports.render import escape, layout
from reports.render.pages import measured, page
from reports.render.pages.run import RunSummary
from reports.render.pages.sides import side_by_side
from reports.render.pages.words import elements, listed, percent, size, size_bytes
from reports.report import Fact, Report, Scalar, Target

HERE = Path(__file__).parent

Golden = Callable[[str, str], None]

HOSTILE = "\x1b[31mred\x1b[0m \u202eevil\u202c a\u200bb\nnew|line `tick` [red]x[/red] <b> @team #12 \x9b2J \u3164"
"""ANSI, C1, bidirectional overrides, zero width, newline, pipe, backticks, rich markup, HTML, mention, filler."""

SUMMARY = RunSummary(
    "new.json",
    412_345,
    "on the other machine:  audit run --label old-gpu -o old.json",
    ["no environment is active: audit's own interpreter was measured (choose with --python)"],
)

ENDINGS = {"terminal": "txt", "markdown": "md", "json": "json"}


@pytest.fixture(autouse=True)
def fixed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed fingerprint, because the real one moves with every fact whose kind the catalogue changes."""
    monkeypatch.setattr(measured, "environment", lambda target: "b0d4-5e18")


@pytest.mark.parametrize("format", ["terminal", "markdown"])
@pytest.mark.parametrize("name", samples.COMPARISONS)
def test_diff_is_as_committed(name: str, format: str, golden: Golden) -> None:
    golden(f"diff_{name}.{ENDINGS[format]}", render.diff(samples.COMPARISONS[name](), format))


@pytest.mark.parametrize("format", ["terminal", "markdown"])
def test_diff_of_everything_is_as_committed(format: str, golden: Golden) -> None:
    golden(f"diff_diverged_all.{ENDINGS[format]}", render.diff(samples.diverged(), format, all=True))


@pytest.mark.parametrize("name", samples.REPORTS)
def test_run_summary_is_as_committed(name: str, golden: Golden) -> None:
    golden(f"run_{name}.txt", render.run_summary(samples.REPORTS[name](), SUMMARY))


def test_what_leaves_a_machine_with_a_recorded_program(golden: Golden) -> None:
    sources: dict[str, Scalar | list[Scalar]] = {"train.py": "49ed2b14ba6b5e03", "models/vision.py": "0f3c11b2a4d5e6f7"}
    facts = {"program.sources": Fact(sources, "modules"), "program.arguments": Fact("e4a6a0577479b2b4", "the command")}
    target = samples.recorded_target(samples.recorded_process(facts=facts), facts={})
    golden("sharing_recorded.txt", render.sharing(samples.report(target), "new.json"))


@pytest.mark.parametrize("format", ["terminal", "markdown"])
@pytest.mark.parametrize("all", [False, True])
def test_show_is_as_committed(format: str, all: bool, golden: Golden) -> None:
    shown = render.show(samples.report(), format, all=all)
    golden(f"show{'_all' if all else ''}.{ENDINGS[format]}", shown)


def test_json_of_a_run_is_as_committed(golden: Golden) -> None:
    golden("run_repeatable.json", render.run_summary(samples.report(), SUMMARY, "json"))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, ""),
        ({"layers_repeat": Fact(status="absent", reason="x")}, ""),
        ({"layers_repeat": Fact(True)}, "a second build gave the same layers"),
        ({"layers_repeat": Fact(False), "layers_changed": Fact(["2 of 2"]), "packages_changed": Fact([]),
          "results_repeat": Fact(True)},
         "a second build gave another layer 2 of 2; the same packages; the same results"),
        ({"layers_repeat": Fact(False), "layers_changed": Fact(["1 of 3", "3 of 3"]), "packages_changed": Fact(["six"]),
          "results_repeat": Fact(status="absent", reason="no operators were asked for")},
         "a second build gave other layers 1 and 3 of 3; other packages: six; results: no operators were asked for"),
        ({"layers_repeat": Fact(False), "layers_changed": Fact(["2 of 2"]),
          **dict.fromkeys(("packages_changed", "results_repeat"), Fact(status="absent", reason="it cannot be run"))},
         "a second build gave another layer 2 of 2; it cannot be run"),
    ],
)  # fmt: skip
def test_what_is_said_of_two_builds(facts: dict[str, Fact], told: str) -> None:
    assert measured.rebuilt({f"recipe.{name}": fact for name, fact in facts.items()}) == told


@pytest.mark.parametrize("name", samples.COMPARISONS)
def test_a_comparison_comes_back_from_its_json(name: str) -> None:
    comparison = samples.COMPARISONS[name]()
    assert msgspec.json.decode(render.diff(comparison, "json"), type=Comparison) == comparison


def test_a_report_comes_back_from_its_json() -> None:
    assert msgspec.json.decode(render.show(samples.report(), "json"), type=Report) == samples.report()


@pytest.mark.parametrize("name", samples.COMPARISONS)
def test_a_terminal_diff_fits_a_screen_and_ends_with_the_next_command(name: str) -> None:
    comparison = samples.COMPARISONS[name]()
    lines = render.diff(comparison).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines[:-1])) <= layout.WIDTH
    assert lines[0].split()[0].isupper()
    assert lines[-1].startswith("Next")
    assert lines[-1].endswith(comparison.next)


@pytest.mark.parametrize("all", [False, True])
def test_what_was_not_measured_is_not_invented(all: bool) -> None:
    text = render.diff(samples.unknown_cause(), all=all)
    assert "p50" not in text
    assert "about 0.39% of 4,096 elements (256 looked at)" in text
    assert "Exit 1 (results differ)" in text


# Untrusted text


def hostile(value: Any) -> Any:
    """The same tree with every free text made hostile; names of formats, verdicts and kinds stay."""
    if isinstance(value, dict):
        kept = ("format", "verdict", "kind", "status", "fail_on")
        return {key: item if key in kept else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f"{value} {HOSTILE}" if isinstance(value, str) else value


def assert_harmless(text: str) -> None:
    """Nothing but printable characters and line ends, and each that shows nothing as an escape."""
    for character in HOSTILE.replace("\n", "") + "\n":
        if not character.isprintable() or character == "\u3164":
            assert character == "\n" or character not in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("format", render.FORMATS)
@pytest.mark.parametrize("name", samples.COMPARISONS)
@pytest.mark.parametrize("all", [False, True])
def test_nothing_in_a_hostile_comparison_acts_on_who_reads_it(name: str, format: str, all: bool) -> None:
    tree = hostile(msgspec.to_builtins(samples.COMPARISONS[name]()))
    text = render.diff(msgspec.convert(tree, Comparison), format, all=all)
    assert_harmless(text)
    if format == "terminal" and not all:
        assert len(text.splitlines()) <= 25


@pytest.mark.parametrize("format", render.FORMATS)
@pytest.mark.parametrize("name", samples.REPORTS)
def test_nothing_in_a_hostile_report_acts_on_who_reads_it(name: str, format: str) -> None:
    report = msgspec.convert(hostile(msgspec.to_builtins(samples.REPORTS[name]())), Report)
    assert_harmless(render.show(report, format, all=True))
    assert_harmless(render.run_summary(report, SUMMARY, format))


def test_json_keeps_hostile_values_as_they_are() -> None:
    report = samples.report(label=HOSTILE)
    shown = render.show(report, "json")
    assert json.loads(shown)["label"] == HOSTILE
    assert "\\u202e" in shown
    assert "\\u001b" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, größer 好", "plain text, größer 好"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200b\ufeffb", "a\\u200b\\ufeffb"),
        ("\U000e0041", "\\U000e0041"),
        ("x\ufe0f\u3164", "x\\ufe0f\\u3164"),
        ("\ud800", "\\ud800"),
        ("\x7f\x85", "\\x7f\\x85"),
        ("[red]no markup[/red]", "[red]no markup[/red]"),
    ],
)
def test_what_does_not_show_is_written_as_an_escape(text: str, shown: str) -> None:
    assert escape.visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("*_`<x>[l](u)", "\\*\\_\\`\\<x\\>\\[l\\](u)"),
        ("see http://x.y", "see http\\://x.y"),
        ("www.x.y", "www\\.x.y"),
        ("@team #12 a@ # b", "@<!-- -->team #<!-- -->12 a@ # b"),
        ("&copy; $x$", "\\&copy; \\$x\\$"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert escape.markdown(text) == shown


def test_code_in_markdown_ends_where_it_should() -> None:
    assert escape.markdown_code("a`b") == "``a`b``"
    assert escape.markdown_code("`a`") == "`` `a` ``"
    assert escape.markdown_code("a|b") == "`a|b`"
    assert escape.markdown_code("a|b", in_table=True) == "`a\\|b`"


def test_a_hostile_comparison_keeps_the_columns_of_a_markdown_table() -> None:
    tree = hostile(msgspec.to_builtins(samples.diverged()))
    text = render.diff(msgspec.convert(tree, Comparison), "markdown", all=True)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = re.split(r"\n\n", "\n".join(line if line.startswith("|") else "" for line in text.splitlines()))
    assert len(rows) > 15
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines() if row}
        assert len(widths) <= 1


# Colour and cost


def test_colour_changes_nothing_but_colour() -> None:
    plain = render.diff(samples.diverged())
    colored = render.diff(samples.diverged(), color=True)
    assert "\x1b[1;31mDIFFERENT RESULTS.\x1b[0m" in colored
    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == plain


def test_markup_in_a_report_is_no_colour() -> None:
    colored = render.show(samples.report(label="[bold]x[/bold]"), color=True)
    assert "[bold]x[/bold]" in colored.splitlines()[0]


def test_rich_is_not_imported_without_colour() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import samples; from reports import render;"
        "[render.diff(samples.diverged(), f) for f in render.FORMATS];"
        "sys.exit(any(name.split('.')[0] in ('rich', 'audit', 'probes', 'numpy') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Words and layout


def test_numbers_are_said_as_a_person_says_them() -> None:
    assert [percent(f) for f in (0, 1, 0.054, 0.99999, 1e-7)] == ["0%", "100%", "5.4%", "over 99%", "under 0.001%"]
    assert [size_bytes(n) for n in (1, 999, 4120, 412_345, 1_500_000)] == [
        "1 byte",
        "999 bytes",
        "4.12 kB",
        "412 kB",
        "1.5 MB",
    ]
    assert [listed("abc"[:n], 3) for n in (0, 1, 2, 3)] == ["", "a", "a and b", "a, b and c"]
    assert listed("abcdef", 3) == "a, b and 4 more"


def test_a_size_that_was_not_measured_says_why() -> None:
    assert elements(Size()) == "size not measured"
    assert size(Size(reason="text")) == "text"
    assert elements(Size(elements=9, reason="only the digest was kept")) == (
        "9 elements, how many differ was not measured (only the digest was kept)"
    )
    nan = Size(elements=256, differing=3, ulp=Ulp(1, 2, 9, 1), nan=1)
    assert size(nan) == "3 of 256 elements (1.2%); p50 1, p99 2, max 9 ULP (last-digit steps); apart from these: 1 NaN"


def test_values_that_differ_never_look_the_same() -> None:
    long = "x" * 60
    shown = side_by_side([f"{long}1", f"{long}2"])
    assert shown[0] != shown[1]
    assert all(len(text) <= 22 for text in shown)
    assert side_by_side([1, "1"]) == ["1", '"1"']
    assert side_by_side([None, ""]) == ["(not set)", '""']


@pytest.mark.parametrize("text", ["word " * 40, "x" * 250, "好" * 120, "é" * 130, "a" * 99 + " 好好"])
def test_wrapped_lines_fit_and_lose_nothing(text: str) -> None:
    lines = layout.wrap(text, 100)
    assert max(map(layout.cell_width, lines)) <= 100
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_flood_of_differences_still_fits() -> None:
    flood = [FactDifference(f"cpu.fact{n}" * 9, "numeric", ["blas"], ["a" * 900, "b" * 900]) for n in range(300)]
    comparison = samples.comparison(verdict="differs", environment=Environment(flood, []), exit=1, notes=["n" * 9000])
    lines = render.diff(comparison).splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith("SAME RESULTS")
    assert lines[-1].startswith("Next")


@pytest.mark.parametrize("rows", [10, 26, 40, 70])
def test_leaving_out_at_once_what_cannot_fit_changes_no_page(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [FactDifference(f"cpu.fact{n}", "numeric", ["blas"], ["a" * (n % 30), "b"], why="w") for n in range(rows)]
    flood = samples.diverged(environment=Environment(facts, []), notes=["n"] * rows)
    agreeing = samples.comparison(verdict="differs", environment=Environment(facts, []), notes=["n"] * (rows // 2))
    quick = [render.diff(flood), render.diff(agreeing)]
    monkeypatch.setattr(page, "_at_most", lambda whole, rows: whole)
    assert quick == [render.diff(flood), render.diff(agreeing)]


def test_a_long_title_is_wrapped() -> None:
    facts = {"x" * 200: Fact(status="absent")}
    report = replace(samples.report(), targets=[Target("host", facts=facts)])
    lines = render.show(report, all=True).splitlines()
    assert max(map(layout.cell_width, lines)) <= layout.WIDE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1. a", "1\\. a"),
        ("12) a", "12\\) a"),
        ("- a", "\\- a"),
        ("# a", "\\# a"),
        ("  + a", "\\+ a"),
        ("1.5", "1\\.5"),
        ("a- 1.", "a- 1."),
    ],
)
def test_no_text_begins_a_list_or_a_heading(text: str, shown: str) -> None:
    assert escape.markdown_first(escape.markdown(text)) == shown
