"""Why results part: the causes with their facts and settings, and what was ruled out."""

from __future__ import annotations

import re
from shlex import quote

from ...comparison import Cause, Comparison, Evidence, RuledOut
from . import program, sides
from .chain import PROOF, chain
from .compared import hazards
from .facts import known
from .groups import several, shown, who
from .page import Block, Code, Row, Section, section, sentence
from .words import below, component, count, listed, plain

FEW = 3
"""So many ruled-out components have a line each; more share one, except those that have something to tell."""


def blamed(causes: list[Cause]) -> str:
    """What the first line says of the causes."""
    known = [cause for cause in causes if cause.root is not None]
    if not known:
        parts = list(dict.fromkeys(name for cause in causes for name in cause.components))
        where = f"it shows in {listed(map(plain, parts))}; " if parts else ""
        return f"Cause unknown: {where}no differing fact explains it."
    unexplained = " Part of it is unexplained." if len(known) < len(causes) else ""
    statuses = {cause.status for cause in known}
    word = "proven" if statuses == {"proven"} else "likely"
    if len(known) > 1:
        roots = listed([f"{_short(cause.root)} ({listed(map(plain, cause.components))})" for cause in known], 3)
        return f"{len(known)} {word} causes: {roots}.{unexplained}"
    cause = known[0]
    title = cause.title.rstrip(".") or f"{_short(cause.root)} changes {listed(map(plain, cause.components))}"
    proof = {"suspected": ", not yet proven", "irreducible": "; no setting undoes it"}.get(cause.status, "")
    return f"{word.capitalize()} cause: {title}{proof}.{unexplained}"


def _short(root: str | None) -> str:
    """A root as a person names it: a package or variable without the facet in front."""
    return re.sub(r"^(?:variables|packages|system_packages)\.", "", root or "")


MOST = 3
"""So many causes are shown before a page is unfolded."""

MOST_FOLDED = 15
"""So many more there are to unfold."""


def causes(comparison: Comparison, all: bool, folds: bool) -> list[Section]:
    """A table a cause: its facts with the root marked, the setting to try, and what else could explain it. folds: as in
    `diff_page`; then of hundreds only the first are there, so that the page stays one that can be sent."""
    found = [one for one in shown(comparison, all) if one.evidence or one.facts]
    named = found[: MOST + MOST_FOLDED] if folds else found
    blocks = [
        _cause(comparison, cause, f"Cause {n}" if len(found) > 1 else "Cause") for n, cause in enumerate(named, 1)
    ]
    left_out = len(found) - len(named)
    more = sentence("", f"... {count(left_out, 'more cause')} (--format json)") if left_out else None
    return [
        section(
            *(block for one in blocks[:MOST] for block in one), program.elsewhere(comparison, shown(comparison, all))
        ),
        section(*(block for one in blocks[MOST:] for block in one), more, title="More causes", folded=True),
    ]


def _cause(comparison: Comparison, cause: Cause, label: str) -> list[Block | None]:
    evidence = cause.evidence or _bare_evidence(comparison, cause)
    owners = sides.names(comparison)
    if any(len(item.values) == len(cause.labels) for item in evidence):
        owners = cause.labels  # of many reports, this cause speaks of two
    rows = [_evidence(comparison, owners, item) for item in evidence]
    setting = listed([f"{name}={quote(value)}" for name, value in cause.settings.items()])
    where = f"on {cause.settings_on}: " if cause.settings_on else ""
    least = 0 if several(comparison) else 2  # of many groups the first one's details are worth less than the others
    less = f"{listed(cause.alternatives, 3)} (less likely)" if cause.alternatives else ""
    return [
        Block(
            label,
            tuple(rows),
            ("fact", *sides.columns(owners), "evidence"),
            least=least,
            weight=7,
            picture=chain(comparison, cause, owners, evidence),
        ),
        sentence("Setting", f"{where}{setting} ({PROOF[cause.status]})", weight=7, optional=not least)
        if setting
        else None,
        sentence("Or", less, weight=1, optional=True) if less else None,
    ]


