"""The page of `audit explain`: what a name is, what decides it, what it decides and what pins it."""

from __future__ import annotations

from ...explained import Explanation, Named
from .page import Block, Code, Page, Row, Tone, page, section, sentence
from .words import count

KINDS = {
    "numeric": "numeric: it can change bits",
    "performance": "performance: it changes speed and no bits",
    "identity": "identity: it says which machine this is and changes no bits",
    "volatile": "volatile: it changes by itself",
}

_TITLES = {"rule": "RULE", "component": "COMPONENT"}


def explain_page(one: Explanation, all: bool = False) -> Page:
    """The page of an explanation. all: whatever decides it and whatever it decides."""
    first: tuple[Tone, str, str] = ("good", f"{_TITLES.get(one.what, 'FACT')} {one.name}.", one.meaning)
    return page(
        first,
        [
            section(_kind(one), _family(one), _severity(one)),
            section(_components(one), _operators(one)),
            section(_decided_by(one), _decides(one, all)),
            section(_settings(one), _choices(one)),
        ],
        "Nothing was measured: this stands in the catalogue",
        one.next,
    )


def _kind(one: Explanation) -> Block | None:
    if one.what not in KINDS:
        return None
    unit = f"; unit: {one.unit}" if one.unit else ""
    root = "; it can be a root" if one.root else ""
    return sentence("Kind", f"{KINDS[one.what]}{unit}{root}", weight=9)


def _family(one: Explanation) -> Block | None:
    return sentence("Family", f"{one.family}; * stands for its member", weight=7) if one.family else None


def _severity(one: Explanation) -> Block | None:
    return sentence("Severity", one.why, weight=8) if one.why else None


def _components(one: Explanation) -> Block:
    rows = tuple(Row((Code(named.name), named.meaning)) for named in one.components)
    return Block("Touches" if one.what in KINDS else "Effect", rows, weight=8)


def _operators(one: Explanation) -> Block | None:
    if not one.operators:
        return None
    number = f"; {count(one.how_many, 'operator')} in this version" if one.how_many is not None else ""
    return sentence("Operators", f"{', '.join(one.operators)}{number}", weight=7)


def _decided_by(one: Explanation) -> Block | None:
    """What decides it, each under what it decides, up to the roots."""
    if not one.decided_by:
        return sentence("Decided by", "nothing in the catalogue: it is its own root") if one.what in KINDS else None
    rows = tuple(Row((Code(_stepped(named)), _meaning(named))) for named in one.decided_by)
    label = "Decided by" if one.what in KINDS else "Facts"
    return Block(label, rows, header=("fact", "what it is"), least=2, weight=3)


def _stepped(named: Named) -> str:
    return "> " * named.depth + named.name


def _meaning(named: Named) -> str:
    root = "(root) " if named.root else ""
    return f"{root}{named.meaning}" + (f" Only where {named.when}." if named.when else "")


def _decides(one: Explanation, all: bool) -> Block | None:
    if not one.decides:
        return None
    most = len(one.decides) if all else 8
    left = len(one.decides) - most
    more = f" and {left} more (--all)" if left > 0 else ""
    return sentence("Decides", ", ".join(one.decides[:most]) + more, weight=6)


def _settings(one: Explanation) -> Block:
    rows = [Row((Code(pin.name), f"{pin.how} that pins {pin.fact}; {pin.source}")) for pin in one.settings]
    return Block("Settings", tuple(rows), least=min(2, len(rows)), weight=6)


def _choices(one: Explanation) -> Block:
    rows = tuple(Row((name, text)) for name, text in one.choices.items())
    return Block("Choose", rows, least=len(rows), weight=8)
