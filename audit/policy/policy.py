"""Rules as data: `[tool.audit]` of pyproject.toml, or audit.toml. Every mistake is one line with file, line and remedy.

extends = ["strict", "../central.toml", {path = "../central.toml", sha256 = "..."}]
hold = ["os.kernel"]
require = ["gpu.driver"]
versions = {numpy = ">=2.4,<2.5"}
severity.facts = {"limits.*" = "off"}     also .kinds, .components, .rules
tolerance.components = {libm = {ulp = 2}}     also .operators, .facts: ulp, rtol, atol
waivers = [{fact = "packages.numpy.version", reason = "CVE fix", until = 2027-01-31}]
"""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

from audit.errors import AuditError
from audit.policy.hold import matches
from reports.catalogue import catalogue

Level = Literal["error", "warning", "info", "off"]

LEVELS = ("error", "warning", "info", "off")
KINDS = ("numeric", "performance", "identity")
"""Kinds of facts that can be held, the gravest first; what is volatile changes by itself."""

RULES: dict[str, Level] = {
    "results-changed": "error",
    "nondeterministic": "error",
    "numeric-drift": "warning",  # an error where no operator speaks for it
    "performance-drift": "warning",
    "identity-drift": "off",
    "unknown-class": "warning",  # an error where results changed with it
    "version-out-of-range": "error",
    "required-unreadable": "error",
    "unreadable": "warning",
    "nothing-compared": "error",
    "stale-waiver": "warning",
}
"""Every rule, and how severe its findings are where no policy says otherwise."""

FILES = ("audit.toml", "pyproject.toml")

_TABLE = re.compile(rb"^\s*\[+\s*tool\.audit[\s.\]]", re.MULTILINE)


@dataclass(frozen=True)
class Tolerance:
    """How far results, or a fact that is a number, may be from what is held. None: that is not asked."""

    ulp: int | None = None
    rtol: float | None = None
    atol: float | None = None


@dataclass(frozen=True)
class Waiver:
    """An exception with its reason and its last day. rule: of findings of this rule only; before, now: of this change
    only (as the finding prints it); where: the line that it stands on."""

    fact: str
    reason: str
    until: datetime.date
    rule: str = ""
    before: str = ""
    now: str = ""
    file: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Policy:
    """name: of the file, or of the built-in one. A pattern that stands later wins over an earlier one."""

    name: str = ""
    hold: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Level] = field(default_factory=dict)
    kinds: Mapping[str, Level] = field(default_factory=dict)
    components: Mapping[str, Level] = field(default_factory=dict)
    rules: Mapping[str, Level] = field(default_factory=dict)
    tolerance_facts: Mapping[str, Tolerance] = field(default_factory=dict)
    tolerance_operators: Mapping[str, Tolerance] = field(default_factory=dict)
    tolerance_components: Mapping[str, Tolerance] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def also_held(self) -> tuple[str, ...]:
        """Patterns of facts that a baseline holds because this policy asks for them."""
        spoken = [pattern for pattern, level in self.facts.items() if level != "off"]
        kinds = (
            ["os.*", "locale.*", "python.*", "image.*", "gpu.*"] if self.kinds.get("identity", "off") != "off" else []
        )
        return tuple(dict.fromkeys([*self.hold, *self.require, *spoken, *kinds]))

    @property
    def tolerates_results(self) -> bool:
        return bool(self.tolerance_operators or self.tolerance_components)

    def severity(
        self, rule: str, fact: str, kind: str, components: Iterable[str], default: Level | None = None
    ) -> Level:
        """How severe a finding is: as its fact's pattern says, else its component, its rule, its kind."""
        for pattern in reversed(list(self.facts)):
            if matches(fact, (pattern,)):
                return self.facts[pattern]
        said = [self.components[name] for name in components if name in self.components]
        if said:
            return min(said, key=LEVELS.index)
        return self.rules.get(rule) or self.kinds.get(kind) or default or RULES[rule]

    def tolerance(self, operator: str, component: str) -> Tolerance | None:
        for pattern in reversed(list(self.tolerance_operators)):
            if fnmatchcase(operator, pattern):
                return self.tolerance_operators[pattern]
        return self.tolerance_components.get(component)

    def tolerance_of_fact(self, fact: str) -> Tolerance | None:
        found = [pattern for pattern in self.tolerance_facts if matches(fact, (pattern,))]
        return self.tolerance_facts[found[-1]] if found else None


