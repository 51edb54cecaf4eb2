"""What a policy makes of a comparison with a baseline: findings folded by root, most severe first.

One thing that was done to a machine is one finding, however many facts it moved.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from audit.causes.words import value
from audit.policy import hold
from audit.policy.against import Compared
from audit.policy.baseline import Baseline
from audit.policy.hold import matches
from audit.policy.policy import KINDS, LEVELS, Level, Policy, Waiver, in_range
from audit.policy.says import Words, came_with
from reports.catalogue import Catalogue
from reports.checked import Change, Finding
from reports.render.pages.words import count, joined, listed
from reports.report import Facts, Value

_SETS = ("packages", "system_packages")
_MANY = 5
"""So many packages that moved without moving a result are one thing that was done; so many operators that cannot be
compared for one reason are one gap."""

_HARDWARE_ROOTS = ("cpu.*", "gpu.*.*", "limits.affinity")


@dataclass
class Context:
    """What findings are made from. facts: of the target, as `hold.in_effect` gives them."""

    baseline: Baseline
    compared: Compared
    policy: Policy
    rows: Catalogue
    facts: Facts
    words: Words
    today: datetime.date

    def line(self, fact: str, section: str = "facts") -> int:
        return self.baseline.line(self.compared.of, section, fact)

    def changes(self, names: Iterable[str]) -> list[Change]:
        found = self.compared.changes
        return [Change(name, found[name].values[0], found[name].values[1], self.line(name)) for name in names]

    def values(self, fact: str) -> str:
        before, now = self.compared.changes[fact].values
        return f"{value(before)} -> {value(now)}"


def findings(context: Context) -> tuple[list[Finding], int]:
    """All findings with their waivers, most severe first; and how many changes the policy is silent about."""
    made = list(_all(context))
    spoken = [one for one, level in made if level != "off"]
    quiet = sum(max(len(one.changes), 1) for one, level in made if level == "off")
    waived = [_waived(one, context) for one in spoken]
    waived += list(_stale(waived, spoken, context))
    return sorted(
        waived, key=lambda one: (one.waived, LEVELS.index(one.severity), -len(one.operators), one.fact)
    ), quiet


_Made = tuple[Finding, Level]


def _finding(
    context: Context, rule: str, fact: str, message: str, kind: str, default: Level | None = None, **more: object
) -> _Made:
    """A finding as severe as the policy says. Its level may be "off", which is no severity."""
    components = more.get("components", [])
    assert isinstance(components, list)
    named = f"results.{components[0]}" if rule == "results-changed" and components else fact
    level = context.policy.severity(rule, named, kind, components, default)
    line = context.line(fact) or (context.line(named.removeprefix("results."), "results"))
    found = Finding(rule, fact, "info" if level == "off" else level, message, identity=_identity(rule, fact), line=line)
    return replace(found, **more), level


def _identity(rule: str, fact: str) -> str:
    return hashlib.blake2b(f"{rule}\0{fact}".encode(), digest_size=8).hexdigest()


def _all(context: Context) -> Iterator[_Made]:
    compared = context.compared
    other = hardware(context.compared, context.rows)
    told: set[str] = set()
    if other:
        told = {name for name in compared.changes if compared.roots[name] in other}
        yield _unknown_class(context, other, sorted(told))
    jobs = [] if other else list(compared.jobs)
    for one in compared.explanations:
        if other and (one.root is None or one.root in other):
            continue
        facts = _of(one.root, one.facts, context)
        told.update(facts)
        yield _results(context, one.root, one.components, one.operators, facts, jobs)
        jobs = []
    if jobs:
        yield _results_of_jobs(context, jobs)
    yield from _folded(_drifts(context, told), context)
    yield from _out_of_range(context)
    yield from _unreadable(context)
    if compared.unstable:
        yield _nondeterministic(context)
    if not compared.anything:
        yield _finding(
            context,
            "nothing-compared",
            "results.*",
            "nothing that the baseline holds could be compared, and that is never a pass",
            "",
            keep="check a machine that tells something, with a baseline that holds something of it",
        )


def _of(root: str | None, facts: list[str], context: Context) -> list[str]:
    """The changes that came with a root, the root first and then what is on the way to the component."""
    below = context.compared.under([root]) if root else []
    way = [name for name in facts if name in below and name != root]
    return [*below[:1], *way, *(name for name in below[1:] if name not in way)]


# Hardware


def hardware(compared: Compared, rows: Catalogue) -> set[str]:
    """The roots that say that this is other hardware: what a class is known by, where nothing else moved it."""
    if compared.known:
        return set()
    roots = {compared.roots[name] for name in compared.changes if matches(name, hold.KNOWN_BY)}
    own = {root for root in roots if matches(root, (*hold.KNOWN_BY, *_HARDWARE_ROOTS))}
    if not own:
        return set()
    beside = {root for root in compared.roots.values() if matches(root, _HARDWARE_ROOTS)}
    alike = {root for root in beside if hold.of_class(root, rows)}
    return own | alike


def _unknown_class(context: Context, roots: set[str], names: list[str]) -> _Made:
    compared, words = context.compared, context.words
    explained = [one for one in compared.explanations if one.root is None or one.root in roots]
    operators = [name for one in explained for name in one.operators]
    known = [name for name in names if matches(name, hold.KNOWN_BY)]
    here = ", ".join(value(context.facts[name].value) for name in known if name in context.facts)
    results = count(len(operators), "operator") + " give other bits" if operators else "no result changed"
    if not compared.agreeing and not compared.differing:
        results = "no operator was compared"
    elif lost := died(context):
        results += f", and {count(lost, 'operator')} could not be compared"
    there = count(len(context.baseline.classes), "class", "classes")
    return _finding(
        context,
        "unknown-class",
        (known or names)[0],
        f"this hardware is of no class in the baseline, which has {there}; {results}",
        "numeric",
        "error" if operators or compared.jobs or not compared.agreeing else "warning",
        components=list(dict.fromkeys(name for one in explained for name in one.components)),
        changes=context.changes([*known, *(name for name in names if name not in known)]),
        operators=[*operators, *(f"job {name}" for name in compared.jobs)],
        because=f"its code paths are others: {here}; the nearest class is {compared.of}",
        effect=words.effect(compared, operators),
        keep=f"run it on hardware of class {compared.of}",
        accept=words.accept(new_only=True),
        postpone=words.postpone((known or names)[0], context.today),
        line=context.baseline.class_line(),
    )


# Results


def _results(
    context: Context, root: str | None, components: list[str], operators: list[str], facts: list[str], jobs: list[str]
) -> _Made:
    compared, words = context.compared, context.words
    counts = [compared.count(name) for name in components]
    parts = [f"{other} of {of} {name} operators" for name, (other, of) in zip(components, counts, strict=True) if of]
    fact = root or f"results.{components[0]}"
    because = f"{root} {context.values(root)}" if root in compared.changes else "nothing that is held explains it"
    if fact.startswith("image.") and "os.release" in compared.changes:  # what a person knows it by, not its digest
        because = f"another image, os.release {context.values('os.release')}"
    shown = [name for name in facts[1:] if name in compared.changes and context.rows.row(name)]
    nearest = next((name for name in shown if compared.changes[name].components), "")
    if nearest and isinstance(compared.changes[nearest].values[1], (str, int)):
        because += f"; so {nearest} {context.values(nearest)}"
    said = f"{joined(parts) or count(len(operators), 'operator')} give other bits"
    if 0 < sum(other for other, _ in counts) < len(operators):
        said += f", {len(operators):,} operators in all"
    return _finding(
        context,
        "results-changed",
        fact,
        said,
        "results",
        components=components,
        changes=context.changes(facts),
        operators=[*operators, *(f"job {name}" for name in jobs)],
        because=because,
        came_with=came_with(root, len(facts) - 1),
        effect=words.effect(compared, operators, jobs),
        keep=words.keep(root, compared.changes[root].values[0]) if root in compared.changes else "",
        accept=words.accept(),
        postpone=words.postpone(fact, context.today),
    )


def _results_of_jobs(context: Context, jobs: list[str]) -> _Made:
    compared, words = context.compared, context.words
    numeric = [name for name, one in compared.changes.items() if one.kind == "numeric" and compared.roots[name] == name]
    agreed = f"; {count(len(compared.agreeing), 'operator')} agree" if compared.agreeing else ""
    because = f"{numeric[0]} {context.values(numeric[0])} may be why" if numeric else "nothing that is held explains it"
    return _finding(
        context,
        "results-changed",
        f"results.job {jobs[0]}",
        f"{joined([f'job {name}' for name in jobs])} {'gives' if len(jobs) == 1 else 'give'} other bits{agreed}",
        "results",
        operators=[f"job {name}" for name in jobs],
        components=compared.first.components if compared.first else [],
        because=because,
        effect=words.effect(compared, [], jobs),
        accept=words.accept(),
        postpone=words.postpone(f"results.job {jobs[0]}", context.today),
        line=context.line(f"job {jobs[0]}", "results"),
    )


def _nondeterministic(context: Context) -> _Made:
    names = context.compared.unstable
    return _finding(
        context,
        "nondeterministic",
        f"results.{names[0]}",
        f"this machine does not repeat {listed(names, 3)}",
        "results",
        operators=names,
        keep="audit vary finds which settings make it repeat",
        postpone=context.words.postpone(f"results.{names[0]}", context.today),
    )


# Facts


def _drifts(context: Context, told: set[str]) -> Iterator[_Made]:
    for root in dict.fromkeys(context.compared.roots.values()):
        names = [name for name in context.compared.under([root]) if name not in told]
        if names and _in_its_range(context, root) is not False:
            yield _drift(context, root, names)


def _folded(drifts: Iterator[_Made], context: Context) -> Iterator[_Made]:
    """Drifts, those of many packages as one: somebody installed another set of them."""
    groups: dict[tuple[str, str, str], list[_Made]] = {}
    for one, level in drifts:
        facet = one.fact.partition(".")[0]
        groups.setdefault((facet if facet in _SETS else one.fact, one.rule, level), []).append((one, level))
    for (facet, rule, _), made in groups.items():
        if len(made) < _MANY:
            yield from made
            continue
        first, level = made[0]
        facts = [one.fact for one, _ in made]
        shown = ", ".join(one.message.removeprefix(f"{facet}.").replace(".version ", " ", 1) for one, _ in made[:2])
        fact = f"{facet}.*"
        yield (
            replace(
                first,
                fact=fact,
                message=f"{len(made)} {facet.replace('_', ' ')} are others: {shown} and {len(made) - 2} more",
                identity=_identity(rule, fact),
                components=list(dict.fromkeys(name for one, _ in made for name in one.components)),
                changes=[change for one, _ in made for change in one.changes],
                came_with=came_with(None, sum(len(one.changes) for one, _ in made) - len(facts)),
                keep="install the set of the baseline, from the lock file of that time",
                postpone=context.words.postpone(fact, context.today),
            ),
            level,
        )


def _drift(context: Context, root: str, names: list[str]) -> _Made:
    """A root that changed no compared result."""
    compared, words = context.compared, context.words
    changed = [compared.changes[name] for name in names]
    kinds = {one.kind for one in changed}
    kind = next(one for one in KINDS if one in kinds)
    components = list(dict.fromkeys(name for one in changed if one.kind == "numeric" for name in one.components))
    default: Level | None = None
    effect = ""
    if kind == "numeric":
        silent = [name for name in components if not compared.count(name)[1]]
        if silent or not compared.agreeing:
            default = "error"
            effect = f"no operator of {joined(silent)} was compared" if silent else "no operator was compared"
        else:
            effect = _agreement(components, context)
    found, level = _finding(
        context,
        f"{kind}-drift",
        root,
        f"{root} {context.values(root)}" if root in compared.changes else f"{root} changed",
        kind,
        default,
        components=components,
        changes=context.changes(names),
        came_with=came_with(None, len(names) - 1),
        effect=effect,
        keep=words.keep(root, compared.changes[root].values[0]),
        accept=words.accept(),
        postpone=words.postpone(root, context.today),
    )
    return found, "off" if default != "error" and _in_its_range(context, root) else level


def _agreement(components: list[str], context: Context) -> str:
    counts = [context.compared.count(name) for name in components]
    if any(other for other, _ in counts):
        return "results of its components changed too, by another cause"
    if not counts:
        return f"no result changed: {count(len(context.compared.agreeing), 'operator')} agree"
    agreeing = count(sum(of for _, of in counts), "operator")
    return f"no result changed: {agreeing} of {joined(components)} agree"


def _in_its_range(context: Context, root: str) -> bool | None:
    """Whether a version is one that the policy allows; None where it has no range."""
    wanted = _ranges(context).get(root)
    return in_range(context.compared.changes[root].values[1], wanted) if wanted else None


def _ranges(context: Context) -> dict[str, str]:
    """The ranges by fact: a name with a dot is a fact, any other a package, or python."""
    return {
        name
        if "." in name and context.rows.row(name)
        else "python.version"
        if name == "python"
        else f"packages.{name}.version": wanted
        for name, wanted in context.policy.versions.items()
    }


def _out_of_range(context: Context) -> Iterator[_Made]:
    for fact, wanted in _ranges(context).items():
        found = context.facts.get(fact)
        if found is not None and found.status is None and in_range(found.value, wanted):
            continue
        there = "is not there" if found is None else f"cannot be read: {found.reason or found.status}"
        if found is not None and found.status is None:
            there = f"is {value(found.value)}"
        yield _finding(
            context,
            "version-out-of-range",
            fact,
            f"{fact} {there}, and the policy wants {wanted}",
            "numeric",
            "error",
            changes=context.changes(context.compared.under([fact])),
            keep=f"install a version in {wanted}",
            accept=f"widen the range in {context.policy.name}",
            postpone=context.words.postpone(fact, context.today),
        )


def gaps(context: Context) -> dict[str, str]:
    """What is held and could not be compared, with the reason. What a changed root took away is in its finding, and
    what the policy is silent about is nobody's concern; of a class that nobody accepted no operator is held."""
    other = bool(hardware(context.compared, context.rows))
    found: dict[str, str] = {}
    operators: dict[str, list[str]] = {}
    for name, why in context.compared.missing.items():
        if name.startswith("operator "):
            operators.setdefault(why, []).extend([] if other else [name])
        elif not _went_with_a_root(name, context) and not _silent(name, context):
            found[name] = why
    for why, names in operators.items():
        found.update({count(len(names), "operator"): why} if len(names) > _MANY else dict.fromkeys(names, why))
    return found