def _bare_evidence(comparison: Comparison, cause: Cause) -> list[Evidence]:
    """The differing facts of a cause that brings no evidence of its own."""
    values = {difference.fact: difference.values for difference in comparison.environment.differences}
    return [Evidence(fact, values.get(fact, []), root=fact == cause.root) for fact in cause.facts]


def _evidence(comparison: Comparison, owners: list[str], item: Evidence) -> Row:
    """One fact; for lists what changed in them, which says more than two long lists."""
    lists = any(isinstance(value, list) for value in item.values)
    changes = [one.changes for one in comparison.environment.differences if one.fact == item.fact and lists]
    note = "; ".join(text for text in (listed(changes[0], 4) if changes else "", item.note) if text)
    mark = "(root)" if item.root else ""
    return Row((Code(item.fact), *sides.cells(owners, item.values), note), mark, known(item.fact))


def ruled_out(comparison: Comparison, all: bool) -> Section:
    """Components whose operators all agree, noise, other differences and hazards."""
    every = comparison.ruled_out
    apart = every if len(every) <= FEW else [item for item in every if item.differing_facts]
    texts = [_noise(comparison), *(_agreement(comparison, item) for item in apart)]
    silent = [item for item in every if item not in apart]
    if silent:
        texts.append(
            "all operators agree: " + ", ".join(f"{plain(item.component)} ({item.operators})" for item in silent)
        )
    rows = tuple(Row((text,)) for text in texts if text)
    return section(
        Block("Ruled out", rows, least=1 if several(comparison) else 2, weight=5) if rows else None,
        _other(comparison, all),
        hazards(comparison, least=0),
        *(sentence("Note", note, weight=3, optional=True) for note in comparison.notes),
    )


def _agreement(comparison: Comparison, item: RuledOut) -> str:
    """One ruled-out component: how many of its operators agree, and which of its facts differ all the same."""
    but = f" ({listed(item.differing_facts, 3)} had no effect)" if item.differing_facts else ""
    return f"{component(item.component)}: {_share(comparison, item)} operators agree{but}"


def _share(comparison: Comparison, item: RuledOut) -> str:
    counted = comparison.results.operators.by_component.get(item.component, [])
    return " of ".join(f"{n:,}" for n in counted[:2] or [item.operators] * 2)


def _noise(comparison: Comparison) -> str:
    """What is known of repeatability; nothing where a machine is known not to repeat itself."""
    if any(side.nondeterministic for side in comparison.reports):
        return ""
    once = [side.label for side in comparison.reports if side.runs == 1]
    if once:
        return f"noise is not ruled out: {who(once)} ran once, so repeatability was not measured"
    if any(side.runs == 0 for side in comparison.reports):
        return ""
    return f"noise: {'each' if len(comparison.reports) == 2 else 'every'} machine repeats itself"


def _other(comparison: Comparison, all: bool) -> Block | None:
    """How many differences are not among the causes."""
    named = {fact for cause in comparison.causes for fact in [cause.root, *cause.facts]}
    others = [item for item in comparison.environment.differences if item.fact not in named]
    blamed = {name for cause in comparison.causes if cause.root for name in cause.components}
    adding = sum(item.kind == "numeric" and bool(blamed.intersection(item.components)) for item in others)
    numeric = sum(item.kind == "numeric" for item in others) - adding
    never = len(others) - numeric - adding
    texts = []
    if adding:
        texts.append(f"{count(adding, 'more fact')} of the same components, which can add to it")
    if numeric and comparison.results.first_divergence and not any(cause.root for cause in comparison.causes):
        texts.append(f"{count(numeric, 'fact')} that can matter, of which none is shown to")
    elif numeric:
        texts.append(f"{count(numeric, 'fact')} that can matter but {'does' if numeric == 1 else 'do'} not here")
    if never:
        texts.append(f"{count(never, 'fact')} that never {'does' if never == 1 else 'do'}")
    if never and not numeric and not adding:
        texts = [f"{count(never, 'fact')} that cannot change results"]
    return sentence("Other", f"{'; '.join(texts)}{below(all)}", weight=2) if texts else None
