"""Pages as Markdown, to be pasted into an issue: the answer in bold, tables, names and values as code."""

from __future__ import annotations

from ..checked import Check
from ..comparison import Comparison
from ..explained import Explanation
from ..fleet import Fleet
from ..history import Added, History
from ..report import Report
from ..reproduction import Reproduction
from ..screening import Screening
from ..variation import Variation
from . import escape
from .pages.check import check_page
from .pages.diff import diff_page
from .pages.explain import explain_page
from .pages.fleet import fleet_page
from .pages.history import history_page
from .pages.page import Block, Code, Page, Row, Section, Term, command
from .pages.reproduction import reproduction_page
from .pages.run import RunSummary, pasted, run_page
from .pages.screen import screen_page
from .pages.sharing import sharing_page
from .pages.show import show_page
from .pages.variation import variation_page

MOST = 1_000_000
"""The most bytes of a check: GitHub shows nothing of a summary beyond 1024k, and other text may be there."""


def run_summary(report: Report, facts: RunSummary, color: bool = False) -> str:
    """What `audit run` prints at its end."""
    return write(run_page(report, pasted(facts)))


def show(report: Report, all: bool = False, color: bool = False) -> str:
    """One report. all: every fact."""
    return write(show_page(report, all))


def sharing(report: Report, file: str, color: bool = False) -> str:
    """What leaves this machine with a report."""
    return write(sharing_page(report, file))


def diff(comparison: Comparison, all: bool = False, color: bool = False) -> str:
    """One comparison. all: every difference."""
    return write(diff_page(comparison, all))


def reproduction(one: Reproduction, all: bool = False, color: bool = False) -> str:
    """One reproduction. all: every try."""
    return write(reproduction_page(one, all))


def variation(one: Variation, all: bool = False, color: bool = False) -> str:
    """One variation. all: every setting by itself."""
    return write(variation_page(one, all))


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """One check, cut where a job summary would no longer be shown. all: everything that is folded into a finding."""
    return _capped(write(check_page(found, all)))


def explain(one: Explanation, all: bool = False, color: bool = False) -> str:
    """One explanation. all: all that decides it."""
    return write(explain_page(one, all))


def fleet(found: Fleet, all: bool = False, color: bool = False) -> str:
    """One fleet. all: every node of every list."""
    return write(fleet_page(found, all))


def screening(found: Screening, all: bool = False, color: bool = False) -> str:
    """One screening. all: every operator that differs."""
    return write(screen_page(found, all))


def history(found: History | Added, all: bool = False, color: bool = False) -> str:
    """A history, or what was added to it. all: every change."""
    return write(history_page(found, all))


def _capped(text: str) -> str:
    """The first lines of a page, as many as fit, and that it was cut; nothing that a page has goes over lines."""
    if len(text.encode("utf-8", "replace")) <= MOST:
        return text
    kept, taken = [], 0
    for line in text.split("\n"):
        taken += len(line.encode("utf-8", "replace")) + 1
        if taken > MOST - 100:
            break
        kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n\n... cut here; the JSON of the check has everything\n"


def write(page: Page) -> str:
    """The Markdown of a page, ended by a newline; every text of it passes `_text` or `_cell`, which escape."""
    paragraphs = [f"**{_text(page.verdict)}** {_text(page.answer)}".rstrip()]
    for section in page.sections:
        paragraphs += _section(section)
    paragraphs += [_text(page.closing)] if page.closing else []
    paragraphs += [_command(page.next)] if page.next else []
    return "\n\n".join(paragraphs) + "\n"


def _command(text: str) -> str:
    """The last line, its command as code."""
    before, shown, remark = command(text)
    return " ".join(part for part in (_text(before), _text(Code(shown)), _text(remark)) if part)


def _text(text: str) -> str:
    return escape.markdown_code(text) if isinstance(text, Code) else escape.markdown(text)


def _cell(text: str) -> str:
    return escape.markdown_code(text, in_table=True) if isinstance(text, Code) else escape.markdown(text)


def _section(section: Section) -> list[str]:
    """A section's paragraphs: sentences that follow each other are one list, a table stands alone."""
    paragraphs = [f"### {_text(section.title)}"] if section.title else []
    items: list[str] = []
    for block in section.blocks:
        if block.header:
            paragraphs += ["\n".join(items)] if items else []
            paragraphs += _table(block)
            items = []
        else:
            items += _items(block)
    return [*paragraphs, "\n".join(items)] if items else paragraphs


def _items(block: Block) -> list[str]:
    """One list item a row, with its label; further rows of one label stand under its first."""
    lines: list[str] = []
    for row in block.rows:
        label = row.mark or ("" if lines else block.label)
        text = _termed(row) if isinstance(row.cells[0], Term) else "; ".join(_text(cell) for cell in row.cells)
        if label:
            lines.append(f"- **{_text(label)}:** {text}")
        else:
            text = escape.markdown_first(text)
            lines.append(f"  - {text}" if lines else f"- {text}")
    return lines


def _termed(row: Row) -> str:
    """A term and what it names: "because: another driver"."""
    term, *rest = (_text(cell) for cell in row.cells)
    return f"{term}: {'; '.join(rest)}" if term else "; ".join(rest)


def _table(block: Block) -> list[str]:
    """A table under its label; marks such as "(root)" stand behind the first cell."""
    rows = [
        "| " + " | ".join(_cell(cell) for cell in block.header) + " |",
        "|" + " --- |" * len(block.header),
    ]
    rows += ["| " + " | ".join(_cells(row)) + " |" for row in block.rows]
    return [*([f"**{_text(block.label)}**"] if block.label else []), "\n".join(rows)]


def _cells(row: Row) -> list[str]:
    first, *others = (_cell(cell) for cell in row.cells)
    return [f"{first} {_cell(row.mark)}" if row.mark else first, *others]