def died(context: Context) -> int:
    """How many operators could not be compared on hardware of no class though the target was to run them: it may have
    others than the baseline, but then nothing died. Its one finding says so."""
    other = context.compared.died and hardware(context.compared, context.rows)
    return sum(name.startswith("operator ") for name in context.compared.missing) if other else 0


def _went_with_a_root(name: str, context: Context) -> bool:
    above, seen = [name], {name}
    while above:
        for edge in context.rows.deciders(above.pop()):
            if edge.fact in context.compared.changes:
                return True
            above += [edge.fact] if edge.fact not in seen else []
            seen.add(edge.fact)
    return False


def _silent(name: str, context: Context) -> bool:
    row = context.rows.row(name)
    if row is None:
        return False
    return context.policy.severity(f"{row.kind}-drift", name, row.kind, row.components) == "off"


def _unreadable(context: Context) -> Iterator[_Made]:
    """What could not be compared, one finding a reason; what the policy requires, one a fact."""
    postpone = context.words.postpone
    for pattern in context.policy.require:
        names = [pattern] if "*" not in pattern else [name for name in context.facts if matches(name, (pattern,))]
        for name in names or [pattern]:
            why = _no_value(context, name)
            if why:
                yield _finding(
                    context,
                    "required-unreadable",
                    name,
                    f"{name} is required and cannot be read here: {why}",
                    "",
                    keep="let this machine tell it",
                    accept=f"take it out of require in {context.policy.name}",
                    postpone=postpone(name, context.today),
                )
    held = context.baseline.classes[context.compared.of].facts
    reasons: dict[str, list[str]] = {}
    for name, why in gaps(context).items():
        if not matches(name, context.policy.require):
            reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        fact = (
            "results.*"
            if names[0][0].isdigit()
            else names[0].replace("operator ", "results.").replace("job ", "results.job ")
        )
        yield _finding(
            context,
            "unreadable",
            fact,
            f"{listed(names, 3)} cannot be compared: {why}",
            "",
            changes=[Change(name, held[name], None, context.line(name)) for name in names if name in held],
            keep="make it readable again; what cannot be compared never passes",
            accept=context.words.accept(),
            postpone=postpone(fact, context.today),
        )


