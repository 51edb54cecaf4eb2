"""What a picture shows, before it is drawn: only what was measured, with the words of its hover texts and legend.

`course`, `maps` and `chain` make pictures of comparisons; `plot` draws them. Texts are raw, as in a page.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A box of a chain: a first line, and what stands below it, each from a line of its own."""

    title: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A level of a chain. to: for each node the positions of those that it leads to in the next level."""

    title: str
    nodes: tuple[Node, ...]
    to: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Chain:
    """How one thing leads to the next, from left to right. name: in one sentence, for who cannot see it."""

    name: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Point:
    """y: None where it was not measured; 0 has a place of its own below a logarithmic scale. said: on hover."""

    x: float
    y: float | None
    said: str


@dataclass(frozen=True)
class Series:
    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
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


@dataclass(frozen=True)
class Key:
    """What a character of a grid's cells means. tone: 0 is quiet, 1 and up are colours, -1 leaves the cell empty.
    calm: of a colour that may fill a whole picture."""

    character: str
    meaning: str
    tone: int
    calm: bool = False


@dataclass(frozen=True)
class Band:
    """Rows of a grid that belong together. title: above them; columns: names of its columns, where they are its own."""

    title: str
    rows: tuple[tuple[str, str], ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Rows of cells, one character each: (name, cells). every: what lies between two columns where they are numbers.

    mark: row (over all bands) and column of the cell where something happened, and what.
    """

    name: str
    x: str
    bands: tuple[Band, ...]
    keys: tuple[Key, ...]
    every: int = 1
    mark: tuple[int, int, str] | None = None


@dataclass(frozen=True)
class Tiles:
    """Many small things, each agreeing or not: for each group a title and (name, character, said)."""

    name: str
    groups: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Matrix:
    """Every pair of `labels`: a share from 0 to 1, and what it is in words; None where nothing could be compared."""

    name: str
    labels: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]
    said: tuple[tuple[str, ...], ...]


Picture = Chain | Curves | Grid | Tiles | Matrix
