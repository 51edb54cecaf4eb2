"""Elements of SVG, and the little typesetting that it lacks: every text and attribute is escaped here."""

from __future__ import annotations

import re

from . import escape, layout

CHARACTER = 0.58
"""The width of an average character, as a part of the font's size; a little more than in most fonts."""

COLOURS = 7
"""So many colours the style sheet has; what is more uses them again."""

LONGEST = 300
"""The most characters of a text that is said of a part of a picture."""

_BREAKS = re.compile(r"(?<=[_.,=/:])(?=[^.])")
"""Where a long name or value may be broken over lines."""


def element(name: str, content: str = "", /, **attributes: str | float | None) -> str:
    """An element. content: elements, not text. An attribute `class_` is `class`, and `data_x` is `data-x`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(key, value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def text(x: float, y: float, shown: str, class_: str = "", anchor: str | None = None) -> str:
    """One line of text."""
    return element("text", escape.html(shown), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def _value(key: str, value: str | float) -> str:
    """A path is made of numbers and may be long; any other text may come from a report."""
    if isinstance(value, str):
        return escape.html(value if key == "d" else escape.cut(value, LONGEST))
    return number(value)


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def fitted(shown: str, width: float, size: float) -> str:
    """`shown`, cut to what fits into `width`."""
    most = max(4, int(width / (size * CHARACTER)))
    return escape.cut(escape.visible(escape.cut(shown, most)), most)


def wrapped(shown: str, width: float, size: float, most: int) -> list[str]:
    """`shown` in at most so many lines that fit into `width`, broken at spaces; a longer word is broken after its
    punctuation, or anywhere. What is left out is "..."."""
    columns = max(6, int(width / (size * CHARACTER)))
    lines = [""]
    for word in escape.visible(escape.cut(shown, 400)).split(" "):
        long = layout.cell_width(word) > columns
        for n, piece in enumerate(_pieces(word, columns) if long else [word]):
            longer = f"{lines[-1]}{' ' if lines[-1] and not n else ''}{piece}"
            if layout.cell_width(longer) <= columns:
                lines[-1] = longer
            else:
                lines.append(piece)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: columns - 3] + "..."]
    return lines


def _pieces(word: str, columns: int) -> list[str]:
    parts = _BREAKS.split(word)
    return [piece for part in parts for piece in layout.wrap(part, columns)]


def width_of(shown: str, size: float) -> float:
    """About how wide a text is."""
    return layout.cell_width(escape.visible(shown)) * size * CHARACTER
