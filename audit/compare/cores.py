"""Which core of a machine is wrong, from what each gave: pure, and the order of cores changes nothing.

A core is named where something tells that it is this one: more than half of the cores gave other bits; or it gave
something else than is right where that is known; or its bits changed while those of the others did not; or an earlier
report has what another core gave. Where nothing does, as of two cores that keep disagreeing, both are told and neither
is named.

The same holds of the GPUs of one product. A GPU that is alone of its product is held against itself: it computed every
round twice, and the second results stand under the complement of its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from reports.screening import Differing, Finding, Kind

Evidence = Literal["", "majority", "known answers", "it changed", "the report", "other results", "itself"]

JOB = "job "

_DIGEST_BYTES = 8


class Row(Struct, frozen=True):
    """What a row of a job is, see `probes/trace.py`."""

    phase: str
    operator: str
    components: list[str] = []


class Given(Struct, frozen=True):
    """What a core gave: of an operator the first of the elements in which cores are unequal, of how many; of a job its
    trace."""

    dtype: str = ""
    values: bytes = b""
    elements: int = 0
    unequal: int = 0
    digests: list[bytes] = []
    rows: list[Row] = []
    sequence: dict[str, list[int]] = {}


class Round(Struct, frozen=True):
    """One round as the probes tell it: see `probes/screen.py`."""

    number: int
    again: int
    cores: list[int]
    operators: int
    product: str = ""
    twice: bool = False
    digests: dict[str, dict[int, str]] = {}
    components: dict[str, list[str]] = {}
    values: dict[str, dict[int, Given | None]] = {}
    wrong: dict[int, list[str]] = {}
    died: dict[int, tuple[str, str]] = {}
    silent: dict[int, str] = {}


class _Odd(NamedTuple):
    """A core differed in an operator in the run at this place from what another gave, which has the right digest."""

    run: int
    core: int
    operator: str
    right: str
    evidence: Evidence


def findings(runs: Sequence[Round], report: Mapping[str, str] | None = None) -> list[Finding]:
    """What is wrong, the gravest first. runs: rounds and re-tests in the order in which they were run; report: digests
    of an earlier report, which has the inputs of round 0."""
    found: list[Finding] = []
    for product in dict.fromkeys(run.product for run in runs):
        found += _of_product([run for run in runs if run.product == product], report or {})
    order: tuple[Kind, ...] = ("wrong", "disagree", "died", "suspected", "intermittent")
    return sorted(found, key=lambda one: (order.index(one.kind), -one.unlike, one.cores))


def whole(runs: Sequence[Round]) -> int:
    """How many rounds all cores ended that did not die."""
    first = [run for run in runs if not run.again]
    broken = {run.number for run in first if run.silent or len(run.cores) * (1 + run.twice) < 2}
    return len({run.number for run in first} - broken)


def _of_product(runs: Sequence[Round], report: Mapping[str, str]) -> list[Finding]:
    odd, contested = ([*_changed(runs)], []) if runs[0].twice else _judged(runs, report)
    named = sorted({one.core for one in odd})
    found = [_named(runs, core, [one for one in odd if one.core == core]) for core in named]
    found += [_died(runs, core) for core in sorted({core for run in runs for core in run.died})]
    if contested:
        found.append(_disagreement(runs, contested))
    return found


# Who is odd


def _judged(runs: Sequence[Round], report: Mapping[str, str]) -> tuple[list[_Odd], list[tuple[int, str]]]:
    """Every core that is known to be odd, and the runs and operators of which that is not known of any. A core that is
    unreliable in one result has no voice in the others."""
    known = list(_known(runs))
    unreliable = {one.core for one in known}
    while True:
        odd, contested = _compared(runs, known, unreliable, report)
        more = {one.core for one in odd if one.evidence != "majority"} - unreliable
        if not (more and contested):
            return odd, contested
        unreliable |= more


def _known(runs: Sequence[Round]) -> Iterator[_Odd]:
    """Where a core has wrong what is known, and not all cores have: that would be no core's fault."""
    for place, run in enumerate(runs):
        for core, names in run.wrong.items():
            for name in names:
                digests = run.digests.get(name, {})
                right = next((digest for other, digest in digests.items() if name not in run.wrong.get(other, [])), "")
                if right:
                    yield _Odd(place, core, name, right, "known answers")


def _compared(
    runs: Sequence[Round], known: Sequence[_Odd], unreliable: set[int], report: Mapping[str, str]
) -> tuple[list[_Odd], list[tuple[int, str]]]:
    odd, contested = [*known], []
    settled = {(one.run, one.operator) for one in known}
    for place, run in enumerate(runs):
        for name, digests in run.digests.items():
            if len(set(digests.values())) > 1 and (place, name) not in settled:
                right, evidence = _right(runs, run, name, unreliable, report.get(name, "") if not run.number else "")
                if right:
                    odd += [_Odd(place, core, name, right, evidence) for core, d in digests.items() if d != right]
                else:
                    contested.append((place, name))
    return odd, contested


def _right(runs: Sequence[Round], run: Round, name: str, unreliable: set[int], reported: str) -> tuple[str, Evidence]:
    """The digest that is right, as far as can be told, and by what; "" where nothing tells. reported: what an earlier
    report has, "" if none."""
    digests = run.digests[name]
    same = [other.digests[name] for other in runs if other.number == run.number and name in other.digests]
    # A re-test may have fewer cores: what most of all had in the first run is right in it, too.
    for usual in (_majority(same[0].values()), _majority(digests.values())):
        if usual in digests.values():
            return usual, "majority"
    if reported in digests.values():
        return reported, "the report"
    seen: dict[int, set[str]] = {}
    for others in same:
        for core, digest in others.items():
            seen.setdefault(core, set()).add(digest)
    steady = {digest for gave in seen.values() if len(gave) == 1 for digest in gave}
    if len(steady) == 1 and any(len(gave) > 1 for gave in seen.values()):
        return steady.pop(), "it changed"
    trusted = _majority(digest for core, digest in digests.items() if core not in unreliable)
    return trusted, "other results" if trusted else ""


def _majority(digests: Iterable[str]) -> str:
    """The digest that more than half of them are, or ""."""
    counted = Counter(digests)
    return next((digest for digest, times in counted.items() if 2 * times > counted.total()), "")


def _changed(runs: Sequence[Round]) -> Iterator[_Odd]:
    """Where the GPU that computed all twice gave two results; of these the rarer is the odd one, or the later."""
    for place, run in enumerate(runs):
        for name, digests in run.digests.items():
            same = [other.digests[name] for other in runs if other.number == run.number and name in other.digests]
            gave = [digest for other in same for digest in other.values()]
            for core in run.cores:
                first, second = digests.get(core, ""), digests.get(~core, "")
                if first != second:
                    yield _Odd(place, core, name, max((first, second), key=gave.count), "itself")


# What is said of it


def _named(runs: Sequence[Round], core: int, odd: list[_Odd]) -> Finding:
    places = sorted({one.run for one in odd})
    retests = [
        place
        for place in range(places[0] + 1, len(runs))
        if _retest(runs[places[0]], runs[place]) and _took(runs[place], core)
    ]
    again = sum(place in places for place in retests)
    evidence = next(one.evidence for one in odd if one.run == places[0])
    kind: Kind = "wrong" if again else "intermittent" if retests else "suspected"
    if evidence == "itself":
        kind = "intermittent"  # how often it comes again: it is no other bits always
    names = dict.fromkeys(one.operator for one in sorted(odd, key=lambda one: (one.run, one.operator)))
    return Finding(
        kind,
        [core],
        [_differing(runs, [one for one in odd if one.operator == name]) for name in names],
        unlike=len(places),
        runs=sum(_took(run, core) for run in runs),
        again=again,
        retests=len(retests),
        evidence=evidence,
    )


def _retest(run: Round, later: Round) -> bool:
    return later.number == run.number and later.again > run.again


def _took(run: Round, core: int) -> bool:
    return core in run.cores or core in run.died


def _died(runs: Sequence[Round], core: int) -> Finding:
    places = [place for place, run in enumerate(runs) if core in run.died]
    retests = [place for place in range(places[0] + 1, len(runs)) if _retest(runs[places[0]], runs[place])]
    retests = [place for place in retests if _took(runs[place], core)]
    reason, at = runs[places[0]].died[core]
    return Finding(
        "died",
        [core],
        unlike=len(places),
        runs=sum(_took(run, core) for run in runs),
        again=sum(place in places for place in retests),
        retests=len(retests),
        reason=reason,
        at=at,
    )


def _disagreement(runs: Sequence[Round], contested: list[tuple[int, str]]) -> Finding:
    first, name = contested[0]
    groups: dict[str, list[int]] = {}
    for core, digest in sorted(runs[first].digests[name].items()):
        groups.setdefault(digest, []).append(core)
    places = sorted({place for place, _ in contested})
    retests = [place for place, run in enumerate(runs) if _retest(runs[first], run)]
    operators = []
    for operator in dict.fromkeys(name for _, name in contested):
        mine = [place for place, name in contested if name == operator]
        digests = runs[mine[0]].digests[operator]
        usual = digests[min(digests)]
        odd = [_Odd(place, core, operator, usual, "") for place in mine for core, d in digests.items() if d != usual]
        operators.append(_differing(runs, odd))
    return Finding(
        "disagree",
        sorted(runs[first].digests[name]),
        operators,
        unlike=len(places),
        runs=sum(len(run.cores) > 1 for run in runs),
        again=sum(place in places for place in retests),
        retests=len(retests),
        groups=sorted(groups.values(), key=lambda group: (-len(group), group)),
    )


def _differing(runs: Sequence[Round], odd: list[_Odd]) -> Differing:
    """What one operator gave else, of the runs in which values were kept."""
    name = odd[0].operator
    component = next(iter(runs[odd[0].run].components.get(name, [])), "")
    unlike = len({one.run for one in odd})
    mask = differing = width = 0
    elements: int | None = None
    for one in odd:
        mine, right = (_values(runs[one.run], name, digest) for digest in (_digest(runs, one), one.right))
        if mine is None or right is None:
            continue
        if name.startswith(JOB):
            component, where = _first_row(mine, right)
            return Differing(name, component, where=where, unlike=unlike)
        masks = list(_masks(mine, right))
        found = mine.unequal if mine.unequal > len(masks) else sum(map(bool, masks))
        if masks and (elements is None or found > differing):
            elements, differing = mine.elements, found
        width = _part(mine.dtype)
        for each in masks:
            mask |= each & (1 << 8 * width) - 1 | each >> 8 * width  # of a complex number both parts
    if elements is None:
        return Differing(name, component, unlike=unlike)
    return Differing(name, component, f"0x{mask:0{2 * width}x}", differing, elements, unlike=unlike)


def _digest(runs: Sequence[Round], one: _Odd) -> str:
    digests = runs[one.run].digests[one.operator]
    return next((digests[core] for core in (one.core, ~one.core) if digests.get(core, one.right) != one.right), "")


def _values(run: Round, name: str, digest: str) -> Given | None:
    """What some core gave that had this digest."""
    kept = run.values.get(name, {})
    return next((kept[core] for core, other in run.digests[name].items() if other == digest and kept.get(core)), None)


def _masks(mine: Given, right: Given) -> Iterator[int]:
    """The bits in which each element differs; nothing where there are no values to compare."""
    one, other, size = mine.values, right.values, _size(mine.dtype)
    if mine.dtype == right.dtype and len(one) == len(other):
        for at in range(0, len(one), size):
            yield int.from_bytes(one[at : at + size], "little") ^ int.from_bytes(other[at : at + size], "little")


def _size(dtype: str) -> int:
    """Bytes of an element."""
    digits = dtype.lstrip("bcfiu")
    return int(digits) if digits.isdigit() and 0 < int(digits) <= 32 else 1


def _part(dtype: str) -> int:
    """Bytes of a number: of a complex one, of each of its parts."""
    return _size(dtype) // 2 if dtype.startswith("c") else _size(dtype)


def _first_row(mine: Given, right: Given) -> tuple[str, str]:
    """The component of the first row of a job that differs, and where that is."""
    for step, (one, other) in enumerate(zip(mine.digests, right.digests, strict=False)):
        if one != other:
            at = next(at for at in range(len(one) + 1) if one[: at + 1] != other[: at + 1]) // _DIGEST_BYTES
            rows = mine.sequence.get(str(step), range(len(mine.rows)))
            row = mine.rows[rows[at]] if at < len(rows) and rows[at] < len(mine.rows) else Row("", "")
            return (row.components or [""])[0], f"step {step}, {row.phase}, {row.operator}"
    return "", ""
