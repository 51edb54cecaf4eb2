"""Cells as SVG: grids, tiles and matrices. Cells of one tone are one path, so that an element is not made for each."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .escape import cut
from .pages.picture import Grid, Key, Matrix, Tiles
from .svg import COLOURS, LONGEST, element, fitted, number, text, width_of

_TILE, _STEP = 11.0, 13.0


def grid(picture: Grid, width: float) -> tuple[str, float]:
    """The elements of a grid, and its height. Rows that are high enough have their names at the left."""
    legend, y = _legend(picture.keys, width, picture)
    rows = sum(len(band.rows) for band in picture.bands)
    high = min(16.0, max(2.5, 330 / max(1, rows))) if not any(band.columns for band in picture.bands) else 13.0
    named = high >= 11
    longest = max((width_of(cut(name, 50), 12) for band in picture.bands for name, _ in band.rows), default=0.0)
    left = min(longest + 14, width / 3) if named else 74.0
    parts, number_of, columns = [legend], 0, 1
    mark = ""
    for at, band in enumerate(picture.bands):
        columns = max(1, len(band.columns) or max((len(cells) for _, cells in band.rows), default=1))
        wide = (width - left - 8) / columns
        if named:
            parts.append(text(2, y + 11, fitted(band.title, width - 4, 12), "strong"))
            y += 17
        else:
            parts.append(
                text(left - 8, y + high * len(band.rows) / 2 + 4, fitted(band.title, left - 10, 12), "soft", "end")
            )
        parts += _cells([cells for _, cells in band.rows], picture.keys, left, y, wide, high)
        for n, (name, _) in enumerate(band.rows):
            if named:
                parts.append(text(left - 8, y + n * high + high - 3, fitted(name, left - 12, 12), "soft", "end"))
            if picture.mark and picture.mark[0] == number_of + n:
                mark = _ring(left + picture.mark[1] * wide, y + n * high, wide, high, picture.mark[2], width)
        height = high * len(band.rows)
        parts.append(element("rect", x=left, y=y, width=wide * columns, height=height, class_="hit", data_band=at))
        number_of += len(band.rows)
        y += height + (9 if named else 5)
    if picture.x:
        parts.append(_steps(picture, columns, left, y, width))
        y += 34
    return "".join([*parts, mark]), y


def _ring(x: float, y: float, wide: float, high: float, said: str, width: float) -> str:
    """A ring around a cell, and what happened there."""
    ring = element("rect", x=x - 3, y=y - 3, width=wide + 6, height=high + 6, rx=3, class_="ring")
    end = x > width / 2
    shown = fitted(said, width / 2, 12)
    at = x - 8 if end else x + wide + 8
    back = element(
        "rect",
        x=at - width_of(shown, 12) - 4 if end else at - 3,
        y=y + high / 2 - 9,
        width=width_of(shown, 12) + 7,
        height=18,
        rx=4,
        class_="on",
    )
    return ring + back + text(at, y + high / 2 + 4, shown, "strong", "end" if end else None)


def _steps(picture: Grid, columns: int, left: float, y: float, width: float) -> str:
    """The numbers of some columns, and what they number."""
    wide = (width - left - 8) / columns
    apart = next((n for n in (1, 2, 5, 10, 20, 25, 50, 100) if columns / n <= (6 if width < 600 else 12)), 100)
    parts = [
        text(left + (column + 0.5) * wide, y + 10, f"{column * picture.every:,}", "soft", "middle")
        for column in range(0, columns, apart)
    ]
    return "".join([*parts, text((left + width) / 2, y + 27, picture.x, "soft", "middle")])


def _cells(rows: list[str], keys: tuple[Key, ...], left: float, top: float, wide: float, high: float) -> list[str]:
    """One path a tone over all rows."""
    tones = {key.character: _tone(key) for key in keys if key.tone >= 0}
    paths: dict[str, list[str]] = {}
    gap = 1 if high >= 8 else 0
    for n, row in enumerate(rows):
        for start, end, character in _runs(row):
            if character in tones:
                x, y = number(left + start * wide), number(top + n * high)
                shape = f"M{x} {y}h{number((end - start) * wide)}v{number(high - gap)}H{x}z"
                paths.setdefault(tones[character], []).append(shape)
    return [element("path", d="".join(those), class_=f"cells {tone}") for tone, those in sorted(paths.items())]


def _runs(row: str) -> Iterator[tuple[int, int, str]]:
    start = 0
    for n in range(1, len(row) + 1):
        if n == len(row) or row[n] != row[start]:
            yield start, n, row[start]
            start = n


def _tone(key: Key) -> str:
    """The class of its cells."""
    if key.tone < 0:
        return "node"
    return "calm" if key.calm else f"t{(key.tone - 1) % COLOURS + 1}" if key.tone else "t0"


def _legend(keys: tuple[Key, ...], width: float, picture: Grid | Tiles) -> tuple[str, float]:
    """What the tones mean that occur."""
    if isinstance(picture, Grid):
        used = {cell for band in picture.bands for _, cells in band.rows for cell in cells}
    else:
        used = {character for _, tiles in picture.groups for _, character, _ in tiles}
    parts, x, y = [], 2.0, 12.0
    for key in keys:
        if key.character not in used:
            continue
        if x > 2 and x + 20 + width_of(key.meaning, 12) > width:
            x, y = 2.0, y + 18
        parts.append(element("rect", x=x, y=y - 10, width=11, height=11, class_=_tone(key)))
        parts.append(text(x + 17, y, key.meaning))
        x += 34 + width_of(key.meaning, 12)
    return "".join(parts), y + 14


def tiles(picture: Tiles, width: float) -> tuple[str, float]:
    """The elements of tiles, and their height."""
    legend, y = _legend(picture.keys, width, picture)
    tones = {key.character: _tone(key) for key in picture.keys}
    across = max(1, int(width // _STEP))
    parts = [legend]
    for at, (title, those) in enumerate(picture.groups):
        parts.append(text(2, y + 13, fitted(title, width - 4, 12)))
        y += 20
        paths: dict[str, list[str]] = {}
        for n, (_, character, _) in enumerate(those):
            shape = f"M{number(n % across * _STEP)} {number(y + n // across * _STEP)}h{_TILE}v{_TILE}h-{_TILE}z"
            paths.setdefault(tones.get(character, "node"), []).append(shape)
        parts += [element("path", d="".join(shapes), class_=f"cells {tone}") for tone, shapes in sorted(paths.items())]
        height = _STEP * -(-len(those) // across)
        parts.append(
            element(
                "rect", x=0, y=y, width=across * _STEP, height=height, class_="hit", data_band=at, data_across=across
            )
        )
        y += height + 4
    return "".join(parts), y


def matrix(picture: Matrix, width: float) -> tuple[str, float]:
    """The elements of a matrix, and its height. Groups are numbered, so that its columns need no names."""
    count = max(1, len(picture.labels))
    left = min(330.0, width * 0.45)
    size = min(46.0, (width - left - 8) / count)
    parts, top = [], 20.0
    for n, label in enumerate(picture.labels):
        y = top + n * size
        parts.append(text(left - 8, y + size / 2 + 4, fitted(f"{n + 1}  {label}", left - 12, 12), "", "end"))
        if size >= 14:
            parts.append(text(left + (n + 0.5) * size, top - 7, str(n + 1), "soft", "middle"))
        for other, share in enumerate(picture.shares[n]):
            parts.append(_pair(left + other * size, y, size, share, picture.said[n][other]))
    return "".join(parts), top + count * size + 4


def _pair(x: float, y: float, size: float, share: float | None, said: str) -> str:
    """A cell of a matrix: the less of it is equal, the more of the colour for other results lies over it."""
    side = size - 1.5
    if share is None:
        return element("rect", x=x, y=y, width=side, height=side, class_="node", data_said=said)
    cell = element("rect", x=x, y=y, width=side, height=side, class_="t0", data_said=said)
    if share < 1:
        over = f"{0.15 + 0.85 * (1 - share):.2f}"
        cell += element("rect", x=x, y=y, width=side, height=side, class_="t1", opacity=over, data_said=said)
    if size >= 34:
        cell += text(x + side / 2, y + size / 2 + 4, f"{int(100 * share)}%", "number", "middle")
    return cell


def data(picture: Grid | Tiles) -> str:
    """What a grid's or tiles' hover texts are made of, as JSON."""
    if isinstance(picture, Tiles):
        return json.dumps({"tiles": [[cut(said, LONGEST) for _, _, said in those] for _, those in picture.groups]})
    bands = [
        {
            "rows": [(cut(name, LONGEST), cells) for name, cells in band.rows],
            "columns": [cut(name, LONGEST) for name in band.columns],
        }
        for band in picture.bands
    ]
    meanings = {key.character: key.meaning for key in picture.keys}
    return json.dumps({"bands": bands, "meanings": meanings, "x": picture.x, "every": picture.every})
