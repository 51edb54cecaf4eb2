"""What is held against what is there now: facts, operators and jobs that are no longer the same, and their roots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from audit.causes import attribute
from audit.causes.attribute import Explanation, Symptom
from audit.compare import results
from audit.compare.side import Measured
from audit.compare.size import measure
from audit.policy import hold, tolerance
from audit.policy.baseline import Baseline
from audit.policy.hold import Held
from audit.policy.policy import Policy
from reports.catalogue import Catalogue
from reports.comparison import FactDifference, FirstDivergence, Size
from reports.report import Fact, Facts, Operator, Value

_IN_IMAGE = frozenset(("blas", "image", "lapack", "libc", "libm", "libraries", "numpy", "os", "packages", "python"))
"""Facets that come with an image: where it is another one, it is their root. Variables and limits are given to it."""


@dataclass(frozen=True)
class Asked:
    """What a check was asked to compare; what it was not asked for is said, and is no gap. jobs: by name."""

    operators: bool = True
    jobs: frozenset[str] = frozenset()


@dataclass
class Compared:
    """One target against its class of the baseline.

    of: the class, the nearest where `known` is false. changes: values are [held, now]; roots: by changed fact. missing:
    what is held and cannot be compared, with the reason. held: facts compared, of how many; held_operators alike.
    tolerated, untested: operators within the policy's tolerance; those whose tolerance the baseline has no values for.
    jobs: those with another result. died: whether something of the target ended before it had given what it was asked.
    """

    of: str
    known: bool
    changes: dict[str, FactDifference] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    held: list[int] = field(default_factory=lambda: [0, 0])
    held_operators: list[int] = field(default_factory=lambda: [0, 0])
    agreeing: list[Operator] = field(default_factory=list)
    differing: list[Operator] = field(default_factory=list)
    sizes: dict[str, Size] = field(default_factory=dict)
    tolerated: list[str] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    jobs_same: list[str] = field(default_factory=list)
    first: FirstDivergence | None = None
    explanations: list[Explanation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    died: bool = False

    @property
    def anything(self) -> bool:
        """Whether anything at all was compared."""
        return bool(self.held[0] or self.held_operators[0] or self.jobs or self.jobs_same)

    def under(self, roots: Iterable[str]) -> list[str]:
        """The changed facts below these roots, the roots themselves first."""
        wanted = dict.fromkeys(roots)
        below = [name for name in self.changes if self.roots[name] in wanted and name not in wanted]
        return [*(name for name in wanted if name in self.changes), *below]

    def count(self, component: str) -> list[int]:
        """Of a component's operators: [differing, compared]."""
        other = sum(one.component == component for one in self.differing)
        return [other, other + sum(one.component == component for one in self.agreeing)]


def compare(baseline: Baseline, now: Measured, policy: Policy, rows: Catalogue, asked: Asked) -> Compared:
    """Compare one target with the class of the baseline that is its own, or nearest."""
    facts = hold.in_effect(now)
    name, unequal, alone = _class(baseline, facts)
    found = Compared(name, not unequal, died=bool(now.target.incomplete))
    held = baseline.classes[name]
    _facts(found, held, facts, now, policy, rows, alone)
    for one in unequal:
        _change(found, one, held.known_by[one], facts[one].value, rows)
    if asked.operators:
        _operators(found, held, baseline.whole, now, policy)
    _jobs(found, held, baseline.whole, now, policy, asked)
    found.roots = _roots(found, facts, rows)
    _explain(found, now, rows)
    return found


def _class(baseline: Baseline, facts: Facts) -> tuple[str, list[str], bool]:
    """The class that this target is of, or the nearest one; what it is known by and is not so; and whether it is the
    only one that it can be. What cannot be read now tells no class from another."""

    def unequal(held: Held) -> list[str]:
        return [name for name, value in held.known_by.items() if _value(facts, name) not in (value, None)]

    by_likeness = sorted(
        baseline.classes, key=lambda name: ("cpu.machine" in (not_so := unequal(baseline.classes[name])), len(not_so))
    )
    nearest = by_likeness[0]
    differing = unequal(baseline.classes[nearest])
    alone = len(baseline.classes) == 1 or all(unequal(baseline.classes[name]) for name in by_likeness[1:])
    return nearest, differing, alone


