"""Pictures and the pages that have them: as committed, drawn where the numbers say, and true in their words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import samples
from inert import assert_inert, assert_page, without_assets
from msgspec.structs import replace

from fixtures import hostile
from reports import render
from reports.comparison import Comparison, Course, Followed, Group, JobResult, Kept, Ulp
from reports.render import escape, plot, svg
from reports.render.pages import measured, sparks
from reports.render.pages.diff import diff_page
from reports.render.pages.picture import (
    Band,
    Chain,
    Curves,
    Grid,
    Key,
    Link,
    Matrix,
    Node,
    Picture,
    Point,
    Series,
    Tiles,
)

Golden = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def fixed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed fingerprint, because the real one moves with every fact whose kind the catalogue changes."""
    monkeypatch.setattr(measured, "environment", lambda target: "b0d4-5e18")


def kept(step: int, tensor: str, phase: str, p99: int, **more: Any) -> Kept:
    size = Ulp(max(1, p99 // 10), p99, 4 * p99, 1) if p99 else Ulp()
    return Kept(step, phase, tensor, "matmul f32", 0.25 if p99 else 0.0, size, **more)


def growing() -> Course:
    """A difference that grows from one ULP to a million."""
    steps = (0, 1, 2, 4, 8)
    return Course(
        labels=["old", "new"],
        steps=10,
        tensors=[
            Followed("data", "tokens", "constant", "=" * 10),
            Followed("forward", "block 0 attention", "matmul f32", "x" * 10),
            Followed("forward", "logits", "matmul f32", "==xxxxxxxx", count=3),
            Followed("loss", "loss", "mean f32", "=====xxxxx"),
            Followed("update", "first weights", "constant", "=........."),
        ],
        along=[kept(0, "tokens", "data", 0), kept(0, "block 0 attention", "forward", 12), kept(0, "loss", "loss", 0)],
        kept=[
            *(
                kept(step, "logits", "forward", p99)
                for step, p99 in zip(steps, (0, 3, 40, 500, 1_200_000), strict=True)
            ),
            *(kept(step, "loss", "loss", p99) for step, p99 in zip(steps, (0, 0, 0, 0, 7), strict=True)),
            Kept(9, "loss", "loss", "mean f32"),
        ],
        losses=[[2.8, 1.5, 0.6, 0.2, 0.07, 0.02], [2.8, 1.5, 0.6, 0.2, 0.0700001, 0.0200003]],
    )


def grown() -> Comparison:
    """Two machines whose difference was followed."""
    base = samples.diverged()
    job = replace(base.results.jobs[0], course=growing(), loss_step=4)
    letters = {
        "libm": {"libm.exp": "00", "libm.log": "0-"},
        "blas": {"blas.matmul.f32.64x64x64": "01", "blas.solve.f64.100": "01", "blas.dot.f32": "00"},
        "job": {"numpy": "01", "python": "00"},
    }
    return replace(base, results=replace(base.results, jobs=[job, *base.results.jobs[1:]], by_group=letters))


def nodes() -> Comparison:
    """Five machines in three groups."""
    base = samples.several_reports()
    letters = {
        "libm": {"libm.exp": "001", "libm.log": "000"},
        "blas": {"blas.matmul.f32": "012", "blas.dot.f32": "01-"},
        "job": {"numpy": "011"},
    }
    return replace(base, results=replace(base.results, by_group=letters))


@pytest.mark.parametrize(("name", "make"), [("grown", grown), ("nodes", nodes)])
def test_a_page_with_pictures_is_as_committed(name: str, make: Callable[[], Comparison], golden: Golden) -> None:
    comparison = make()
    page = render.diff(comparison, "html")
    assert_page(page)
    golden(f"diff_{name}.html", without_assets(page))
    golden(f"diff_{name}_all.txt", render.diff(comparison, all=True))
    golden(f"diff_{name}_all.md", render.diff(comparison, "markdown", all=True))
    golden(f"diff_{name}.svg", render.drawing(comparison))


def test_a_report_is_as_committed(golden: Golden) -> None:
    page = render.show(samples.report(), "html")
    assert_page(page)
    golden("show.html", without_assets(page))


@pytest.mark.parametrize("name", samples.COMPARISONS)
def test_html_says_every_word_that_the_terminal_says(name: str) -> None:
    """Pages are shared, so what is missing here was lost by the template."""
    comparison = samples.COMPARISONS[name]()
    page = diff_page(comparison, all=True, folds=True)
    shown = render.diff(comparison, "html")
    texts = {page.verdict, page.answer, page.closing, *(part.title for part in page.sections)}
    for block in (block for part in page.sections for block in part.blocks):
        texts |= {block.label, *block.header, *(cell for row in block.rows for cell in row.cells)}
    for text in texts - {""}:
        assert escape.visible(text) in unescape(shown), text


def test_nothing_is_drawn_of_what_was_not_measured() -> None:
    assert render.drawing(samples.facts_only()) == ""
    assert render.drawing(samples.not_comparable()) == ""
    course = Course(["a", "b"], 2, tensors=[Followed("p", "t", "o", "==")], losses=[[1.0], []])
    results = replace(samples.comparison().results, jobs=[JobResult("numpy", "diverged", course=course)])
    alike = samples.comparison(results=results)
    assert "<svg" not in render.diff(alike, "html")


def svg_of(picture: Picture, width: float = 1000) -> ET.Element:
    return ET.fromstring(plot.svg(picture, width, "plot"))


def curves(points: list[tuple[float, float | None]], **more: Any) -> Curves:
    series = Series("a", tuple(Point(x, y, f"{x}: {y}") for x, y in points))
    return Curves("name", "step", "ULP", (series,), zero="same bits", **more)


def test_a_logarithmic_scale_has_a_place_for_zero() -> None:
    drawn = svg_of(curves([(0, 0), (1, 1), (2, 1000), (3, None), (4, 1_000_000)]))
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter("circle")]
    assert len(circles) == 4
    heights = [y for _, y in circles]
    assert heights[0] - heights[1] == pytest.approx(24, abs=0.11)  # zero stands below the least number
    assert heights[1] - heights[2] == pytest.approx(heights[2] - heights[3], abs=0.11)
    assert [one.text for one in drawn.iter("text")].count("same bits") == 1
    (line,) = [one.attrib["d"] for one in drawn.iter("path") if "line" in one.attrib["class"]]
    assert line.count("M") == 2  # what was not measured parts the line


def test_ticks_are_round_numbers() -> None:
    drawn = svg_of(curves([(0, 1), (64, 40_000_000)], log_x=True, mark=(64, "first: matmul f32")))
    texts = [one.text for one in drawn.iter("text")]
    assert texts[:6] == ["ULP", "1", "100", "10,000", "10⁶", "10⁸"]
    assert {"0", "64", "first: matmul f32"} <= set(texts)
    linear = [one.text for one in svg_of(curves([(0, -0.5), (9, 1.9)], log=False)).iter("text")]
    assert linear[1:6] == ["-0.5", "0", "0.5", "1", "1.5"]


@pytest.mark.parametrize("points", [[], [(0, 0)], [(0, 1e308), (1, -1e308)], [(5, 7), (5, 7)], [(0, 2**80)]])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("bars", [False, True])
def test_odd_numbers_are_drawn_within_the_picture(points: list[tuple[float, float]], log: bool, bars: bool) -> None:
    drawn = svg_of(curves(points, log=log, bars=bars))
    text = ET.tostring(drawn, "unicode")
    assert not re.search(r"nan|inf", text)
    height = float(drawn.attrib["viewBox"].split()[3])
    assert all(-1 <= float(one.attrib["cy"]) <= height for one in drawn.iter("circle"))


def test_cells_of_one_tone_are_one_path() -> None:
    keys = (Key("=", "same", 0), Key("x", "other", 1), Key(".", "none", -1))
    grid = Grid("name", "step", (Band("forward", (("a", "==xx."), ("b", "xxxxx"))),), keys, mark=(1, 0, "here"))
    paths = {one.attrib["class"]: one.attrib["d"] for one in svg_of(grid).iter("path")}
    assert set(paths) == {"cells t0", "cells t1"}
    assert paths["cells t0"].count("M") == 1
    assert paths["cells t1"].count("M") == 2
    (hit,) = [one for one in svg_of(grid).iter("rect") if one.attrib["class"] == "hit"]
    assert hit.attrib["data-band"] == "0"


def test_an_arrow_leads_to_each_next_box() -> None:
    first = Link("Component", (Node("blas"), Node("libm")), ((0,), (0, 1)))
    chain = Chain("name", (first, Link("Fact in effect", (Node("kernel", ("a", "-> b")), Node("features")))))
    wide, narrow = svg_of(chain), svg_of(chain, 360)
    assert sum(one.attrib["class"] == "arrow" for one in wide.iter("path")) == 3
    assert sum(one.attrib["class"] == "arrow" for one in narrow.iter("path")) == 1
    for drawn in (wide, narrow):
        assert [one.text for one in drawn.iter("text") if "strong" in one.attrib["class"]] == [
            "blas", "libm", "kernel", "features",
        ]  # fmt: skip


def test_what_is_not_all_never_reads_100_percent() -> None:
    shares = ((1.0, 0.9999), (0.9999, None))
    drawn = svg_of(Matrix("name", ("a", "b"), shares, (("", ""), ("", ""))))
    numbers = [one.text for one in drawn.iter("text") if one.attrib.get("class") == "number"]
    assert numbers == ["100%", "99%", "99%"]


def test_tiles_are_laid_out_in_rows() -> None:
    tiles = Tiles("name", (("blas", tuple((f"t{n}", "=x"[n % 2], "said") for n in range(80))),), (Key("=", "same", 0),))
    wide, narrow = (svg_of(tiles, width).attrib["viewBox"].split()[3] for width in (1000, 360))
    assert float(narrow) - float(wide) == 13 * (3 - 2)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 10, 100], "▁▅█"),
        ([0, 1, None, 100], "_▁.█"),
        ([], ""),
    ],
)
def test_a_plot_of_one_line(values: list[float | None], shown: str) -> None:
    assert sparks.line(values, 1, 100, log=True) == shown