BUILT_IN = {
    "strict": Policy(
        "strict",
        kinds={"numeric": "error", "performance": "error", "identity": "warning"},
        rules={"unreadable": "error", "unknown-class": "error"},
    ),
    "results-only": Policy(
        "results-only",
        kinds={"numeric": "off", "performance": "off", "identity": "off"},
        rules={"unknown-class": "info"},
    ),
}
"""Policies by name. `strict`: any change fails. `results-only`: only changed results do."""


def chosen(asked: str | None, folder: Path | None = None) -> Policy:
    """The policy that --policy names (a file or a built-in one), else that of audit.toml or pyproject.toml in this
    folder, else none. Raises AuditError."""
    if asked is not None:
        if asked in BUILT_IN and not Path(asked).exists():
            return BUILT_IN[asked]
        return read(Path(asked))
    for name in FILES:
        path = (folder or Path()) / name
        if path.exists() and (name == "audit.toml" or _TABLE.search(path.read_bytes())):
            return read(path)
    return Policy()


def read(path: Path) -> Policy:
    """The policy in a file. Raises AuditError: one line with the file, the line and what to write instead."""
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...], sha256: str = "") -> Policy:
    try:
        data = path.read_bytes()
    except OSError as error:
        near = difflib.get_close_matches(str(path), BUILT_IN, 1)
        hint = f" (did you mean {near[0]}?)" if near else f"; a file, or one of {', '.join(BUILT_IN)}"
        raise AuditError(f"{path}: {error.strerror or error}{hint}") from None
    if sha256 and hashlib.sha256(data).hexdigest() != sha256.lower():
        found = hashlib.sha256(data).hexdigest()
        raise AuditError(f"{path}: not the policy that {above[-1]} extends; its sha256 is {found}")
    real = path.resolve()
    if real in [one.resolve() for one in above]:
        raise AuditError(f"{above[-1]}: extends itself: {' -> '.join(str(one) for one in (*above, path))}")
    text = _text(path, data)
    return _Reader(path, text, (*above, path)).policy(_table(path, text))


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AuditError(f"{path}: not UTF-8 text, which TOML is") from None


def _table(path: Path, text: str) -> dict[str, Any]:
    loads = _toml(path)
    try:
        tree = loads(text)
    except (ValueError, RecursionError) as error:
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = (at and at[1]) or str(text.count("\n") + 1)
        words = str(error)[: at.start()] if at else str(error)
        raise AuditError(f"{path}:{line}: not TOML: {words}") from None
    tool: Any = tree.get("tool", {})
    nested = tool.get("audit") if isinstance(tool, dict) else None
    if nested is None and path.name == "pyproject.toml":
        raise AuditError(f"{path}: it has no [tool.audit] table")
    found = tree if nested is None else nested
    if not isinstance(found, dict):
        raise AuditError(f"{path}: [tool.audit] is no table")
    return found


def _toml(path: Path) -> Callable[[str], dict[str, Any]]:
    """The reader of TOML: Python 3.11 brings it, for 3.10 there is tomli."""
    from importlib import import_module

    for name in ("tomllib", "tomli"):
        try:
            loads: Callable[[str], dict[str, Any]] = import_module(name).loads
        except ImportError:
            continue
        return loads
    raise AuditError(f"{path}: this Python cannot read TOML; audit needs Python 3.11 for it, or: pip install tomli")


