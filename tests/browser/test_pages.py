"""Pages in a real browser: they complain of nothing, ask for nothing, fit, and what can be done on them works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pages
import pytest
from opened import DESK, PHONE, Open, Opened

from fixtures import hostile
from reports import render

pytestmark = pytest.mark.browser

WIDER = """[...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".scroll, svg") && one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 120))"""
"""What goes beyond the right edge, besides what can be scrolled by itself."""

UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true; })"


@pytest.fixture(scope="module")
def nehalem() -> str:
    """The page of two machines whose results part in two jobs and three components."""
    return pages.PAGES[f"diff {pages.NEHALEM}"]()


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_asks_for_nothing_and_fits(name: str, opened: Open) -> None:
    page = opened(pages.PAGES[name]())
    page.run(UNFOLD)
    for width, height in (DESK, PHONE):
        page.page.set_viewport_size({"width": width, "height": height})
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.run(WIDER) == []
    assert page.complaints == []


AXE = [f"diff {pages.NEHALEM}", "diff nodes", "diff agree", "diff nondeterministic", "show host", "check image_bump"]


@pytest.mark.parametrize("name", AXE)
def test_nothing_bars_anybody_from_reading(name: str, opened: Open, serious: Callable[[Opened], list[str]]) -> None:
    text = pages.PAGES[name]()
    for size, scheme in ((DESK, "light"), (PHONE, "dark")):
        page = opened(text, size, scheme)
        page.run(UNFOLD)
        assert serious(page) == []


def test_search_leaves_what_has_all_words(nehalem: str, opened: Open) -> None:
    page = opened(nehalem)
    rows = "#everything .fold:not([hidden]) tbody tr:not([hidden])"
    every = page.page.locator(rows).count()
    assert page.page.locator(".fold[open]").count() == 0
    page.page.fill("#search", "LIBM exp")
    found = page.page.locator(rows)
    texts = [text.lower() for text in found.all_text_contents()]
    assert 0 < len(texts) < every
    assert all("libm" in text and "exp" in text for text in texts)
    assert page.page.locator("#found").text_content() == f"{len(texts)} found"
    assert found.first.is_visible()
    page.page.fill("#search", "no such thing")
    assert found.count() == 0
    assert page.page.locator("#found").text_content() == "0 found"
    page.page.fill("#search", "")
    assert found.count() == every
    assert page.complaints == []


def test_kinds_can_be_left_out(nehalem: str, opened: Open) -> None:
    page = opened(nehalem)
    button = page.page.get_by_role("button", name="Operators that differ")
    fold = page.page.locator("#everything .fold", has_text="Operators that differ")
    assert fold.is_visible()
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not fold.is_visible()
    page.page.fill("#search", "libm.expm1")  # only an operator has this name
    assert page.page.locator("#found").text_content() == "0 found"
    button.click()
    assert page.page.locator("#found").text_content() == "1 found"
    assert fold.is_visible()


def hovered(page: Opened, selector: str, x: float = 0.5, y: float = 0.5, nth: int = 0) -> str:
    """What is said at a point of the nth visible element of a selector, in shares of its width and height."""
    shape = page.page.locator(f"{selector} >> visible=true").nth(nth)
    shape.scroll_into_view_if_needed()
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # scrolling ends
    box = shape.bounding_box()
    assert box
    page.page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    tip = page.page.locator("#tip")
    return tip.text_content() or "" if tip.is_visible() else ""


def figure(title: str) -> str:
    return f"section:has(h2:text-is('{title}')) figure"


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_hovering_says_the_numbers(size: tuple[int, int], nehalem: str, opened: Open) -> None:
    page = opened(nehalem, size)
    far = figure("How far apart, step by step (job numpy)")
    assert hovered(page, f"{far} circle[data-said]", nth=7) == (
        "logits (forward), step 64: 100% of the elements differ; p50 4,985, p99 784,576, max 2,436,989 ULP "
        "(last-digit steps)"
    )
    tensors = f"{figure('Which tensors differ in which step (job numpy)')} [data-band='0']"
    assert hovered(page, tensors, 0.001, 0.1) == "tokens, constant; step 0: the same bits"
    assert hovered(page, tensors, 0.999, 0.9) == "second_moment, constant; step 99: other bits"
    tiles = f"{figure('Operators, by what decides them')} [data-band='6']"
    assert hovered(page, tiles, 0.001, 0.01) == "blas.dot.f32.1000: the same bits"
    assert hovered(page, f"{far} figcaption") == ""
    page.page.mouse.move(2, 2)
    assert page.page.locator("#tip").is_hidden()
    assert page.complaints == []


def test_hovering_says_who_agrees(opened: Open) -> None:
    page = opened(pages.PAGES["diff nodes"]())
    said = hovered(page, f"{figure('Who agrees with whom')} rect.t1")
    assert said.startswith("4: node[00000-00002,00006] and node")
    assert said.endswith(" of 688 results equal")
    grid = f"{figure('Operators in every group, by result')} [data-band='7']"
    assert hovered(page, grid, 0.99, 0.01) == "4: node[00000-00002,00006]; numpy: as the first group"


def test_the_next_command_is_copied(nehalem: str, opened: Open) -> None:
    page = opened(nehalem, permissions=["clipboard-read", "clipboard-write"])
    page.page.get_by_role("button", name="Copy").click()
    page.page.get_by_role("button", name="Copied").wait_for()
    assert page.run("navigator.clipboard.readText()") == f"audit reproduce '{pages.NEHALEM}.json'"


def test_without_a_clipboard_the_command_is_selected(nehalem: str, opened: Open) -> None:
    page = opened(nehalem)
    page.run("delete Navigator.prototype.clipboard")
    page.page.get_by_role("button", name="Copy").click()
    page.page.get_by_role("button", name="Selected").wait_for()
    assert page.run("String(getSelection())") == f"audit reproduce '{pages.NEHALEM}.json'"


def test_the_json_that_is_downloaded_is_the_comparison(nehalem: str, opened: Open) -> None:
    page = opened(nehalem)
    with page.page.expect_download() as waiting:
        page.page.get_by_role("button", name="Download as JSON").click()
    found = Path(waiting.value.path()).read_bytes()
    assert json.loads(found) == msgspec.to_builtins(pages.pair(pages.NEHALEM))
    assert waiting.value.suggested_filename == "audit.json"
    assert page.complaints == []


def test_a_fact_is_explained_where_it_stands(nehalem: str, opened: Open) -> None:
    page = opened(nehalem)
    page.page.locator("td summary", has_text="blas.kernel").first.click()
    assert page.page.get_by_text("Code path that BLAS chose for this processor").first.is_visible()


def test_without_script_everything_can_be_read(nehalem: str, opened: Open) -> None:
    page = opened(nehalem, java_script_enabled=False)
    assert page.page.locator("h1").text_content().startswith("DIFFERENT RESULTS. Likely cause: the CPU")  # type: ignore[union-attr]
    assert page.page.locator("figure svg >> visible=true").count() > 4
    assert page.page.locator(".tools, .download").first.is_hidden()
    page.page.locator(".fold summary", has_text="Operators that differ").click()
    assert page.page.get_by_text("libm.expm1").is_visible()


def test_only_the_pages_own_script_runs(nehalem: str, opened: Open) -> None:
    """As if escaping had failed: what got into the page can still do nothing."""
    page = opened(nehalem)
    page.run(
        """() => {
        document.body.insertAdjacentHTML("beforeend", "<img src='http://192.0.2.1/x' onerror='window.bad = 1'>");
        document.body.insertAdjacentHTML("beforeend", "<p id='styled' style='position: fixed'>x</p>");
        const script = document.createElement("script");
        script.textContent = "window.bad = 2";
        document.body.append(script);
        }"""
    )
    page.page.wait_for_timeout(100)
    assert page.run("window.bad") is None
    assert page.run("getComputedStyle(styled).position") == "static"
    refused = [one for one in page.complaints if "violates the following Content Security Policy directive" in one]
    assert [one.split(" violates")[0] for one in refused] == [
        "Executing inline event handler",
        "Applying inline style",
        "Executing inline script",
        "Loading the image 'http://192.0.2.1/x'",
    ]


HARMLESS = [one for one in hostile.FILES if not one.words]


def test_hostile_files_are_shown_and_not_obeyed(
    tmp_path: Path, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    from audit.cli import main

    good = tmp_path / "good.json"
    good.write_bytes(hostile.GOOD)
    page, seen = opened("", PHONE), 0
    for one in HARMLESS:
        path = one.at(tmp_path)
        commands = [["show", path]] + ([["diff", str(good), path]] if not one.refused_by_diff else [])
        for command in commands:
            assert main([*command, "--format", "html"]) in (0, 1, 3)
            page.turn(capsys.readouterr().out)
            assert page.complaints == [], one.name
            assert page.run("document.images.length + document.links.length + frames.length") == 0
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), one.name
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("name", [f"diff {pages.NEHALEM}", "diff nodes", "show host"])
def test_it_fits_on_paper(name: str, opened: Open) -> None:
    page = opened(pages.PAGES[name](), (718, 1000), "dark")  # A4 at 96 dots an inch, within its margins
    page.page.emulate_media(media="print")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run(WIDER) == []
    assert page.run("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.page.locator("button >> visible=true").count() == 0
    assert page.page.locator("figure svg.wide >> visible=true").count() > 1
    assert page.page.pdf(format="A4").startswith(b"%PDF")


def test_many_machines_stay_a_page_that_can_be_sent() -> None:
    base = pages.nodes()
    assert len(render.diff(base, "html")) < 2_000_000
