"""Pages as one HTML file for people who did not run it: the same words, with pictures, and all the rest unfolded on
demand. Nothing is loaded from elsewhere, and its own script and style are the only ones that a browser will run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ...checked import Check
from ...comparison import Comparison
from ...explained import Explanation
from ...fleet import Fleet
from ...history import Added, History
from ...report import Report
from ...reproduction import Reproduction
from ...screening import Screening
from ...variation import Variation
from .. import escape, plot, plot_grid
from ..pages.check import check_page
from ..pages.diff import diff_page
from ..pages.explain import explain_page
from ..pages.fleet import fleet_page
from ..pages.history import history_page
from ..pages.page import Block, Code, Page, Section, Term, command
from ..pages.picture import Chain, Grid, Picture, Tiles
from ..pages.reproduction import reproduction_page
from ..pages.run import RunSummary, pasted, run_page
from ..pages.screen import screen_page
from ..pages.sharing import sharing_page
from ..pages.show import show_page
from ..pages.variation import variation_page

LONGEST = 2000
"""The most characters of one text, so that a hostile file cannot flood a page."""

MOST_ROWS = 2000
"""The most rows of one table; how many are left out is said."""

MOST_JSON = 3_000_000
"""The most bytes of JSON that a page carries, so that it stays a page that can be sent."""


def run_summary(report: Report, facts: RunSummary, color: bool = False) -> str:
    """What `audit run` prints at its end."""
    return write(run_page(report, pasted(facts)), "audit run")


def show(report: Report, all: bool = False, color: bool = False) -> str:
    """One report, always with every fact: it can be unfolded."""
    return write(show_page(report, all=True, folds=True), "audit show", report)


def sharing(report: Report, file: str, color: bool = False) -> str:
    """What leaves this machine with a report."""
    return write(sharing_page(report, file), "audit show --sharing")


def diff(comparison: Comparison, all: bool = False, color: bool = False) -> str:
    """One comparison, always with every difference: they can be unfolded."""
    return write(diff_page(comparison, all=True, folds=True), "audit diff", comparison)


def reproduction(one: Reproduction, all: bool = False, color: bool = False) -> str:
    """One reproduction with every try."""
    return write(reproduction_page(one, all=True), "audit reproduce", one)


def variation(one: Variation, all: bool = False, color: bool = False) -> str:
    """One variation with every setting by itself."""
    return write(variation_page(one, all=True), "audit vary", one)


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """One check with everything that is folded into a finding."""
    return write(check_page(found, all=True), "audit check", found)


def explain(one: Explanation, all: bool = False, color: bool = False) -> str:
    """One explanation with all that decides it."""
    return write(explain_page(one, all=True), "audit explain", one)


def fleet(found: Fleet, all: bool = False, color: bool = False) -> str:
    """One fleet with every node of every list."""
    return write(fleet_page(found, all=True), "audit fleet", found)


def history(found: History | Added, all: bool = False, color: bool = False) -> str:
    """A history with every change, or what was added to it."""
    return write(history_page(found, all=True), "audit history", found)


def screening(found: Screening, all: bool = False, color: bool = False) -> str:
    """One screening with every operator that differs."""
    return write(screen_page(found, all=True), "audit screen", found)


def write(page: Page, made_by: str, value: object = None) -> str:
    """The file of a page. made_by: the command; value: what the page was made of, which it then carries as JSON."""
    style, script = plot.style() + _file("page.css"), _file("page.js")
    before, shown, remark = command(page.next) if page.next else ("", "", "")
    encoded = b"" if value is None else msgspec.json.encode(value)
    embedded = encoded if len(encoded) <= MOST_JSON else b""
    return _template().render(
        page=page,
        made_by=made_by,
        summary=[part for part in page.sections if not part.folded or _drawn(part)],
        folded=[part for part in page.sections if part.folded and not _drawn(part)],
        next={"before": before, "command": shown, "remark": remark},
        json=Markup(escape.json_in_html(embedded.decode("utf-8"))) if embedded else "",
        left_out=len(encoded) - len(embedded),
        style=Markup(style),
        script=Markup(script),
        allowed={"style": _digest(style), "script": _digest(script)},
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    found = Environment(
        loader=PackageLoader("reports.render", "html"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.tests["code"] = lambda text: isinstance(text, Code)
    found.tests["term"] = lambda text: isinstance(text, Term)
    found.tests["chain"] = lambda picture: isinstance(picture, Chain)
    found.globals.update(picture=_picture, hover=_hover, rows=_rows, unshown=_unshown, bare=_bare)
    return found.get_template("page.html")


def _shown(value: object) -> object:
    """Every text of a page passes here, and after that the template's own escaping of markup."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape.visible(escape.cut(value, LONGEST))
    return value


def _rows(block: Block) -> tuple[object, ...]:
    return block.rows[:MOST_ROWS]


def _unshown(block: Block) -> int:
    return block.left_out + max(0, len(block.rows) - MOST_ROWS)


def _bare(section: Section) -> bool:
    """Whether nothing in a section has a label, so that no room is left for them."""
    return not any(block.label or any(row.mark for row in block.rows) for block in section.blocks)


def _picture(picture: Picture) -> Markup:
    """A picture twice: for a desk or paper, and for a phone; the style sheet shows one of them."""
    return Markup(plot.svg(picture, plot.WIDE, "plot wide") + plot.svg(picture, plot.NARROW, "plot narrow"))


def _hover(picture: Picture) -> Markup | str:
    """What the script reads to say what is under the pointer, where that is not in the picture itself."""
    return Markup(escape.json_in_html(plot_grid.data(picture))) if isinstance(picture, Grid | Tiles) else ""


def _drawn(part: Section) -> bool:
    return any(block.picture is not None for block in part.blocks)


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names what a browser may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
