"""A page: what a rendering shows, before it has a form.

`diff`, `show` and `run` turn comparisons and reports into pages; `terminal`, `markdown` and `html` give a page its
form. So what is said, and in which order, stands in one place for all formats, and so does escaping: builders put raw
text into pages, writers escape every text of a page (`escape.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from .picture import Picture

Tone = Literal["good", "bad", "unsure"]


class Code(str):
    """Text for a computer: a command, a fact's name, a value. Markdown sets it as code."""

    __slots__ = ()


class Term(str):
    """A word that names what stands beside it in its row. Markdown sets it before that, with a colon."""

    __slots__ = ()


class Row(Struct, frozen=True):
    """One row of a table. mark: what stands in the label column, such as "(root)". more: what else can be said of it,
    by label, where a page can be unfolded. below: it says more of the row above."""

    cells: tuple[str, ...]
    mark: str = ""
    more: tuple[tuple[str, str], ...] = ()
    below: bool = False


class Block(Struct, frozen=True):
    """A label and the rows that stand beside it. A single row with one cell is a plain sentence.

    left_out: how many rows are not shown. least: rows that stay when a page must become shorter; with `least` 0 the
    whole block may go. weight: blocks with a lower weight become shorter first. picture: the same drawn, where a
    format can draw.
    """

    label: str
    rows: tuple[Row, ...]
    header: tuple[str, ...] = ()
    left_out: int = 0
    least: int = 1
    weight: int = 5
    picture: Picture | None = None


class Section(Struct, frozen=True):
    """Blocks that belong together; a blank line stands before each section. title: a heading, or "". folded: it is for
    who wants all of it, where a page can be unfolded."""

    blocks: tuple[Block, ...]
    title: str = ""
    folded: bool = False


class Page(Struct, frozen=True):
    """verdict: the first words ("DIFFERENT RESULTS."). answer: the rest of the first line. closing: the line before
    the last. next: the last line, the next command. shortened: rows were left out; compact: blank lines too.
    subject: what it is about, as a title."""

    tone: Tone
    verdict: str
    answer: str
    sections: tuple[Section, ...]
    closing: str = ""
    next: str = ""
    shortened: bool = False
    compact: bool = False
    subject: str = ""


def sentence(label: str, text: str, *, weight: int = 5, optional: bool = False) -> Block:
    """A labelled sentence. optional: it may be left out of a page that is too long."""
    return Block(label, (Row((text,)),), least=0 if optional else 1, weight=weight)


def section(*blocks: Block | None, title: str = "", folded: bool = False) -> Section:
    """A section of those blocks that have something to show."""
    return Section(tuple(block for block in blocks if block is not None and block.rows), title, folded)


def page(
    first: tuple[Tone, str, str], sections: list[Section], closing: str = "", next: str = "", subject: str = ""
) -> Page:
    """A page of those sections that have something to show. first: tone, verdict and answer."""
    return Page(*first, tuple(part for part in sections if part.blocks), closing, next, subject=subject)


def command(text: str) -> tuple[str, str, str]:
    """A page's last line in parts: what stands before its first gap, the command, and a remark behind the command."""
    before, _, rest = text.strip().partition("  ")
    first, _, last = rest.strip().rpartition("    ")
    return (before, first.strip(), last) if last.startswith(("#", "(")) else (before, rest.strip(), "")


def fit(whole: Page, limit: int, lines: Callable[[Page], int]) -> Page:
    """`whole`, made shorter row by row until it has at most `limit` lines; where that is not enough, without blank
    lines and made shorter again.

    lines: how many lines a page takes. What goes first: the last row of the longest block of the lowest weight.
    """
    whole = _at_most(whole, limit)
    for start in (whole, replace(whole, compact=True)):
        shorter: Page | None = start
        while shorter is not None:
            whole = shorter
            if lines(whole) <= limit:
                return whole
            shorter = _shortened(whole)
    return whole


def _at_most(whole: Page, rows: int) -> Page:
    """`whole` with at most so many rows a block: more than a page has lines are always too many, and counting the
    lines of a page for every row of thousands would take minutes."""
    sections = []
    for part in whole.sections:
        blocks = [
            replace(one, rows=one.rows[:rows], left_out=one.left_out + len(one.rows[rows:])) for one in part.blocks
        ]
        sections.append(replace(part, blocks=tuple(blocks)))
    shortened = any(len(one.rows) > rows for part in whole.sections for one in part.blocks)
    return replace(whole, sections=tuple(sections), shortened=whole.shortened or shortened)


def _shortened(whole: Page) -> Page | None:
    spare = [
        (block.weight, -(len(block.rows) - block.least), -s, -b)
        for s, part in enumerate(whole.sections)
        for b, block in enumerate(part.blocks)
        if len(block.rows) > block.least
    ]
    if not spare:
        return None
    _, _, s, b = min(spare)
    block = whole.sections[-s].blocks[-b]
    return _with_block(whole, -s, -b, replace(block, rows=block.rows[:-1], left_out=block.left_out + 1))


def _with_block(whole: Page, s: int, b: int, block: Block) -> Page:
    blocks = list(whole.sections[s].blocks)
    blocks[b : b + 1] = [block] if block.rows else []
    sections = list(whole.sections)
    sections[s : s + 1] = [replace(whole.sections[s], blocks=tuple(blocks))] if blocks else []
    return replace(whole, sections=tuple(sections), shortened=True)
