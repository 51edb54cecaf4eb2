"""Attribution, DESIGN section 8 steps 3 and 4: the components that explain every difference, and their root.

It reads the causal graph from the catalogue and knows nothing of its own about any fact. Components come from what
operators did, never from a variable's name: with all variables removed from both reports they are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import combinations

from audit.compare.results import Battery
from audit.compare.side import Measured
from reports.catalogue import Catalogue
from reports.catalogue import Row as FactRow
from reports.comparison import FactDifference
from reports.report import Operator, Row


@dataclass(frozen=True)
class Symptom:
    """One thing that differs and must be explained: an operator, or a row of a job.

    through: its own component first, then those it passes through.
    """

    name: str
    through: tuple[str, ...]
    threaded: bool = False
    control: bool = False
    wide: bool = False
    is_row: bool = False

    @staticmethod
    def of_operator(operator: Operator) -> Symptom:
        through = (operator.component, *operator.through)
        return Symptom(operator.name, through, operator.threaded, operator.control, operator.wide)

    @staticmethod
    def of_row(row: Row) -> Symptom:
        return Symptom(row.tensor, tuple(row.components), threaded=True, is_row=True)


@dataclass
class Explanation:
    """A root with what it explains. facts: from the root down; root is None where nothing that differs explains it."""

    root: str | None
    components: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    alternatives: list[str] = field(default_factory=list)


def components(symptoms: list[Symptom], agreeing: list[Operator], rounding: bool = True) -> list[str]:
    """The smallest set of components that explains every symptom.

    A component can explain what has it as its own component or passes through it, but only if an operator of its own
    differs: its agreeing operators speak for it. A row of a job overrides that: the battery has not all shapes.
    Ties go to the set with more differing operators of its own. rounding: whether the floating-point mode in effect
    differs; only then can it have moved everything.
    """
    direct = {one.through[0] for one in symptoms}
    if rounding and any(one.wide for one in symptoms):
        return ["fpu"]  # another rounding mode reaches every floating-point result
    weight = {name: sum(1 for one in symptoms if one.through[0] == name) for name in direct}
    spoken = {name: sum(1 for one in agreeing if one.component == name) for name in direct}
    for size in range(1, len(direct) + 1):
        sets = [
            chosen
            for chosen in combinations(sorted(direct), size)
            if all(set(one.through) & set(chosen) for one in symptoms)
        ]
        if sets:
            best = max(sets, key=lambda chosen: (sum(weight[name] for name in chosen), -sum(spoken[c] for c in chosen)))
            return sorted(best, key=lambda name: -weight[name])
    return []


def symptoms(battery: Battery, rows: list[Row]) -> list[Symptom]:
    """Everything that differs: operators, and rows with equal inputs and unequal outputs that no operator speaks for.

    A row of a component whose operators differ is the same symptom again; one of a component whose operators all agree
    is evidence of its own. Under flush-to-zero a row may pass through the floating-point mode.
    """
    found = [Symptom.of_operator(operator) for operator, _ in battery.differing]
    moved = {one.through[0] for one in found}
    for row in rows:
        one = Symptom.of_row(row)
        if not one.through:
            continue
        if "fpu" in moved and not moved & set(one.through):
            one = Symptom(one.name, (*one.through, "fpu"), one.threaded, is_row=True)
        found.append(one)
    return found


def explain(
    found: list[Symptom],
    chosen: list[str],
    differences: list[FactDifference],
    sides: list[Measured],
    catalogue: Catalogue,
) -> list[Explanation]:
    """The roots of the chosen components, the one that explains most first; root None for what nothing explains."""
    graph = _Graph(differences, sides, catalogue)
    candidates = {name: graph.roots(name, [one for one in found if name in one.through]) for name in chosen}
    explanations: list[Explanation] = []
    open_components = list(chosen)
    while open_components:
        counts: dict[str, int] = {}
        for name in open_components:
            for root in candidates[name]:
                counts[root] = counts.get(root, 0) + 1
        if not counts:
            break
        # The root that explains most components; among equals the most overriding one of the first component.
        ranked = [root for name in open_components for root in candidates[name]]
        best = max(counts, key=lambda root: (counts[root], -ranked.index(root)))
        explained = [name for name in open_components if best in candidates[name]]
        explanations.append(_explanation(best, explained, candidates, graph, found))
        open_components = [name for name in open_components if name not in explained]
    if open_components:
        explanations.append(
            Explanation(
                None, open_components, [], [one.name for one in found if set(one.through) & set(open_components)]
            )
        )
    return explanations


def _explanation(
    root: str, explained: list[str], candidates: dict[str, list[str]], graph: _Graph, found: list[Symptom]
) -> Explanation:
    operators = [one.name for one in found if not one.is_row and set(one.through) & set(explained)]
    others = {other for name in explained for other in candidates[name] if other != root}
    return Explanation(root, explained, graph.way(root, explained), operators, sorted(others))


class _Graph:
    """The differing part of the causal graph of one comparison."""

    def __init__(self, differences: list[FactDifference], sides: list[Measured], catalogue: Catalogue) -> None:
        self.differing = {one.fact: one for one in differences if one.kind in ("numeric", "performance")}
        self.sides = sides
        self.catalogue = catalogue

    def in_effect(self, component: str, symptoms: list[Symptom]) -> list[str]:
        """The differing facts of a component that can explain all of its symptoms: threads cannot move an operator
        that is too small for threads, and a SIMD path cannot move a control. Where one fact can explain all of them,
        those that can explain only a part are left out."""
        able = []
        for name, difference in self.differing.items():
            if component in difference.components and difference.kind == "numeric":
                row = self.catalogue.row(name)
                if row is None or (row.complete and None in difference.values):
                    continue  # what one side does not have cannot move what both sides computed
                if all(_can_explain(row, one) for one in symptoms):
                    able.append(name)
        return able

    def roots(self, component: str, symptoms: list[Symptom]) -> list[str]:
        """The highest differing facts above a component's facts in effect, the most overriding first."""
        found: list[str] = []
        for fact in self._by_distance(self.in_effect(component, symptoms)):
            for root in self._climb(fact, ()):
                if root not in found:
                    found.append(root)
        return found

    def _by_distance(self, facts: list[str]) -> list[str]:
        """Facts in effect before machine facts: what a process used is nearer to its bits than what there was."""
        return sorted(facts, key=lambda name: (not self.differing[name].works, name))

    def parents(self, fact: str) -> list[str]:
        found = []
        for edge in self.catalogue.deciders(fact):
            if edge.when and not any(edge.when.holds(side.fact(edge.when.fact)) for side in self.sides):
                continue
            found += [name for name in self._members(edge.fact) if name != fact]
        return found

    def _members(self, pattern: str) -> list[str]:
        if "*" not in pattern:
            return [pattern] if pattern in self.differing else []
        start = pattern.split("*")[0]
        return [name for name in self.differing if name.startswith(start)]

    def _climb(self, fact: str, seen: tuple[str, ...]) -> list[str]:
        if fact in seen:
            return []
        row = self.catalogue.row(fact)
        above = [] if row and row.root else self.parents(fact)
        if not above:
            return [fact]
        found: list[str] = []
        for parent in above:
            found += [root for root in self._climb(parent, (*seen, fact)) if root not in found]
        return found

    def way(self, root: str, components: list[str]) -> list[str]:
        """The differing facts from the root down to the components' facts in effect."""
        below = [
            name
            for name, one in self.differing.items()
            if set(one.components) & set(components)
            and not (self._is_family(name) and None in one.values)
            and (name == root or root in self._climb(name, ()))
        ]
        # What a person can read before digests, which say only that two files are not the same.
        below.sort(key=self._is_digest)
        # A root can have been decided in its turn: a thread count by a variable, or by how many CPUs there are.
        return [root, *self.parents(root), *(name for name in below if name != root)]

    def _is_family(self, fact: str) -> bool:
        row = self.catalogue.row(fact)
        return row is not None and row.complete

    def _is_digest(self, fact: str) -> bool:
        row = self.catalogue.row(fact)
        return row is not None and row.unit == "digest"


def _can_explain(row: FactRow, symptom: Symptom) -> bool:
    if row.operators and not set(row.operators) & set(re.findall("[a-z]+", symptom.name)):
        return False
    if row.explains == "threaded":
        return symptom.threaded
    return row.explains != "not-controls" or not symptom.control
