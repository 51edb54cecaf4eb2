"""Text layout: cells measured, wrapped and set in columns. No meaning here, only characters and widths."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100
"""Columns of a terminal page: what a laptop shows, and what can be pasted into a chat without breaking."""

WIDE = 160
"""Columns where everything is asked for: long names and values are read there, not pasted."""

GAP = 3
SENTENCE = 24
VALUE = 18
NARROWEST = 10
"""Widths below which a last column, a middle column, and any column are shrunk only when nothing else helps."""


def cell_width(text: str) -> int:
    """Columns that `text` takes on a terminal: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata  # only here: it is not needed for nearly every page

    def taken(character: str) -> int:
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
            return 0
        return 2 if unicodedata.east_asian_width(character) in "WF" else 1

    return sum(map(taken, text))


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces; a longer word is broken anywhere."""
    if cell_width(text) <= width:
        return [text]
    if text.isascii():
        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    lines = [""]
    for word in text.split(" "):
        for piece in _pieces(word, width):
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_width(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    pieces = [""]
    for character in word:
        if cell_width(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def pad(text: str, width: int) -> str:
    """`text` and spaces up to `width` columns."""
    return text + " " * (width - cell_width(text))


def widths(rows: Sequence[Sequence[str]], available: int) -> list[int]:
    """A width for every column so that all fit into `available` columns with gaps between them.

    The last column gives way first, for it holds sentences; then the widest of the others; the first, with names, last.
    """
    count = max(len(row) for row in rows)
    found = [max((cell_width(row[c]) for row in rows if c < len(row)), default=0) for c in range(count)]
    excess = sum(found) + GAP * (count - 1) - available
    middle = sorted(range(1, count - 1), key=lambda c: -found[c])
    last = count - 1
    order = [
        (last, SENTENCE),
        *((c, VALUE) for c in middle),
        (last, NARROWEST),
        *((c, NARROWEST) for c in middle),
    ]
    for column, least in [*order, (0, NARROWEST)]:
        taken = max(0, min(excess, found[column] - least))
        found[column] -= taken
        excess -= taken
    return found


def columns(cells: Sequence[str], column_widths: Sequence[int]) -> list[str]:
    """The lines of one table row: every cell wrapped in its column, the last one without trailing spaces."""
    wrapped = [wrap(cell, width) for cell, width in zip(cells, column_widths, strict=False)]
    height = max(len(lines) for lines in wrapped)
    lines = []
    for number in range(height):
        parts = [cell[number] if number < len(cell) else "" for cell in wrapped]
        padded = [pad(part, width) for part, width in zip(parts, column_widths, strict=False)]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines
