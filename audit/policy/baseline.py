"""The baseline: what a team accepted, as a file that is committed and reviewed. Nothing but `audit baseline` writes it.

JSON with one line a fact, keys sorted; operators stand several on a line, for theirs are hundreds. What all classes of
hardware have alike stands once, and each class has what is its own, so a change is a diff of few lines.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from audit.compare.side import Measured
from audit.errors import AuditError
from audit.policy import hold, lines
from audit.policy.hold import Held
from reports import codec, source
from reports.catalogue import Catalogue, catalogue
from reports.report import Report, Value

FORMAT = "audit-baseline"
VERSION = 1
_SHORT = re.compile(rf"[0-9a-f]{{{hold.DIGITS}}}")
_WHOLE = re.compile(rf"[0-9a-f]{{{hold.COMPONENT_DIGITS}}}|\d+ [0-9a-f]* [0-9a-f]+")
_SURROGATE = re.compile(r"\\u[dD][0-9a-fA-F]{3}")
_WIDTH = 110
_MOST_BYTES = 16 << 20


class _Class(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """without: what all other classes have and this one does not."""

    known_by: dict[str, Value]
    facts: dict[str, Value] = {}
    results: dict[str, str] = {}
    operators: dict[str, str] = {}
    without: list[str] = []


class _File(Struct, forbid_unknown_fields=True):
    """unset: facts that are held to have no value."""

    format: str
    version: int
    classes: dict[str, _Class]
    facts: dict[str, Value] = {}
    unset: list[str] = []
    results: dict[str, str] = {}
    operators: dict[str, str] = {}


Of = Callable[["Baseline", Measured], str | None]

_SECTIONS = ("facts", "results", "operators")


@dataclass
class Baseline:
    """What is held, whole for every class. whole: the report behind it, where the baseline is one; notes: what must be
    said about the file."""

    path: str
    classes: dict[str, Held]
    whole: Measured | None = None
    notes: list[str] = field(default_factory=list)
    _lines: Mapping[lines.Path, int] = field(default_factory=dict)

    def line(self, of: str, section: str, key: str) -> int:
        """The line on which a class's fact, result or operator stands, counted from 1; 0 if on none."""
        paths = (("classes", of, section, key), ("classes", of, "known_by", key), (section, key))
        found = next((self._lines[path] for path in paths if path in self._lines), 0)
        return found or (self._lines.get(("unset",), 0) if section == "facts" else 0)

    def class_line(self) -> int:
        return self._lines.get(("classes",), 0)


def made(
    sides: Iterable[Measured],
    rows: Catalogue,
    also: Iterable[str] = (),
    before: Baseline | None = None,
    of: Of = lambda classes, side: None,
) -> Baseline:
    """A baseline of these targets, one class each, or several that agree.

    Classes that `before` has and no target is of stay as they are, and so does what was not measured this time. of: the
    class of a baseline that a target is of though it is known by something else now. Raises AuditError for what holds
    nothing, and for two of one class that do not agree.
    """
    found = Baseline(before.path if before else "", dict(before.classes) if before else {})
    classes = found.classes
    fresh: dict[str, Measured] = {}
    for side in sides:
        held = _held(side, rows, also)
        old = (of(found, side) if classes else None) or _name(held, classes)
        if old in fresh:
            classes[old] = _agreeing(classes[old], held, fresh[old], side, rows)
            continue
        if old in classes:
            held = _measured_before(classes[old], held)
            others = {name: one for name, one in classes.items() if name != old}
            name = old if classes[old].known_by == held.known_by else _name(held, others)
            renamed = {name if one == old else one: held if one == old else classes[one] for one in classes}
            classes.clear()
            classes.update(renamed)  # where it was: a new name is not a new place
        else:
            name = old
            classes[name] = held
        fresh[name] = side
    return found


def added(
    sides: Iterable[Measured],
    rows: Catalogue,
    also: Iterable[str],
    before: Baseline,
    of: Of = lambda classes, side: None,
) -> Baseline:
    """The baseline with what it has not: new classes, and facts and operators that it did not know. No line of it
    becomes another."""
    found = Baseline(before.path, dict(before.classes))
    for side in sides:
        held = _held(side, rows, also)
        name = of(found, side) or _name(held, found.classes)
        old = found.classes.get(name, Held(held.known_by))
        found.classes[name] = Held(
            old.known_by,
            {**held.facts, **old.facts},
            _results_of_both(held, old),
            {**held.operators, **old.operators},
        )
    return found


