"""Pages for a terminal: at most 100 columns, the answer first, the next command last.

Lines are built as plain text; only where colour is asked for is rich imported (70 ms) to style them.
"""

from __future__ import annotations

from typing import NamedTuple

from ..checked import Check
from ..comparison import Comparison
from ..explained import Explanation
from ..fleet import Fleet
from ..history import Added, History
from ..report import Report
from ..reproduction import Reproduction
from ..screening import Screening
from ..variation import Variation
from . import escape, layout
from .pages.check import check_page
from .pages.diff import diff_page
from .pages.explain import explain_page
from .pages.fleet import fleet_page
from .pages.history import history_page
from .pages.page import Block, Page, Section, fit
from .pages.reproduction import reproduction_page
from .pages.run import RunSummary, run_page
from .pages.screen import screen_page
from .pages.sharing import sharing_page
from .pages.show import show_page
from .pages.variation import variation_page

LINES = 25
"""The most that `audit diff` prints before --all: what fits on a screen without scrolling."""

LABEL = 10
"""Columns of the labels at the left; longer ones make their section's label column wider."""

LONGEST = 2000
"""The most characters of one text, so that a hostile file cannot flood a terminal."""

_TONES = {"good": "bold green", "bad": "bold red", "unsure": "bold yellow"}


class Line(NamedTuple):
    """A line of text; style: of rich; styled: how many characters of it have the style (None: all)."""

    text: str
    style: str = ""
    styled: int | None = None


def run_summary(report: Report, facts: RunSummary, color: bool = False) -> str:
    """What `audit run` prints at its end."""
    return write(run_page(report, facts), color)


def show(report: Report, all: bool = False, color: bool = False) -> str:
    """What `audit show` prints of a report. all: every fact."""
    return write(show_page(report, all), color, width=layout.WIDE if all else layout.WIDTH)


def sharing(report: Report, file: str, color: bool = False) -> str:
    """What `audit show --sharing` prints."""
    return write(sharing_page(report, file), color)


def diff(comparison: Comparison, all: bool = False, color: bool = False) -> str:
    """What `audit diff` prints: at most 25 lines, or with `all` everything that is known."""
    return _whole_or_fitted(diff_page(comparison, all), all, color)


def reproduction(one: Reproduction, all: bool = False, color: bool = False) -> str:
    """What `audit reproduce` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(reproduction_page(one, all), all, color)


def variation(one: Variation, all: bool = False, color: bool = False) -> str:
    """What `audit vary` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(variation_page(one, all), all, color)


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """What `audit check` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(check_page(found, all), all, color)


def explain(one: Explanation, all: bool = False, color: bool = False) -> str:
    """What `audit explain` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(explain_page(one, all), all, color)


def fleet(found: Fleet, all: bool = False, color: bool = False) -> str:
    """What `audit fleet report` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(fleet_page(found, all), all, color)


def screening(found: Screening, all: bool = False, color: bool = False) -> str:
    """What `audit screen` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(screen_page(found, all), all, color)


def history(found: History | Added, all: bool = False, color: bool = False) -> str:
    """What `audit history` prints, also in at most 25 lines without `all`."""
    return _whole_or_fitted(history_page(found, all), all, color)


def _whole_or_fitted(page: Page, all: bool, color: bool) -> str:
    if all:
        return write(page, color, width=layout.WIDE)
    return write(fit(page, LINES, lambda shorter: len(_lines(shorter))), color, LINES)


def write(page: Page, color: bool = False, limit: int = 0, width: int = layout.WIDTH) -> str:
    """The text of a page, ended by a newline. limit: the most lines (0: as many as there are); width: columns."""
    lines = _lines(page, width)
    if limit and len(lines) > limit:  # a hostile or very odd file: the answer, the next command, and what fits
        lines = [*lines[: limit - 3], Line("... (--all)", "dim"), *lines[-2:]]
    if color:
        return _styled(lines)
    return "".join(f"{line.text}\n" for line in lines)


