"""Pictures as SVG, for pages and for files of their own. Each kind of picture is drawn next door."""

from __future__ import annotations

from importlib.resources import files

from .escape import cut, html
from .pages.page import Page
from .pages.picture import Chain, Curves, Grid, Matrix, Picture, Tiles
from .plot_chain import chain
from .plot_curves import curves
from .plot_grid import grid, matrix, tiles
from .svg import LONGEST, element, number, text, wrapped

WIDE = 1000
NARROW = 360
"""The widths for which a picture is drawn: a desk or paper, and a phone."""


def drawn(picture: Picture, width: float) -> tuple[str, float]:
    """The elements of a picture in that width, and its height."""
    if isinstance(picture, Chain):
        return chain(picture, width)
    if isinstance(picture, Curves):
        return curves(picture, width)
    if isinstance(picture, Grid):
        return grid(picture, width)
    if isinstance(picture, Tiles):
        return tiles(picture, width)
    assert isinstance(picture, Matrix)
    return matrix(picture, width)


def svg(picture: Picture, width: float, class_: str) -> str:
    """A picture as an element of a page, which brings `style`."""
    content, height = drawn(picture, width)
    box = f"0 0 {number(width)} {number(height)}"
    return element("svg", content, class_=class_, viewBox=box, role="img", aria_label=picture.name)


def style() -> str:
    """The style sheet of all pictures."""
    return files(__package__).joinpath("plot.css").read_text("utf-8")


def alone(page: Page, most: int = 1) -> str:
    """A page's answer, its first chain and so many of its other pictures as one file; "" where it has none. Of many
    machines, who agrees with whom says more than one of the chains."""
    pictures = [block.picture for part in page.sections for block in part.blocks if block.picture and not part.folded]
    many = any(isinstance(one, Matrix) for one in pictures)
    chains = [one for one in pictures if isinstance(one, Chain)]
    others = [one for one in pictures if not isinstance(one, Chain)]
    chosen = others[:2] if many else [*chains[:1], *others[:most]]
    if not chosen:
        return ""
    margin, y = 16.0, 34.0
    parts = []
    for n, line in enumerate(wrapped(f"{page.verdict} {page.answer}", WIDE, 16, 3)):
        parts.append(text(0, y + n * 22, line, "large"))
    y += 22 * len(parts) + 4
    for one in chosen:
        if not isinstance(one, Chain):
            parts.append(text(0, y + 8, cut(one.name, 150), "strong"))
            y += 24
        content, height = drawn(one, WIDE)
        parts.append(element("g", content, transform=f"translate(0 {number(y)})"))
        y += height + 18
    body = [
        element("title", html(cut(f"{page.verdict} {page.answer}", LONGEST))),
        element("style", style()),
        element("rect", width=WIDE + 2 * margin, height=y + 8, class_="paper"),
        element("g", "".join(parts), transform=f"translate({number(margin)} 0)"),
    ]
    size = {"viewBox": f"0 0 {number(WIDE + 2 * margin)} {number(y + 8)}", "xmlns": "http://www.w3.org/2000/svg"}
    return element("svg", "".join(body), class_="plot", role="img", **size) + "\n"