def _results_of_both(new: Held, old: Held) -> dict[str, str]:
    """A component's digest is over all of its operators: with more of them it is the new one, and where the two do not
    agree in one, none."""
    found = {**new.results, **old.results}
    if new.operators.keys() - old.operators.keys():
        agree = all(digest == new.operators.get(name, digest) for name, digest in old.operators.items())
        found = {name: digest for name, digest in found.items() if agree or name.startswith("job ")}
        found.update(
            {name: new.results[name] for name in found if agree and name in new.results and "job " not in name}
        )
    return found


def _held(side: Measured, rows: Catalogue, also: Iterable[str]) -> Held:
    held = hold.of(side, rows, also)
    if not held or not held.known_by:
        where = side.file or "this machine"
        raise AuditError(f"{where}: nothing that a baseline can hold; comparing nothing proves nothing")
    return held


def _measured_before(old: Held, new: Held) -> Held:
    """The new one with what was not run for it: jobs, or operators and the libraries that they load."""
    without = not new.operators
    kept = {name: digest for name, digest in old.results.items() if without or name.startswith("job ")}
    loaded = {name: value for name, value in old.facts.items() if without and name.startswith("libraries.")}
    operators = old.operators if without else new.operators
    return Held(new.known_by, {**loaded, **new.facts}, {**kept, **new.results}, operators)


def _agreeing(one: Held, two: Held, first: Measured, second: Measured, rows: Catalogue) -> Held:
    """Two reports of one class as one. Speed that they do not agree on is not held; bits must be the same."""
    other = [name for name in one.operators if two.operators.get(name, one.operators[name]) != one.operators[name]]
    unequal = [name for name in one.facts if name in two.facts and two.facts[name] != one.facts[name]]
    numeric = [name for name in unequal if (row := rows.row(name)) and row.kind == "numeric"]
    if other or numeric:
        what = f"fact {numeric[0]}" if numeric else f"operator {other[0]}"
        raise AuditError(
            f"{first.file} and {second.file} are one class of hardware and do not agree in {what}; "
            "give one report a class"
        )
    facts = {name: value for name, value in {**one.facts, **two.facts}.items() if name not in unequal}
    return Held(one.known_by, facts, {**two.results, **one.results}, {**two.operators, **one.operators})


def _name(held: Held, classes: Mapping[str, Held]) -> str:
    """The class that is known by the same, or a new name: the architecture, the BLAS code, numpy's highest SIMD."""
    same = next((name for name, one in classes.items() if one.known_by == held.known_by), None)
    if same is not None:
        return same
    found = held.known_by.get("numpy.simd_found") or held.known_by.get("libm.features") or []
    highest = (
        sorted(map(str, found), key=lambda one: (one.startswith("AVX512"), one))[-1:] if isinstance(found, list) else []
    )
    gpus = [str(value) for name, value in sorted(held.known_by.items()) if name.startswith("gpu.")]
    parts = [held.known_by.get("cpu.machine"), held.known_by.get("blas.kernel"), *highest, *gpus[:1]]
    plain = " ".join(str(part) for part in parts if part) or "a machine"
    return next(name for name in [plain, *(f"{plain} ({n})" for n in range(2, 10_000))] if name not in classes)


# The file


def text(baseline: Baseline, rows: Catalogue) -> str:
    """The file. Everything is sorted but the classes, which stand as they were added: a new one moves no lines."""
    common = {section: _common(baseline.classes, section, rows) for section in _SECTIONS}
    unset = sorted(name for name, value in common["facts"].items() if value is None)
    common["facts"] = {name: value for name, value in common["facts"].items() if value is not None}
    everything = {**common["facts"], **dict.fromkeys(unset)}
    parts = [
        f' "format": {json.dumps(FORMAT)}',
        f' "version": {VERSION}',
        _lined("facts", common["facts"], 1),
        f' "unset": [\n{_wrapped([json.dumps(one) for one in unset], 2)}\n ]' if unset else ' "unset": []',
        _lined("results", common["results"], 1),
        _several("operators", common["operators"], 1),
        ' "classes": {\n'
        + ",\n".join(_class(name, held, {**common, "facts": everything}) for name, held in baseline.classes.items())
        + "\n }",
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _class(name: str, held: Held, common: Mapping[str, Mapping[str, Any]]) -> str:
    own = {section: _own(getattr(held, section), common[section]) for section in _SECTIONS}
    without = sorted(key for section in _SECTIONS for key in common[section] if key not in getattr(held, section))
    parts = [_lined("known_by", held.known_by, 3), _lined("facts", own["facts"], 3)]
    parts += [_lined("results", own["results"], 3)] if own["results"] else []
    parts += [_several("operators", own["operators"], 3)] if own["operators"] else []
    parts += [f'   "without": [\n{_wrapped([json.dumps(one) for one in without], 4)}\n   ]'] if without else []
    return f"  {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n  }"


def _own(mine: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mine.items() if key not in common or not _same(common[key], value)}


def _same(a: object, b: object) -> bool:
    return a == b and type(a) is type(b)


def _common(classes: Mapping[str, Held], section: str, rows: Catalogue) -> dict[str, Any]:
    """What most classes have alike; of equally many, what the first one has. A class's own facts are never common."""
    found: dict[str, Any] = {}
    several = [getattr(one, section) for one in classes.values()]
    for key in sorted(set().union(*several)):
        if section == "facts" and hold.of_class(key, rows):
            continue
        counts = Counter(json.dumps(one[key], sort_keys=True) if key in one else "" for one in several)
        most = max(counts, key=lambda encoded: counts[encoded])
        if most:
            found[key] = json.loads(most)
    return found


def _lined(name: str, found: Mapping[str, Any], indent: int) -> str:
    pad = " " * indent
    body = [f"{pad} {json.dumps(key)}: {json.dumps(found[key], sort_keys=True)}" for key in sorted(found)]
    return f'{pad}"{name}": {{\n' + ",\n".join(body) + f"\n{pad}}}" if body else f'{pad}"{name}": {{}}'


def _several(name: str, found: Mapping[str, str], indent: int) -> str:
    """Several on a line; a line never holds what does not begin alike, so that a new operator moves few lines."""
    pad = " " * indent
    groups: dict[str, list[str]] = {}
    for key in sorted(found):
        groups.setdefault(".".join(key.split(".")[:2]), []).append(f"{json.dumps(key)}: {json.dumps(found[key])}")
    body = ",\n".join(_wrapped(group, indent + 1) for group in groups.values())
    return f'{pad}"{name}": {{\n{body}\n{pad}}}' if body else f'{pad}"{name}": {{}}'


def _wrapped(items: list[str], indent: int) -> str:
    made, line = [], ""
    for item in items:
        if line and indent + len(line) + len(item) + 2 > _WIDTH:
            made.append(line)
            line = ""
        line += (", " if line else "") + item
    return ",\n".join(" " * indent + one for one in [*made, line])


def read(path: str, target: str | None = None, allow_edited: bool = False, also: Iterable[str] = ()) -> Baseline:
    """The baseline in `path`, or of a whole report that stands there. Raises AuditError: a line that says what is wrong
    with it, and where."""
    rows = catalogue()
    try:
        data = source.read(path)
        if b'"' + FORMAT.encode() + b'"' in data[:4096] or b'"format"' not in data:
            return _decoded(path, data, rows)
        found, notes = codec.decode(path, data, allow_edited)
    except codec.CodecError as error:
        hint = "; make it: audit baseline REPORT -o FILE" if "No such file" in str(error) else ""
        raise AuditError(f"{error}{hint}") from None
    if not isinstance(found, Report):
        raise AuditError(f"{path}: neither a baseline of audit baseline nor a report ({found.format})")
    targets = [one for one in found.targets if target in (None, one.name)]
    if len(targets) != 1:
        targets = [one for one in targets if one.name == "host"]
    if not targets:
        names = ", ".join(one.name for one in found.targets)
        raise AuditError(f"{path}: choose one target with {path}#TARGET; it has: {names}")
    whole = Measured(found.label, path, found, targets[0])
    return Baseline(path, made([whole], rows, also).classes, whole, notes)


def _decoded(path: str, data: bytes, rows: Catalogue) -> Baseline:
    again = "make it again: audit baseline REPORT -o FILE"
    if not data.strip():
        raise AuditError(f"{path}: empty; {again}")
    if len(data) > _MOST_BYTES:
        raise AuditError(f"{path}: {len(data):,} bytes are no baseline; {again}")
    try:
        written = data.decode("utf-8")
        tree = json.loads(written, object_pairs_hook=_once)
    except _Twice as error:
        raise AuditError(
            f"{path}{_at(written, error.key)}: {error.key!r} stands there twice; keep one of them"
        ) from None
    except json.JSONDecodeError as error:
        raise AuditError(f"{path}:{error.lineno}: not JSON: {error.msg}; undo the last edit, or {again}") from None
    except UnicodeDecodeError:
        raise AuditError(f"{path}: not UTF-8 text; {again}") from None
    except (RecursionError, ValueError):
        raise AuditError(f"{path}: no baseline ever looks like that; {again}") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise AuditError(f"{path}: not a baseline (no format {FORMAT!r} in it); {again}")
    where = lines.of_keys(written)
    version = tree.get("version")
    if type(version) is int and version > VERSION:
        raise AuditError(f"{path}: baseline version {version}; this audit reads up to {VERSION}: upgrade it")
    if type(version) is not int or version < 1:
        raise AuditError(f"{path}:{where.get(('version',), 1)}: there is no baseline version {version!r}; {again}")
    try:
        file = msgspec.convert(tree, _File)
    except msgspec.ValidationError as error:
        raise AuditError(_misfit(path, str(error), where, again)) from None
    _refuse_unspeakable(path, written)
    _refuse_unknown(path, file, where, rows)
    _refuse_digests(path, file, where, again)
    classes = {name: _whole(one, file) for name, one in file.classes.items()}
    if not any(classes.values()):
        raise AuditError(f"{path}: it holds nothing, and comparing nothing is never a pass; {again}")
    return Baseline(path, classes, _lines=where)


def _whole(own: _Class, file: _File) -> Held:
    """A class with what all have."""
    gone = set(own.without)
    common: list[dict[str, Any]] = [{**file.facts, **dict.fromkeys(file.unset)}, file.results, file.operators]
    mine: list[dict[str, Any]] = [own.facts, own.results, own.operators]
    kept = [{k: v for k, v in one.items() if k not in gone} for one in common]
    facts, results, operators = ({**one, **its} for one, its in zip(kept, mine, strict=True))
    return Held(own.known_by, facts, results, operators)


class _Twice(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return found


def _at(written: str, key: str) -> str:
    """The line of the second of two equal keys."""
    numbers = [number for number, line in enumerate(written.splitlines(), 1) if f"{json.dumps(key)}:" in line]
    return f":{numbers[min(1, len(numbers) - 1)]}" if numbers else ""


def _misfit(path: str, words: str, where: Mapping[lines.Path, int], again: str) -> str:
    """msgspec's words with the line: what it names last of the path is the nearest key."""
    reason, _, place = words.partition(" - at ")
    parts = tuple(part for part in place.strip("`").lstrip("$").replace("[...]", "").split(".") if part)
    unknown = reason.partition("unknown field `")[2].rstrip("`")
    line = next((where[one] for one in ((*parts, unknown), parts) if one in where), 0)
    if not line and parts:  # "[...]" stands for a key that msgspec does not name
        line = next((where[key] for key in where if key[:1] == parts[:1]), 0)
    named = difflib.get_close_matches(unknown, _File.__struct_fields__ + _Class.__struct_fields__, 1) if unknown else []
    meant = f" (did you mean {named[0]}?)" if named else ""
    return f"{path}:{line or 1}: {reason}{meant}; undo the edit, or {again}"


def _refuse_unspeakable(path: str, written: str) -> None:
    """JSON can escape half of a character, which no text can hold."""
    for number, line in enumerate(written.splitlines(), 1):
        escaped = "".join(_SURROGATE.findall(line))
        try:
            str(json.loads(f'"{escaped}"')).encode("utf-8")
        except UnicodeEncodeError:
            raise AuditError(f"{path}:{number}: half of a character, which is no text; undo the edit") from None


def _refuse_digests(path: str, file: _File, where: Mapping[lines.Path, int], again: str) -> None:
    """A digest that was cut would be equal to any other."""
    above: list[tuple[lines.Path, _File | _Class]] = [((), file)]
    above += [(("classes", name), own) for name, own in file.classes.items()]
    for place, one in above:
        if isinstance(one, _Class) and not one.known_by:
            line = where.get((*place, "known_by")) or where.get(place, 1)
            raise AuditError(f"{path}:{line}: a class that is known by nothing would be every machine's; {again}")
        for section, form in (("operators", _SHORT), ("results", _WHOLE)):
            for name, digest in getattr(one, section).items():
                if not form.fullmatch(digest):
                    line = where.get((*place, section, name), 1)
                    raise AuditError(
                        f"{path}:{line}: {digest[:40]!r} is no digest of {name}; undo the edit, or {again}"
                    )


def _refuse_unknown(path: str, file: _File, where: Mapping[lines.Path, int], rows: Catalogue) -> None:
    """A fact that is no fact would never be compared, and so never fail."""
    named: list[tuple[lines.Path, str]] = [(("facts",), name) for name in file.facts]
    named += [(("unset",), name) for name in file.unset]
    for one, own in file.classes.items():
        named += [
            (("classes", one, section), name) for section in ("facts", "known_by") for name in getattr(own, section)
        ]
    for section, name in named:
        if rows.row(name) is None:
            near = difflib.get_close_matches(name, [row.fact for row in rows.rows], 1)
            meant = f"did you mean {near[0]}?" if near else "was it written by a newer audit?"
            line = where.get((*section, name)) or where.get(section, 1)
            raise AuditError(f"{path}:{line}: there is no fact {name!r}; {meant}")
