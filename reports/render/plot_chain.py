"""A chain as SVG: its levels side by side with an arrow for each step, or below each other where there is no room."""

from __future__ import annotations

from typing import NamedTuple

from .pages.picture import Chain, Link, Node
from .svg import element, text, wrapped

NARROW = 600
"""Below this width the levels stand below each other."""

_BOLD, _BELOW, _LINE, _PAD, _GAP = 13.2, 11.5, 15.5, 8.0, 10.0


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    title: list[str]
    below: list[str]
    root: bool

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * (len(self.title) + len(self.below)) - 3

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def chain(picture: Chain, width: float) -> tuple[str, float]:
    """The elements of a chain, and its height."""
    return _stacked(picture, width) if width < NARROW else _side_by_side(picture, width)


def _side_by_side(picture: Chain, width: float) -> tuple[str, float]:
    space = 34.0
    column = (width - space * (len(picture.links) - 1)) / max(1, len(picture.links))
    levels = []
    for n, link in enumerate(picture.links):
        boxes, y = [], 26.0
        for node in link.nodes:
            boxes.append(_box(node, n * (column + space) + 1, y, column - 2, link.title == "Root"))
            y += boxes[-1].height + _GAP
        levels.append(boxes)
    height = max(boxes[-1].y + boxes[-1].height for boxes in levels)
    for n, boxes in enumerate(levels):  # each level in the middle
        down = (height - boxes[-1].y - boxes[-1].height) / 2
        levels[n] = [box._replace(y=box.y + down) for box in boxes]
    parts = [text(n * (column + space) + 1, 12, link.title, "level") for n, link in enumerate(picture.links)]
    for link, boxes, following in zip(picture.links, levels, levels[1:], strict=False):
        parts += _arrows(link, boxes, following)
    return "".join([*parts, *(_drawn(box) for boxes in levels for box in boxes)]), height + 2


def _arrows(link: Link, boxes: list[_Box], following: list[_Box]) -> list[str]:
    parts = []
    for box, targets in zip(boxes, link.to, strict=False):
        for target in [following[n] for n in targets if 0 <= n < len(following)]:
            start, end = box.x + box.width, target.x - 6
            middle = (start + end) / 2
            curve = f"M{start:.1f} {box.middle:.1f}C{middle:.1f} {box.middle:.1f} {middle:.1f} {target.middle:.1f} "
            parts.append(element("path", d=f"{curve}{end:.1f} {target.middle:.1f}", class_="arrow"))
            parts.append(_head(end + 5, target.middle, "right"))
    return parts


def _stacked(picture: Chain, width: float) -> tuple[str, float]:
    parts, y = [], 12.0
    for n, link in enumerate(picture.links):
        parts.append(text(1, y, link.title, "level"))
        y += 8
        for node in link.nodes:
            box = _box(node, 1, y, width - 2, link.title == "Root")
            parts.append(_drawn(box))
            y += box.height + 6
        if n + 1 < len(picture.links):
            parts.append(element("path", d=f"M{width / 2:.1f} {y - 4:.1f}v14", class_="arrow"))
            parts.append(_head(width / 2, y + 16, "down"))
            y += 32
    return "".join(parts), y


def _box(node: Node, x: float, y: float, width: float, root: bool) -> _Box:
    title = wrapped(node.title, width - 2 * _PAD, _BOLD, 3)
    below = [line for part in node.below[:4] for line in wrapped(part, width - 2 * _PAD, _BELOW, 3)]
    return _Box(x, y, width, title, below, root)


def _drawn(box: _Box) -> str:
    lines = [(line, "strong") for line in box.title] + [(line, "soft small") for line in box.below]
    texts = [text(box.x + _PAD, box.y + _PAD + 11 + n * _LINE, line, class_) for n, (line, class_) in enumerate(lines)]
    frame = element(
        "rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=6, class_="node root" if box.root else "node"
    )
    return frame + "".join(texts)


def _head(x: float, y: float, way: str) -> str:
    sides = "l-7 -3.5v7z" if way == "right" else "l-3.5 -7h7z"
    return element("path", d=f"M{x:.1f} {y:.1f}{sides}", class_="head")
