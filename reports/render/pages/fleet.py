"""The page of a fleet: which nodes give other bits than their class, why, what was ruled out, who is missing, and which
nodes agree."""

from __future__ import annotations

from collections.abc import Sequence

from ...comparison import Cause
from ...fleet import Finding, Fleet, NodeClass, Outlier, Part
from ..escape import cut
from .causes import blamed
from .groups import place, who
from .page import Block, Code, Page, Row, Section, Tone, page, section, sentence
from .words import count, joined, listed, value

ANSWER = 300
"""The most characters of the first line, whatever labels and values hold."""

FEW = 2
"""Of so many kinds of odd nodes the details are shown without --all."""

_LINE = 85
"""A line for Slurm that is longer is not shown in part: somebody would copy it."""

_SIDES = 3
"""So many results of a class without a majority are shown without --all."""

_FACTS, _MOST_FACTS = 3, 20
"""So many facts that only an odd node has are shown without and with --all; JSON has every one."""

_VALUE = 28

_PARTS: dict[Part, str] = {
    "machine": "architecture",
    "cpu": "CPU",
    "gpu": "GPU",
    "driver": "driver",
    "image": "image",
}

_FINDINGS = {
    "failed": "Failed",
    "missing": "Missing",
    "unusable": "Unusable",
    "incomplete": "Incomplete",
    "late": "Late",
    "stale": "Stale",
    "undecided": "Undecided",
    "alone": "Alone",
    "unexpected": "Unexpected",
    "clock": "Clock",
}
"""Labels, in the order of the page."""

_Odd = tuple[NodeClass, Outlier]


def fleet_page(found: Fleet, all: bool = False) -> Page:
    """The page of `audit fleet`. all: every node of every list, every fact, every class."""
    odd = [(one, outlier) for one in found.classes for outlier in one.outliers]
    tone, verdict, answer = _first(found, odd)
    return page(
        (tone, verdict, cut(answer, ANSWER)),
        [
            _odd_nodes(odd, all),
            _cause(odd, all),
            _ruled_out(odd),
            _findings(found, all),
            _classes(found, all),
            _agreeing(found, all),
        ],
        _exit(found),
        f"Next, {found.next}" if found.next.startswith("on ") else f"Next:  {found.next}",
        f"{count(found.reported, 'node')} in {count(len(found.classes), 'class', 'classes')}",
    )


# The first line


def _first(found: Fleet, odd: Sequence[_Odd]) -> tuple[Tone, str, str]:
    absent = _absent(found)
    if odd:
        labels = [label for _, outlier in odd for label in outlier.labels]
        many = "ONE ODD NODE" if len(labels) == 1 else f"{len(labels):,} ODD NODES"
        return "bad", f"{many} IN {found.reported:,}.", f"{_named(odd, labels)}{absent}"
    if found.verdict == "undecided":
        labels = [label for one in found.findings if one.kind == "undecided" for label in one.labels]
        few = joined(labels) if len(labels) < 4 else f"{who(labels)} ({count(len(labels), 'node')})"
        return "bad", "UNDECIDED.", f"{few} disagree, and no result has a majority, so nobody is named.{absent}"
    if found.verdict == "not-comparable":
        why = "Only one node reported" if found.reported == 1 else "No two nodes have results"
        return "unsure", "NOT COMPARABLE.", f"{why}, so there is nothing to hold them against.{absent}"
    agree = _all_agree(found)
    if found.verdict == "incomplete":
        return "unsure", "INCOMPLETE.", f"No odd node in {found.reported:,}: {agree}{absent}"
    return "good", f"NO ODD NODE IN {found.reported:,}.", f"{agree[0].upper()}{agree[1:]}"


def _named(odd: Sequence[_Odd], labels: Sequence[str]) -> str:
    """Who gives other bits than whom, and why."""
    causes = [cause for _, outlier in odd for cause in outlier.causes]
    why = blamed(causes) if len(odd) == 1 else _several(odd)
    if len(odd) > 1:
        return f"{who(labels)} give other bits than their class. {why}"
    one, outlier = odd[0]
    single = len(labels) == 1
    if outlier.verdict == "nondeterministic":
        return f"{who(labels)} {'does' if single else 'do'} not repeat {'itself' if single else 'themselves'}."
    if outlier.verdict == "not confirmed":
        again = f"and not again in {count(outlier.rounds, 'round')}"
        return f"{who(labels)} gave other bits than {_others(one, outlier)} once, {again}: suspect the hardware."
    return f"{who(labels)} give{'s' if single else ''} other bits than {_others(one, outlier)}. {why}"


