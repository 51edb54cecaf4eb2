"""What a picture shows, before it is drawn: only what was measured, with the words of its hover texts and legend.

`course`, `maps` and `chain` make pictures of comparisons; `plot` draws them. Texts are raw, as in a page.
"""

from __future__ import annotations

from msgspec import Struct


class Node(Struct, frozen=True):
    """A box of a chain: a first line, and what stands below it, each from a line of its own."""

    title: str
    below: tuple[str, ...] = ()


class Link(Struct, frozen=True):
    """A level of a chain. to: for each node the positions of those that it leads to in the next level."""

    title: str
    nodes: tuple[Node, ...]
    to: tuple[tuple[int, ...], ...] = ()


class Chain(Struct, frozen=True):
    """How one thing leads to the next, from left to right. name: in one sentence, for who cannot see it."""

    name: str
    links: tuple[Link, ...]


class Point(Struct, frozen=True):
    """y: None where it was not measured; 0 has a place of its own below a logarithmic scale. said: on hover."""

    x: float
    y: float | None
    said: str


class Series(Struct, frozen=True):
    name: str
    points: tuple[Point, ...]


class Curves(Struct, frozen=True):
    """Numbers over an axis. y is logarithmic where `log`, and then `zero` says what 0 means; x is, by log(1 + x), where
    `log_x`. bars: each number stands alone. mark: where something happened, and what."""

    name: str
    x: str
    y: str
    series: tuple[Series, ...]
    log: bool = True
    log_x: bool = False
    zero: str = ""
    bars: bool = False
    mark: tuple[float, str] | None = None


class Key(Struct, frozen=True):
    """What a character of a grid's cells means. tone: 0 is quiet, 1 and up are colours, -1 leaves the cell empty.
    calm: of a colour that may fill a whole picture."""

    character: str
    meaning: str
    tone: int
    calm: bool = False


class Band(Struct, frozen=True):
    """Rows of a grid that belong together. title: above them; columns: names of its columns, where they are its own."""

    title: str
    rows: tuple[tuple[str, str], ...]
    columns: tuple[str, ...] = ()


class Grid(Struct, frozen=True):
    """Rows of cells, one character each: (name, cells). every: what lies between two columns where they are numbers.

    mark: row (over all bands) and column of the cell where something happened, and what.
    """

    name: str
    x: str
    bands: tuple[Band, ...]
    keys: tuple[Key, ...]
    every: int = 1
    mark: tuple[int, int, str] | None = None


class Tiles(Struct, frozen=True):
    """Many small things, each agreeing or not: for each group a title and (name, character, said)."""

    name: str
    groups: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    keys: tuple[Key, ...]


class Matrix(Struct, frozen=True):
    """Every pair of `labels`: a share from 0 to 1, and what it is in words; None where nothing could be compared."""

    name: str
    labels: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]
    said: tuple[tuple[str, ...], ...]


Picture = Chain | Curves | Grid | Tiles | Matrix