def _no_value(context: Context, name: str) -> str:
    found = context.facts.get(name)
    if found is None:
        return "it was not captured"
    if name in context.compared.missing:
        return context.compared.missing[name]
    return (found.reason or found.status) if found.status is not None else ""


# Waivers


def _waived(one: Finding, context: Context) -> Finding:
    found = next(
        (waiver for waiver in context.policy.waivers if _applies(waiver, one) and waiver.until >= context.today), None
    )
    if found is None:
        return one
    return replace(one, waived=True, waiver=f"until {found.until}: {found.reason} ({found.where})")


def _applies(waiver: Waiver, one: Finding) -> bool:
    root: list[tuple[Value, Value]] = [(change.before, change.now) for change in one.changes if change.fact == one.fact]
    if one.rule == "unreadable" and not all(matches(change.fact, (waiver.fact,)) for change in one.changes):
        return False  # the others have only their reason in common
    return (
        (waiver.rule in ("", one.rule))
        and any(matches(name, (waiver.fact,)) for name in (one.fact, *(f"results.{name}" for name in one.components)))
        and (not waiver.before or any(waiver.before == value(before) for before, _ in root))
        and (not waiver.now or any(waiver.now == value(now) for _, now in root))
    )


def _stale(after: list[Finding], spoken: list[Finding], context: Context) -> Iterator[Finding]:
    """Waivers whose last day is over, and those that no finding needs any more."""
    for waiver in context.policy.waivers:
        over = waiver.until < context.today
        used = any(_applies(waiver, one) for one in spoken)
        if used and not over:
            continue
        why = f"was over on {waiver.until}" if over else "waives nothing: there is no such finding (on this machine)"
        found, level = _finding(
            context,
            "stale-waiver",
            waiver.fact,
            f"the waiver of {waiver.fact} ({waiver.where}) {why}",
            "",
            "warning" if over else "info",
            keep=f"remove it from {waiver.where}",
            postpone="give it another last day, with a reason" if over else "",
            line=0,
        )
        if level != "off":
            yield found