def test_a_plot_of_one_line_is_no_wider_than_a_screen() -> None:
    shown = sparks.line([float(n) for n in range(1000)], 0, 999)
    assert len(shown) == sparks.WIDTH
    assert (shown[0], shown[-1]) == ("▁", "█")
    assert sparks.bar(0.001, 4) == "█..."
    assert sparks.bar(1, 4) == "████"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("two words that are long", ["two words", "that are", "long"]),
        ("NPY_DISABLE_CPU_FEATURES", ["NPY_", "DISABLE_", "CPU_..."]),
        ("a" * 30, ["aaaaaaaaaa", "aaaaaaaaaa", "aaaaaaaaaa"]),
        ("exp, log, sin ...", ["exp, log,", "sin ..."]),
    ],
)
def test_long_texts_are_broken_after_punctuation(text: str, lines: list[str]) -> None:
    assert svg.wrapped(text, 10.5 * 10 * svg.CHARACTER, 10, 3) == lines


def test_a_large_comparison_is_not_carried_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.render import html

    monkeypatch.setattr(html, "MOST_JSON", 1000)
    text = render.diff(grown(), "html")
    assert 'id="json"' not in text
    assert "The JSON is too large to stand here" in text
    assert "audit diff --format json" in text


def test_groups_beyond_those_that_are_told_apart_are_no_trouble() -> None:
    many = replace(nodes(), groups=[Group([f"n{n}"], None) for n in range(60)])
    letters = {"blas": {"blas.dot": "".join(map(chr, range(48, 108)))}}
    text = render.diff(replace(many, results=replace(many.results, by_group=letters)), "html")
    assert_page(text)


def test_megabytes_of_text_are_cut_and_shown_as_text() -> None:
    spite = hostile.SPITE * 20_000
    base = grown()
    job = base.results.jobs[0]
    assert job.course
    course = replace(
        job.course,
        labels=[spite, "b" + spite],
        tensors=[replace(one, tensor=one.tensor + spite) for one in job.course.tensors],
        kept=[replace(one, tensor=spite + one.tensor) for one in job.course.kept],
    )
    results = replace(
        base.results,
        jobs=[replace(job, course=course)],
        by_group={spite: {spite + "1": "01", spite + "2": "0" * 10**6}},
    )
    sides = [replace(side, label=spite + side.label) for side in base.reports]
    comparison = replace(base, reports=sides, results=results, next=f"on x:  audit {spite}", notes=[spite])
    text = render.diff(comparison, "html")
    assert_page(text)
    assert_inert(text)
    assert len(text) < 500_000
    ET.fromstring(render.drawing(comparison))