class _Reader:
    """One file's table, made into a policy; every refusal has the line."""

    def __init__(self, path: Path, text: str, above: tuple[Path, ...]) -> None:
        self.path = path
        self.written = text.splitlines()
        self.above = above

    def refuse(self, words: str, *keys: str) -> AuditError:
        return AuditError(f"{self.path}:{self.line(*keys)}: {words}")

    def line(self, *keys: str) -> int:
        """The line where the last of these keys stands, below the others; 1 if that cannot be told."""
        at = 0
        for key in keys:
            pattern = re.compile(rf"""(?:^|[\s.\[{{,])["']?{re.escape(key)}["']?\s*[=.\]]|["']{re.escape(key)}["']""")
            at = next((n for n in range(at, len(self.written)) if pattern.search(self.written[n])), at)
        return at + 1

    def policy(self, table: dict[str, Any]) -> Policy:
        known = ("extends", "hold", "require", "versions", "severity", "tolerance", "waivers")
        self._known(table, known)
        base = Policy()
        for one in self._list(table, "extends", (str, dict)):
            base = _over(base, self._extended(one))
        severity = self._table(table, "severity")
        self._known(severity, ("facts", "kinds", "components", "rules"), "severity")
        tolerance = self._table(table, "tolerance")
        self._known(tolerance, ("facts", "operators", "components"), "tolerance")
        levels, limits = partial(self._levels, severity), partial(self._limits, tolerance)
        mine = Policy(
            name=str(self.path),
            hold=self._patterns(table, "hold"),
            require=self._patterns(table, "require"),
            versions=self._versions(table),
            facts=levels("facts", self._a_fact),
            kinds=levels("kinds", self._one_of(KINDS)),
            components=levels("components", self._one_of(tuple(catalogue().components))),
            rules=levels("rules", self._one_of(tuple(RULES))),
            tolerance_facts=limits("facts", self._a_fact),
            tolerance_operators=limits("operators", lambda name, *keys: None),
            tolerance_components=limits("components", self._one_of(tuple(catalogue().components))),
            waivers=tuple(self._waiver(one, n) for n, one in enumerate(self._list(table, "waivers", (dict,)))),
            files=(str(self.path),),
        )
        return _over(base, mine)

    def _extended(self, one: str | dict[str, Any]) -> Policy:
        if isinstance(one, str) and one in BUILT_IN:
            return BUILT_IN[one]
        sha256 = ""
        if isinstance(one, dict):
            self._known(one, ("path", "sha256"), "extends")
            if not isinstance(one.get("path"), str):
                raise self.refuse('extends needs a path: {path = "...", sha256 = "..."}', "extends")
            sha256 = str(one.get("sha256", ""))
            if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
                raise self.refuse("sha256 is 64 hexadecimal digits; sha256sum prints them", "extends", "sha256")
            one = str(one["path"])
        path = self.path.parent / one
        if not path.exists():
            near = difflib.get_close_matches(one, BUILT_IN, 1)
            hint = (
                f"; did you mean {near[0]}?" if near else f"; a file beside this one, or one of {', '.join(BUILT_IN)}"
            )
            raise self.refuse(f"extends {one!r}, which is not there{hint}", "extends")
        return _read(path, self.above, sha256)

    def _levels(self, table: dict[str, Any], which: str, check: Callable[..., None]) -> dict[str, Level]:
        found: dict[str, Level] = {}
        for name, level in self._table(table, which, "severity").items():
            check(name, "severity", which)
            self._one_of(LEVELS)(level, "severity", which, name)
            found[name] = level
        return found

    def _limits(self, table: dict[str, Any], which: str, check: Callable[..., None]) -> dict[str, Tolerance]:
        found = {}
        for name, limits in self._table(table, which, "tolerance").items():
            keys = ("tolerance", which, name)
            check(name, *keys[:2])
            if limits == "bits":
                found[name] = Tolerance()
                continue
            if not isinstance(limits, dict) or not limits:
                raise self.refuse(f'a tolerance is "bits", or a table such as {{ulp = 2}}, not {limits!r}', *keys)
            self._known(limits, ("ulp", "rtol", "atol"), *keys)
            for key, limit in limits.items():
                whole = isinstance(limit, int) and not isinstance(limit, bool)
                if not (whole or (isinstance(limit, float) and key != "ulp")) or not 0 <= limit < float("inf"):
                    raise self.refuse(f"{key} is a number from 0{' without a fraction' if key == 'ulp' else ''}", *keys)
            found[name] = Tolerance(**limits)
        return found

    def _versions(self, table: dict[str, Any]) -> dict[str, str]:
        found = {}
        for name, wanted in self._table(table, "versions").items():
            if not isinstance(wanted, str):
                raise self.refuse(
                    f'a range of versions is text, such as ">=2.4,<2.5", not {wanted!r}', "versions", name
                )
            problem = range_problem(wanted)
            if problem:
                raise self.refuse(f"versions.{name} = {wanted!r}: {problem}", "versions", name)
            found[name] = wanted
        return found

    def _waiver(self, one: dict[str, Any], number: int) -> Waiver:
        line = self._waiver_line(number)
        place = f"{self.path}:{line}"
        known = ("fact", "reason", "until", "rule", "before", "now")
        for key in one:
            if key not in known:
                raise AuditError(f"{place}: a waiver has no {key!r}{_meant(key, known)}")
        for key in ("fact", "reason", "until"):
            if not one.get(key):
                raise AuditError(
                    f"{place}: a waiver needs a fact, a reason and a last day (until = 2027-01-31): no {key}"
                )
        until = one["until"]
        if isinstance(until, str):
            try:
                until = datetime.date.fromisoformat(until)
            except ValueError:
                raise AuditError(f"{place}: until = {until!r} is no day; write 2027-01-31") from None
        if isinstance(until, datetime.datetime):
            until = until.date()
        if not isinstance(until, datetime.date):
            raise AuditError(f"{place}: until = {until!r} is no day; write 2027-01-31")
        for key in ("fact", "reason", "rule", "before", "now"):
            if not isinstance(one.get(key, ""), str):
                raise AuditError(f"{place}: a waiver's {key} is text, not {one[key]!r}")
        if one.get("rule", "") not in ("", *RULES):
            raise AuditError(f"{place}: there is no rule {one['rule']!r}{_meant(one['rule'], RULES)}")
        if not one["fact"].startswith("results."):
            problem = fact_problem(one["fact"])
            if problem:
                raise AuditError(f"{place}: {problem}")
        texts = {key: one.get(key, "") for key in ("fact", "reason", "rule", "before", "now")}
        return Waiver(**texts, until=until, file=str(self.path), line=line)

    def _waiver_line(self, number: int) -> int:
        """The line of a waiver: of its table, or of its `fact` in a list."""
        tables = [
            n for n, line in enumerate(self.written, 1) if re.match(r"\s*\[\[\s*(tool\.audit\.)?waivers\s*\]\]", line)
        ]
        if number < len(tables):
            return tables[number]
        begin = self.line("waivers")
        inside = [n for n, line in enumerate(self.written, 1) if n >= begin for _ in re.findall(r"\bfact\s*=", line)]
        return inside[number] if number < len(inside) else begin

    # What a value must be

    def _known(self, table: Mapping[str, Any], known: Iterable[str], *keys: str) -> None:
        for key in table:
            if key not in known:
                where = ".".join(keys)
                inside = f" in {where}" if where else ""
                raise self.refuse(f"there is no {key!r}{inside}{_meant(key, known)}", *keys, key)

    def _table(self, table: Mapping[str, Any], key: str, *above: str) -> dict[str, Any]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise self.refuse(f"{'.'.join((*above, key))} is a table, not {found!r}", *above, key)
        return found

    def _list(self, table: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> list[Any]:
        found = table.get(key, [])
        found = [found] if isinstance(found, kinds) and key == "extends" else found
        if not isinstance(found, list) or not all(isinstance(one, kinds) for one in found):
            raise self.refuse(f"{key} is a list of {'tables' if dict in kinds and len(kinds) == 1 else 'names'}", key)
        return found

    def _patterns(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        found = self._list(table, key, (str,))
        for one in found:
            self._a_fact(one, key)
        return tuple(found)

    def _a_fact(self, name: str, *keys: str) -> None:
        row = catalogue().row(name)
        problem = fact_problem(name)
        if not problem and row and row.kind == "volatile" and keys[0] != "require":
            problem = f"{name} changes by itself, so no baseline holds it"
        if problem and not name.startswith("results."):
            raise self.refuse(problem, *keys, name)

    def _one_of(self, allowed: tuple[str, ...]) -> Callable[..., None]:
        def check(name: object, *keys: str) -> None:
            if name not in allowed:
                more = f" (one of {', '.join(allowed)})" if len(allowed) < 6 else ""
                raise self.refuse(
                    f"{'.'.join(keys)}: there is no {name!r}{_meant(str(name), allowed)}{more}", *keys, str(name)
                )

        return check


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def fact_problem(pattern: str) -> str:
    """Why a pattern can match no fact, "" if it can: a mistyped one would never fail."""
    rows = catalogue()
    known = [row.fact for row in rows.rows]
    if rows.row(pattern) or any(fnmatchcase(fact, pattern) for fact in known):
        return ""
    facet = pattern.partition(".")[0]
    if "*" in pattern and any(fact.partition(".")[0] == facet and "*" in fact for fact in known):
        return ""  # of a family whose members nobody knows beforehand
    return f"there is no fact {pattern!r}{_meant(pattern, known)}"


def range_problem(wanted: str) -> str:
    """Why a range of versions cannot be read; "" if it can."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(wanted)
    except InvalidSpecifier:
        return 'no range of versions; write ">=2.4,<2.5" or "==2.4.*"'
    return "" if wanted.strip() else 'it allows every version; write ">=2.4,<2.5" or leave it out'


def in_range(version: object, wanted: str) -> bool:
    """Whether a version is in a range; what is no version is in none."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(wanted).contains(str(version), prereleases=True)
    except InvalidVersion:
        return False


def _over(base: Policy, mine: Policy) -> Policy:
    """A policy with what it extends below it: the later one wins, lists grow."""
    tables: tuple[str, ...] = ("versions", "facts", "kinds", "components", "rules")
    tables += ("tolerance_facts", "tolerance_operators", "tolerance_components")
    merged: dict[str, Any] = {name: {**getattr(base, name), **getattr(mine, name)} for name in tables}
    for name in ("hold", "require", "waivers", "files"):
        merged[name] = tuple(dict.fromkeys((*getattr(base, name), *getattr(mine, name))))
    return replace(mine, name=mine.name or base.name, **merged)
