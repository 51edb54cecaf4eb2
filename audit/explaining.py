"""What a fact, a rule or a component is, from the catalogue, the rules and the settings; nothing is known here."""

from __future__ import annotations

import difflib
import json

from audit.errors import AuditError
from reports.catalogue import Catalogue, Component, Condition, Row, catalogue
from reports.explained import FORMAT, VERSION, Explanation, Named, Pin
from reports.rules import RULES


def explain(name: str) -> Explanation:
    """The explanation of a name. Raises AuditError, with suggestions, for one that is nothing."""
    rows = catalogue()
    component = rows.components.get(name.removeprefix("results."))
    if component:
        return _component(name, component, rows)
    if name in RULES:
        return _rule(name)
    found = rows.find(name)
    if found and found[0].fact not in ("", "*"):
        return _fact(name, *found, rows)
    raise AuditError(_unknown(name, rows))


def _unknown(name: str, rows: Catalogue) -> str:
    """One line: what is near, by the letters or by what it ends in."""
    names = [*rows.components, *RULES, *(row.fact for row in rows.rows)]
    near = difflib.get_close_matches(name, names, 3, 0.6)
    within = [one for one in names if name and name.lower() in one.lower() and one not in near]
    # More than a few are no help, and a name within many says nothing.
    shown = [*near, *within][:4]
    hint = f"did you mean {', '.join(shown)}?" if shown else "audit show REPORT --all lists the facts of a report"
    return f"no fact, rule or component is called {name[:80]!r}; {hint}"


def _rule(name: str) -> Explanation:
    rule = RULES[name]
    return Explanation(
        FORMAT,
        VERSION,
        name,
        "rule",
        rule.meaning,
        why=rule.why,
        choices={"keep": rule.keep, "accept": rule.accept, "postpone": rule.postpone},
        next=f'Next, for another severity:  severity.rules = {{"{name}" = "warning"}}    # in the policy, audit.toml',
    )


def _component(name: str, component: Component, rows: Catalogue) -> Explanation:
    own = component.name
    facts = [row for row in rows.rows if own in row.components]
    return Explanation(
        FORMAT,
        VERSION,
        name,
        "component",
        f"{component.plain[0].upper()}{component.plain[1:]} ({component.technical}).",
        components=[Named(own, f"where it differs, {component.effect}")],
        operators=[f"{own}.*"],
        how_many=_how_many(own),
        decided_by=[Named(row.fact, row.meaning, root=row.root) for row in sorted(facts, key=lambda row: not row.root)],
        settings=_pins({row.fact for row in facts}, own),
        next="Next, to see which settings change it here:  audit vary --job operators",
    )


def _how_many(component: str) -> int | None:
    """How many operators the battery has for a component with this Python; None where they cannot be made."""
    from importlib import import_module

    try:
        return len(import_module(f"probes.operators.{component}").operators())
    except Exception:  # a library that is not here, or not as it was: the number is a courtesy
        return None


def _fact(name: str, row: Row, member: str, rows: Catalogue) -> Explanation:
    decided, rule = rows.decided(name), f"{row.kind}-drift"
    through = _through(row, decided, rows)
    return Explanation(
        FORMAT,
        VERSION,
        name,
        row.kind,
        row.meaning,
        why=f"{rule}: {RULES[rule].why}" if rule in RULES else "It changes by itself: no baseline holds it.",
        family=row.fact if "*" in row.fact and row.fact != name else "",
        unit=row.unit or "",
        root=row.root,
        components=[_touched(rows.components[one], fact) for one, fact in through.items()],
        operators=[f"{one}.*" for one in through],
        decided_by=_above(name, rows),
        decides=decided,
        settings=_pins({name, row.fact, *decided} if name.startswith("variables.") else {name, row.fact}, "", name),
        next=_next(name, row),
    )


def _through(row: Row, decided: list[str], rows: Catalogue) -> dict[str, str]:
    """The components that a fact touches, each with the fact that it decides on the way there; "": none, its own. Of
    several the one that decides the others."""
    found = dict.fromkeys(row.components, "")
    for fact in sorted(decided, key=lambda one: -len(rows.decided(one))):
        below = rows.row(fact)
        for component in below.components if below else ():
            found.setdefault(component, fact)
    return {component: fact for component, fact in found.items() if component in rows.components}


def _touched(component: Component, fact: str) -> Named:
    through = f" (through {fact})" if fact else ""
    return Named(component.name, f"{component.plain}: {component.effect}{through}")


def _above(fact: str, rows: Catalogue) -> list[Named]:
    """What decides a fact, each followed by what decides that one; a fact that several are decided by stands once."""
    found: list[Named] = []
    seen = {fact}

    def climb(below: str, depth: int) -> None:
        for edge in rows.deciders(below):
            if edge.fact in seen:
                continue
            seen.add(edge.fact)
            row = rows.row(edge.fact)
            above = any(True for _ in rows.deciders(edge.fact))
            meaning = row.meaning if row else ""
            found.append(Named(edge.fact, meaning, depth, _condition(edge.when), root=not above))
            climb(edge.fact, depth + 1)

    climb(fact, 0)
    return found


def _condition(when: Condition | None) -> str:
    if when is None:
        return ""
    value = f"names {' or '.join(when.names)}" if when.names else f"is {when.equals}"
    return f"{when.fact} {value}"


def _pins(facts: set[str], component: str, name: str = "") -> list[Pin]:
    """The settings that decide these facts, or a component, or that are the variable asked about."""
    from audit.causes.settings import SETTINGS

    variable = name.removeprefix("variables.") if name.startswith("variables.") else ""
    return [
        Pin(one.name, one.how, one.fact, one.source, one.code)
        for one in SETTINGS
        if (one.name == variable if variable else one.fact in facts or (component and one.decides([component])))
    ]


def _next(name: str, row: Row) -> str:
    if name.startswith("variables.") and "*" not in name:
        return f"Next, to hold it in CI:  require = [{json.dumps(name)}]    # in the policy, audit.toml"
    return "Next, its value here:  audit run --job none -o here.json    # then: audit show here.json --all"