def _others(one: NodeClass, outlier: Outlier) -> str:
    nodes = count(len(one.reference), "node")
    return f"the {nodes} nearest to it" if outlier.differs else f"the {len(one.reference):,} of its class"


def _several(odd: Sequence[_Odd]) -> str:
    """ "Likely causes: the CPU (8 nodes), unknown (2 nodes)." """
    nodes: dict[str, int] = {}
    for _, outlier in odd:
        name = _why(outlier)
        nodes[name] = nodes.get(name, 0) + len(outlier.labels)
    texts = [f"{name} ({count(nodes[name], 'node')})" for name in sorted(nodes, key=lambda name: -nodes[name])]
    return f"Why: {listed(texts, 3)}."


def _why(outlier: Outlier) -> str:
    if outlier.verdict == "nondeterministic":
        return "does not repeat itself"
    roots = [cause.title.split(" (")[0] or cause.root for cause in outlier.causes if cause.root]
    return joined(dict.fromkeys(roots)) or "cause unknown"


def _all_agree(found: Fleet) -> str:
    if len(found.agreeing) == 1 and len(found.agreeing[0].labels) == found.reported:
        return f"all {found.reported:,} nodes give the same bits."
    within = "each agrees in itself" if len(found.classes) > 1 else "it agrees in itself"
    results = count(len(found.agreeing), "result")
    return f"{count(len(found.classes), 'class', 'classes')}, {within}; {results} among them."


def _absent(found: Fleet) -> str:
    """ " 3 of 500 nodes did not report." or ""."""
    labels = [label for one in found.findings if one.kind in ("missing", "failed", "unusable") for label in one.labels]
    if not labels:
        return ""
    of = f" of {found.expected:,}" if found.expected else ""
    return f" {len(labels):,}{of} did not report: {who(labels)}."


# The sections


def _odd_nodes(odd: Sequence[_Odd], all: bool) -> Section:
    """Who is odd, why, and whether that came again; of a few also where they part and what only they have."""
    if not all and len(odd) > FEW:
        alike: dict[str, list[str]] = {}
        for _, outlier in odd:
            alike.setdefault(_told(outlier), []).extend(outlier.labels)
        ranked = sorted(alike.items(), key=lambda item: -len(item[1]))
        return section(Block("Odd", tuple(Row((f"{who(labels)}: {told}",)) for told, labels in ranked), weight=8))
    rows = []
    for one, outlier in odd:
        rows.append(Row((f"{who(outlier.labels, all)}: {_told(outlier)}",)))
        rows += [Row((text,), below=True) for text in _more(one, outlier, all)]
    return section(Block("Odd", tuple(rows), least=3, weight=8))


def _told(outlier: Outlier) -> str:
    """Why, and the verdict of the re-tests."""
    rounds = count(outlier.rounds, "re-test")
    if outlier.verdict == "nondeterministic":
        return f"does not repeat {listed(outlier.unsteady, 3)}" + (f" (in {rounds})" if outlier.rounds else "")
    if outlier.verdict == "not confirmed":
        return f"not confirmed: it did not come again in {rounds}; silent data corruption is possible"
    again = f"confirmed in {rounds}" if outlier.verdict == "confirmed" else "not re-tested"
    half = f" (as its class on half of the CPUs, round {listed(map(str, outlier.half))})" if outlier.half else ""
    return f"{_why(outlier)}; {again}{half}"


def _more(one: NodeClass, outlier: Outlier, all: bool) -> list[str]:
    """Why a node is held against this class, where it parts from it, and what only it has."""
    parts = joined(_PARTS[part] for part in outlier.differs)
    kind = "alone of its kind" if len(outlier.labels) == 1 else "too few of their kind"
    first = f"first at {place(outlier.first_divergence)}" if outlier.first_divergence else ""
    facts = [f"{name} {cut(value(only), _VALUE)}" for name, only in outlier.only.items()]
    only = f"only here: {listed(facts, _MOST_FACTS if all else _FACTS)}" if facts else ""
    if outlier.causes and not facts and outlier.verdict in ("confirmed", "not re-tested"):
        only = "nothing is only here: if it comes again, suspect the hardware"
    apart = f"{kind} (another {parts}), so held against {one.name}" if parts else ""
    return [text for text in (first, apart, only) if text]