def _value(facts: Facts, name: str) -> Value:
    return facts[name].value if name in facts and facts[name].status is None else None


# Facts


def _facts(
    found: Compared,
    held: Held,
    facts: Facts,
    now: Measured,
    policy: Policy,
    rows: Catalogue,
    alone: bool,
) -> None:
    machine = {known.partition(".")[0] for known in now.target.facts}
    for name, before in held.facts.items():
        row = rows.row(name)
        if row is None or row.kind == "volatile" or (not alone and hold.of_class(name, rows)):
            continue
        if not now.operators and name not in facts and name.partition(".")[0] not in machine:
            continue  # of what only a computation loads, and none was asked for
        found.held[1] += 1
        value, why = _now(name, facts, now, rows)
        if why:
            found.missing[name] = why
            continue
        found.held[0] += 1
        if not _same(before, value) and not tolerance.of_fact(before, value, policy.tolerance_of_fact(name)):
            _change(found, name, before, value, rows)
    also = policy.also_held
    for name, fact in facts.items():
        row = rows.row(name)
        if row is None or fact.status is not None or fact.value is None or name in held.facts:
            continue
        if row.complete and hold.is_held(name, row.kind, also) and _family_is_held(name, held):
            _change(found, name, None, fact.value, rows)


def _family_is_held(name: str, held: Held) -> bool:
    facet = name.partition(".")[0] + "."
    return any(other.startswith(facet) for other in held.facts)


def _now(name: str, facts: Facts, now: Measured, rows: Catalogue) -> tuple[Value, str]:
    """A held fact's value now, or why there is none. What a family that is listed whole does not have is gone: None."""
    fact = facts.get(name, Fact(status="absent", reason="it was not captured"))
    row = rows.row(name)
    if name in now.target.unsteady:
        return None, "not the same in this target's own runs"
    if name not in facts and row and row.complete:
        count = facts.get(name.partition(".")[0] + ".count")
        if count is not None and count.status is None:
            return None, ""
        if any(other.startswith(name.partition(".")[0] + ".") for other in facts) and count is None:
            return None, ""
    if fact.status is not None:
        return None, f"{fact.status} ({fact.reason})" if fact.reason else fact.status
    return fact.value, ""


def _same(a: object, b: object) -> bool:
    return a == b and type(a) is type(b)


def _change(found: Compared, name: str, before: Value, value: Value, rows: Catalogue) -> None:
    row = rows.row(name)
    if row:
        works = [] if row.root or not row.components else ["operators"]
        found.changes[name] = FactDifference(
            name, row.kind, list(row.components), [before, value], works=works, meaning=row.meaning
        )


# Results


def _operators(found: Compared, held: Held, whole: Measured | None, now: Measured, policy: Policy) -> None:
    """The held operators by their digests, and where the baseline is a whole report by how far they are apart."""
    mine = {hold.key(one.name, one.version): one for one in now.operators.values()}
    digests = hold.operators(now)
    found.held_operators[1] = len(held.operators)
    for key, before in held.operators.items():
        one = mine.get(key)
        if one is None or key not in digests:
            if one is not None and one.repeats:
                found.unstable.append(key)
            found.missing[f"operator {key}"] = _why(key, one, now)
            continue
        found.held_operators[0] += 1
        if digests[key].startswith(before):
            found.agreeing.append(one)
            continue
        limit = policy.tolerance(one.name, one.component)
        there = whole.operators.get(one.name) if whole else None
        if there and there.result and one.result:
            size = measure(there.result, one.result)
            if limit and tolerance.within(size, there.result, one.result, limit):
                found.tolerated.append(key)
                continue
            found.sizes[one.name] = size
        elif limit and limit != tolerance.BITS:
            found.untested.append(key)
        found.differing.append(one)
    _combined(found, held, now, digests)


def _combined(found: Compared, held: Held, now: Measured, digests: dict[str, str]) -> None:
    """Short digests that agree where the component's whole one does not: one of them is equal by chance or by hand."""
    if set(digests) != set(held.operators) or found.differing or found.tolerated:
        return
    for component, digest in hold.combined(now, digests).items():
        if held.results.get(component, digest) != digest:
            found.missing[f"results.{component}"] = "its digest is not that of its operators; the baseline was edited"


