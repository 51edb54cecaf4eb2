"""The chain of one cause, to be drawn: operators, components, facts in effect, root, setting and proof."""

from __future__ import annotations

from ...comparison import Cause, Comparison, Evidence, OperatorDifference
from . import sides
from .picture import Chain, Link, Node
from .words import count, plain

MOST = 5
"""The most boxes of one level."""

PROOF = {
    "proven": "proven: with it identical, without it not",
    "suspected": "not yet tried",
    "irreducible": "not enough: no setting undoes this",
    "unknown": "not yet tried",
}
"""What is known of the setting, by a cause's status."""


def chain(comparison: Comparison, cause: Cause, owners: list[str], evidence: list[Evidence]) -> Chain:
    """The chain of a cause. owners: whose values the evidence has."""
    components = cause.components[:MOST]
    roots = [one for one in evidence if one.root]
    facts = [one for one in evidence if not one.root]
    touched = [_touches(comparison, one, components) for one in facts]
    order = {name: n for n, name in enumerate(components)}
    shown = [n for n, _ in enumerate(facts) if touched[n]][:MOST] or list(range(len(facts)))[:MOST]
    shown.sort(key=lambda n: min((order[name] for name in touched[n]), default=0))
    links = [
        _operators(comparison, cause, components),
        _level(
            "Component",
            [Node(plain(name), () if plain(name) == name else (name,)) for name in components],
            [[at for at, n in enumerate(shown) if component in touched[n]] or list(range(len(shown) or 1))
             for component in components],
        ),
        _level("Fact in effect", _facts(owners, [facts[n] for n in shown], len(facts) - len(shown))),
        _level("Root", [_fact(owners, one) for one in roots[:1]] or [_root(cause)]),
        *_settings(cause),
    ]  # fmt: skip
    there = [link for link in links if link.nodes]
    names = [f"{link.title}: {', '.join(node.title for node in link.nodes)}" for link in there]
    return Chain("; ".join(names), tuple(there))


def _level(title: str, nodes: list[Node], to: list[list[int]] | None = None) -> Link:
    """A level whose nodes lead to those that `to` says, or all to the first of the next."""
    return Link(title, tuple(nodes), tuple(tuple(one) for one in to or [[0]] * len(nodes)))


def _operators(comparison: Comparison, cause: Cause, components: list[str]) -> Link:
    """For each component how many of its operators differ, with the first call that did."""
    first = comparison.results.first_divergence
    differing = {one.operator: one for one in comparison.results.operators.differing}
    mine = [differing[name] for name in cause.operators if name in differing]
    nodes = []
    for name in components:
        own = [one for one in mine if one.components[:1] == [name]]
        here = first is not None and first.components[:1] == [name] and _about(cause, first.labels)
        what = first.operator if here and first is not None else ""
        told = _counted(comparison, name, own)
        below = tuple(part for part in ("first", told) if what and part)
        nodes.append(Node(what or told or "rows of the job", below))
    return _level("Operator", nodes, [[n] for n, _ in enumerate(nodes)])


def _about(cause: Cause, labels: list[str]) -> bool:
    return not labels or not cause.labels or labels == cause.labels


def _counted(comparison: Comparison, component: str, own: list[OperatorDifference]) -> str:
    """ "106 of 122 differ"; of several groups only how many, for these are counted together."""
    counted = comparison.results.operators.by_component.get(component, [])[:2]
    if not own:
        return ""
    if len(comparison.reports) == 2 and len(counted) == 2:
        return f"{counted[1] - counted[0]:,} of {counted[1]:,} differ"
    return f"{count(len(own), 'operator')} differ{'s' if len(own) == 1 else ''}"


def _touches(comparison: Comparison, item: Evidence, components: list[str]) -> set[str]:
    for one in comparison.environment.differences:
        if one.fact == item.fact:
            return set(one.components) & set(components)
    return set(components)


def _facts(owners: list[str], shown: list[Evidence], more: int) -> list[Node]:
    """more: how many have no box; the last one says it."""
    nodes = [_fact(owners, one) for one in shown]
    if more and nodes:
        nodes[-1] = Node(nodes[-1].title, (*nodes[-1].below, f"and {count(more, 'more fact')}"))
    return nodes


def _fact(owners: list[str], item: Evidence) -> Node:
    """A fact with both values, or how many there are."""
    values = sides.side_by_side(item.values) if len(item.values) == len(owners) else []
    if len(values) == 2:
        return Node(item.fact, (values[0], f"-> {values[1]}"))
    return Node(item.fact, (f"{len(set(values)):,} values",) if values else ())


def _root(cause: Cause) -> Node:
    return Node(cause.root) if cause.root is not None else Node("unknown", ("no differing fact explains it",))


def _settings(cause: Cause) -> list[Link]:
    """The settings, and what is known of them."""
    if not cause.settings:
        return []
    nodes = [Node(name, (value,)) for name, value in list(cause.settings.items())[:MOST]]
    first, _, below = PROOF[cause.status].partition(": ")
    proof = Node(first, (below,) if below else ())
    return [_level("Setting", nodes), _level("Proof", [proof])]