def _lines(page: Page, width: int = layout.WIDTH) -> list[Line]:
    """All lines of a page. With `_block` the choke point: every text of a page passes `_clean`."""
    verdict, answer = _clean(page.verdict), _clean(page.answer)
    first, *more = layout.wrap(f"{verdict} {answer}".rstrip(), width)
    lines = [Line(first, _TONES[page.tone], len(verdict)), *map(Line, more)]
    for section in page.sections:
        lines += [] if page.compact else [Line("")]
        lines += _section(section, width)
    closing = _clean(page.closing) + (". Shortened: --all shows everything" if page.shortened else "")
    last = [Line(text, "dim") for text in layout.wrap(closing, width)] if closing else []
    last += [Line(_clean(page.next), "bold")] if page.next else []
    return [*lines, *([Line("")] if last and not page.compact else []), *last]


def _clean(text: str) -> str:
    """A text of a page as it may stand on a terminal."""
    return escape.visible(escape.cut(text, LONGEST))


def _section(section: Section, width: int) -> list[Line]:
    """A section's lines; its labels share one column. With a title all of it is indented."""
    indent = 2 if section.title else 0
    needed = max(_width_of_labels(block) for block in section.blocks)
    label = max(needed, 0 if section.title else LABEL)
    label += (2 if section.title else 1) if label else 0
    title = layout.wrap(_clean(section.title), width) if section.title else []
    lines = [Line(text, "bold") for text in title]
    for block in section.blocks:
        lines += _block(block, indent, label, width)
    return lines


def _width_of_labels(block: Block) -> int:
    return max(layout.cell_width(_clean(text)) for text in (block.label, *(row.mark for row in block.rows)))


def _block(block: Block, indent: int, label: int, width: int) -> list[Line]:
    """A block's lines: labels in their column, cells in theirs."""
    header = [_clean(cell) for cell in block.header]
    table = [(_clean(row.mark), [_clean(cell) for cell in row.cells], "") for row in block.rows]
    if header:
        table.insert(0, (_clean(block.label), header, "dim"))
    elif not table[0][0]:
        table[0] = (_clean(block.label), *table[0][1:])
    column_widths, notes = _widths([cells for _, cells, _ in table], width - indent - label, bool(header))
    lines = []
    for (mark, cells, style), note in zip(table, notes, strict=True):
        for text in [*layout.columns(cells[: len(column_widths)], column_widths), *note]:
            lines.append(Line((" " * indent + layout.pad(mark, label) + text).rstrip(), style))
            mark = ""
    if header and block.left_out:
        lines.append(Line(" " * (indent + label) + f"... {block.left_out} more (--all)", "dim"))
    return lines


def _widths(rows: list[list[str]], width: int, named: bool) -> tuple[list[int], list[list[str]]]:
    """The columns' widths, and for each row the lines below it. named: the first row is a header.

    Where long names leave no room for the sentences of the last column, these stand below their rows.
    """
    found = layout.widths(rows, width)
    fits = all(layout.cell_width(row[-1]) <= found[-1] for row in rows)
    if not named or len(found) < 3 or found[-1] > layout.NARROWEST or fits:
        return found, [[] for _ in rows]
    below = [layout.wrap(row[-1], width - layout.GAP) if row[-1] else [] for row in rows[1:]]
    notes = [[" " * layout.GAP + text for text in texts] for texts in below]
    return layout.widths([row[:-1] for row in rows], width), [[], *notes]


def _styled(lines: list[Line]) -> str:
    """The lines with terminal colours."""
    import io

    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", width=layout.WIDE, highlight=False
    )
    with console.capture() as captured:
        for line in lines:
            text = Text(line.text)
            if line.style:
                text.stylize(line.style, 0, line.styled)
            console.print(text, soft_wrap=True)
    return captured.get()