def _why(key: str, one: Operator | None, now: Measured) -> str:
    if one is not None and one.repeats:
        return "this target does not repeat it"
    if one is not None:
        return f"{one.status} ({one.reason})" if one.status else "it has no result"
    name = key.partition("@")[0]
    if name in now.operators:
        return f"this audit has version {now.operators[name].version} of it, another computation"
    if now.target.battery is None or not now.operators:
        return "the operators were not run"
    absent = now.target.battery.absent.get(name.partition(".")[0])
    return absent or "this target does not have it"


def _jobs(found: Compared, held: Held, whole: Measured | None, now: Measured, policy: Policy, asked: Asked) -> None:
    ran, here = hold.jobs(now), now.outline.jobs
    for name, before in held.results.items():
        if not name.startswith("job "):
            continue
        plain = name.removeprefix("job ")
        if plain in here and name not in ran:
            found.unstable.append(name)
        elif name not in ran:
            if plain in asked.jobs:
                found.missing[name] = now.outline.unfinished.get(plain, "it was not run")
            else:
                found.notes.append(f"{name} is held and was not run: --job {plain}")
        elif ran[name] == before:
            found.jobs_same.append(plain)
        elif ran[name].split(" ")[:2] != before.split(" ")[:2]:
            found.missing[name] = "not the same job; this audit's is another version"
        elif not _tolerated_job(found, plain, whole, now, policy):
            found.jobs.append(plain)


def _tolerated_job(found: Compared, name: str, whole: Measured | None, now: Measured, policy: Policy) -> bool:
    """Whether a job parts within the tolerance, where the baseline has its values; where it parts is kept if not."""
    if whole is None or name not in whole.jobs:
        return False
    first = results.job(name, whole, now).result.first_divergence
    limits = [policy.tolerance(first.operator, one) for one in first.components] if first else []
    if first and limits and all(limit and tolerance.of_size(first.size, limit) for limit in limits):
        found.tolerated.append(f"job {name}")
        return True
    found.first = found.first or first
    return False


# Roots


def _roots(found: Compared, facts: Facts, rows: Catalogue) -> dict[str, str]:
    """The highest changed fact above each changed one, the most overriding first; the image, where that is another."""
    image = next((name for name in hold.FOLDED_BY if name in found.changes), "")

    def above(name: str) -> list[str]:
        names: list[str] = []
        for edge in rows.deciders(name):
            if edge.when and not edge.when.holds(_value(facts, edge.when.fact)):
                continue
            start, star, end = edge.fact.partition("*")
            fits = [one for one in found.changes if one.startswith(start) and one.endswith(end)]
            names += [one for one in (fits if star else [edge.fact]) if one in found.changes and one != name]
        return names

    def climb(name: str, seen: tuple[str, ...]) -> str:
        parents = [one for one in above(name) if one not in seen]
        return climb(parents[0], (*seen, name)) if parents else name

    def root(name: str) -> str:
        highest = climb(name, (name,))
        return image if image and highest.partition(".")[0].removeprefix("system_") in _IN_IMAGE else highest

    return {name: root(name) for name in found.changes}


def _explain(found: Compared, now: Measured, rows: Catalogue) -> None:
    """Why operators give other bits: as `audit diff` attributes them, with roots followed as far up as they go."""
    symptoms = [Symptom.of_operator(one) for one in found.differing]
    rounding = any("fpu" in one.components and one.kind == "numeric" for one in found.changes.values())
    chosen = attribute.components(symptoms, found.agreeing, rounding)
    explained = attribute.explain(symptoms, chosen, list(found.changes.values()), [now], rows)
    merged: dict[str | None, Explanation] = {}
    for one in explained:
        root = found.roots.get(one.root, one.root) if one.root else None
        known = merged.setdefault(root, Explanation(root))
        known.components += one.components
        known.facts += [name for name in one.facts if name not in known.facts]
        known.operators += [name for name in one.operators if name not in known.operators]
    found.explanations = list(merged.values())
