"""Who has which result: every operator on two sides or in several groups, and how much each two groups agree.

Each section says it in bars of text, and has a picture for formats that can draw.
"""

from __future__ import annotations

from ...comparison import Comparison
from ...programs import called
from . import sparks, words
from .groups import who
from .page import Block, Row, Section, section
from .picture import Band, Grid, Key, Matrix, Tiles
from .words import component, count, percent

MOST = 2000
"""The most operators of one component, and the most groups, whatever a file holds."""

MOST_GROUPS = 36

NONE = "-"
"""The character of `Results.by_group` for what was not measured, or is not repeated."""


def maps(comparison: Comparison) -> list[Section]:
    """The map of operators, and of more than two groups the matrix of agreement."""
    found = {name: dict(list(those.items())[:MOST]) for name, those in comparison.results.by_group.items() if those}
    if not found.keys() - {"job"}:
        return []  # what became of jobs is said elsewhere
    groups = min(MOST_GROUPS, max((len(text) for those in found.values() for text in those.values()), default=0))
    if not groups:
        return []
    if groups <= 2:
        return [_tiles(comparison, found)]
    names = [_group(comparison, n) for n in range(groups)]
    return [_matrix(names, found), _by_group(names, found)]


def _group(comparison: Comparison, number: int) -> str:
    labels = comparison.groups[number].labels if number < len(comparison.groups) else []
    many = f"{len(labels):,}: " if len(labels) > 1 else ""
    return f"{many}{who(labels)}" if labels else f"group {number + 1}"


def _named(name: str) -> str:
    return "whole jobs" if name == "job" else component(name)


def _tiles(comparison: Comparison, found: dict[str, dict[str, str]]) -> Section:
    """Every operator of one group or two, agreeing or not."""
    sizes = {one.operator: words.size(one.size) for one in comparison.results.operators.differing}
    rows, groups = [], []
    for name, those in found.items():
        kinds = {operator: _kind(text) for operator, text in those.items()}
        differing = sum(kind == "x" for kind in kinds.values())
        compared = sum(kind != NONE for kind in kinds.values())
        told = f"{differing:,} of {compared:,} differ" if differing else f"{compared:,} agree" if compared else "none"
        rows.append(Row((_named(name), sparks.bar(differing / compared) if compared else "", told)))
        tiles = tuple(
            (one, kind, f"{called(one) if name == 'job' else one}: {_said(kind, sizes.get(one, ''))}")
            for one, kind in kinds.items()
        )
        groups.append((f"{_named(name)}: {told}", tiles))
    total = sum(len(those) for name, those in found.items() if name != "job")
    return section(
        Block(
            "",
            tuple(rows),
            ("component", "share that differs", "operators"),
            picture=Tiles(
                f"{count(total, 'operator')} and the jobs, a tile each, by the component that decides them",
                tuple(groups),
                (Key("=", "the same bits", 0), Key("x", "other bits", 1), Key(NONE, "not compared", -1)),
            ),
        ),
        title="Operators, by what decides them",
    )


def _kind(text: str) -> str:
    letters = text[:2]
    return NONE if NONE in letters or not letters else "=" if len(set(letters)) == 1 else "x"


def _said(kind: str, size: str) -> str:
    return {"=": "the same bits", "x": f"other bits{f'; {size}' if size else ''}"}.get(kind, "not compared")


def _by_group(names: list[str], found: dict[str, dict[str, str]]) -> Section:
    """Every operator in every group, by result."""
    letters = sorted({letter for those in found.values() for text in those.values() for letter in text[: len(names)]})
    results = [letter for letter in letters if letter != NONE][:MOST_GROUPS]
    keys = [Key(letter, f"result {n}" if n > 1 else "as the first group", n - 1) for n, letter in enumerate(results, 1)]
    rows, bands = [], []
    for name, those in found.items():
        columns = tuple(those)
        cells = ["".join(those[one][n : n + 1] or NONE for one in columns) for n in range(len(names))]
        differing = sum(len(set(text) - {NONE}) > 1 for text in those.values())
        rows.append(Row((_named(name), sparks.bar(differing / len(those)), f"{differing:,} of {len(those):,}")))
        bands.append(Band(_named(name), tuple(zip(names, cells, strict=True)), columns))
    return section(
        Block(
            "",
            tuple(rows),
            ("component", "share that is not the same everywhere", "operators"),
            picture=Grid(
                "Every operator (across) in every group (downwards), coloured by which result it gave there",
                x="",
                bands=tuple(bands),
                keys=(*keys, Key(NONE, "not measured or not repeated", -1)),
            ),
        ),
        title="Operators in every group, by result",
    )


def _matrix(names: list[str], found: dict[str, dict[str, str]]) -> Section:
    """How many results each two groups share."""
    texts = [text.ljust(len(names), NONE) for those in found.values() for text in those.values()]
    shares: list[tuple[float | None, ...]] = []
    said: list[tuple[str, ...]] = []
    for one in range(len(names)):
        both = [[(text[one], text[other]) for text in texts if NONE not in (text[one], text[other])]
                for other in range(len(names))]  # fmt: skip
        equal = [sum(x == y for x, y in pairs) for pairs in both]
        shares.append(tuple(n / len(pairs) if pairs else None for n, pairs in zip(equal, both, strict=True)))
        said.append(
            tuple(
                f"{names[one]} and {names[other]}: {n:,} of {count(len(pairs), 'result')} equal"
                for other, (n, pairs) in enumerate(zip(equal, both, strict=True))
            )
        )
    rows = tuple(
        Row((name, _share(shares[n][0]), sparks.bar(shares[n][0] or 0.0))) for n, name in enumerate(names) if n
    )
    return section(
        Block(
            "",
            rows,
            ("group", "results equal to the first group's", ""),
            picture=Matrix("How many results each two groups share", tuple(names), tuple(shares), tuple(said)),
        ),
        title="Who agrees with whom",
    )


def _share(share: float | None) -> str:
    return "nothing compared" if share is None else percent(share)