def _cause(odd: Sequence[_Odd], all: bool) -> Section:
    """Why, in words and with the evidence, of a few kinds of odd nodes."""
    shown = [cause for _, outlier in odd for cause in outlier.causes] if all or len(odd) <= FEW else []
    rows = tuple(Row((cause.plain,)) for cause in shown if cause.plain)
    return section(Block("In words", rows, least=0, weight=5) if rows else None, *(_evidence(cause) for cause in shown))


def _evidence(cause: Cause) -> Block | None:
    rows = [
        Row(
            (Code(item.fact), *(Code(cut(value(one), _VALUE)) for one in item.values), item.note),
            "(root)" if item.root else "",
        )
        for item in cause.evidence
        if len(item.values) == len(cause.labels)
    ]
    return Block("Cause", tuple(rows), ("fact", *cause.labels, "evidence"), least=3, weight=6) if rows else None


def _ruled_out(odd: Sequence[_Odd]) -> Section:
    """What agrees between the first odd nodes' class and all of its odd nodes."""
    found = [one.ruled_out for one, _ in odd[:1] if one.ruled_out]
    return section(*(sentence("Ruled out", f"all operators agree: {', '.join(names)}", weight=5) for names in found))


def _findings(found: Fleet, all: bool) -> Section:
    blocks = []
    for kind, label in _FINDINGS.items():
        rows = [Row((_said(found, one, all),)) for one in found.findings if one.kind == kind]
        blocks.append(Block(label, tuple(rows), weight=7))
    return section(*blocks)


def _said(found: Fleet, one: Finding, all: bool) -> str:
    members = set(one.labels)
    sides = [of for of in found.classes if members <= set(of.labels)] if one.kind == "undecided" else []
    if not sides:
        labels = who(one.labels, all)
    else:
        shown = sides[0].groups if all else sides[0].groups[:_SIDES]
        rest = len(sides[0].groups) - len(shown)
        labels = " against ".join(who(group, all) for group in shown)
        labels += f" and {count(rest, 'other result')}" if rest else ""
    return f"{labels}: {one.reason}" if one.reason else labels


def _classes(found: Fleet, all: bool) -> Section:
    """How many nodes each class has, with those that are held against it, and how many of them agree."""
    rows = []
    for one in found.classes:
        counts = [len(one.labels), len(one.reference), sum(len(odd.labels) for odd in one.outliers)]
        rows.append(Row((one.name, *(f"{n:,}" if n else "-" for n in counts), who(one.labels, all))))
    if len(rows) == 1:
        one = found.classes[0]
        return section(sentence("Class", f"{count(len(one.labels), 'node')}, {one.name}: {who(one.labels, all)}"))
    header = ("class", "nodes", "agree", "odd", "which")
    return section(Block("Classes", tuple(rows), header, least=2, weight=3))


def _agreeing(found: Fleet, all: bool) -> Section:
    """The largest sets of nodes that gave the same bits, and the lines that keep a job on them."""
    rows = [Row((f"{count(len(one.labels), 'node')}: {who(one.labels, all)}",)) for one in found.agreeing]
    lines = [line for line in found.slurm if all or len(line) <= _LINE]
    lines += [f"{line.split('=')[0]}=... (--all)" for line in found.slurm if line not in lines]
    return section(
        Block("Same bits", tuple(rows), least=1, weight=4),
        Block("Slurm", tuple(Row((Code(line),)) for line in lines), least=1, weight=2),
        *(sentence("Note", note, weight=1, optional=True) for note in found.notes),
    )


def _exit(found: Fleet) -> str:
    words = {
        "agree": "every node agrees with its class",
        "outliers": "nodes give other bits than their class",
        "undecided": "nodes of one class disagree",
        "incomplete": "not every node could be held against its class",
        "not-comparable": "nothing could be compared",
    }
    return f"Exit {found.exit} ({words[found.verdict]})"
