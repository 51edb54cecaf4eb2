"""The page of `audit screen`: do the cores, or the GPUs, agree, which does not, in what, and what was not covered."""

from __future__ import annotations

from collections.abc import Sequence

from ...screening import Differing, Finding, Screening
from ..escape import cut
from .page import Block, Code, Page, Row, Tone, page, section, sentence
from .ranges import folded
from .words import component, count, joined, number, seconds

MOST = 6
"""Operators of one finding that are shown without `all`: one wrong unit makes hundreds differ."""

LABEL = 20
"""The longest label; a core's number has few digits, unless a file was made to annoy."""

_VERDICTS = {
    "wrong": ("IS WRONG", "ARE WRONG"),
    "intermittent": ("IS INTERMITTENT", "ARE INTERMITTENT"),
    "suspected": ("IS SUSPECTED", "ARE SUSPECTED"),
}

_UNITS = {"core": "core", "gpu": "GPU"}

_EVIDENCE = {
    "majority": "more than half of the {}s agree on others",
    "known answers": "what it gave is not right where the right answer is known",
    "it changed": "it gave two results for the same inputs, and the other {} one",
    "the report": "an earlier report has what the other {} gave",
    "other results": "it is wrong in other results, and the others are not",
    "itself": "it gave two results for the same inputs",
}


def screen_page(found: Screening, all: bool = False) -> Page:
    """The page of a screening. all: every operator that differs."""
    return page(
        _first(found),
        [
            section(*(block for one in found.findings for block in _finding(found, one, all))),
            section(_means(found), _silent(found), _measured(found), _products(found), _not_covered(found)),
        ],
        _closing(found),
        found.next if not found.next or found.next.startswith("Next") else f"Next:  {found.next}",
    )


def cores(numbers: Sequence[int]) -> str:
    """Cores folded into ranges: "0-3,8"."""
    return ",".join(one.strip("[]") for one in folded(map(str, sorted(numbers))))


def first_line(found: Screening) -> tuple[str, str]:
    """The verdict, and what it is about in one sentence."""
    if found.findings:
        return _accused(found)
    if found.verdict == "agrees":
        return "AGREES.", _agreeing(found)
    if found.silent and found.rounds:
        silent = [one.core for one in found.silent]
        return "INCOMPLETE.", f"No answer from {_named(found, silent)}, after {_rounds(found)}."
    if found.reason and found.rounds:
        return "INCOMPLETE.", f"It ended early, after {_rounds(found)}: {found.reason}."
    if len(found.cores) == 1 and found.unit == "core":
        return "INCOMPLETE.", f"There is core {found.cores[0]} and no other to compare it with."
    unit = _UNITS[found.unit]
    return "INCOMPLETE.", f"The limit of {seconds(found.limit)} was reached before one whole round on all {unit}s."


def _agreeing(found: Screening) -> str:
    """What agreed with what: of GPUs only those of one product can."""
    if len(found.products) > 1:
        return f"{_counted(found)} gave, each product for itself, the same bits in {_rounds(found)}."
    if found.products and len(found.cores) == 1:
        alone = f"{_named(found, found.cores)}, which has no other to be compared with,"
        return f"{alone} gave the same bits twice in {_rounds(found)}."
    return f"{_counted(found)} gave the same bits in {_rounds(found)}."


def short(found: Screening) -> str:
    """The first line in fewer words."""
    if not found.findings:
        verdict, said = first_line(found)
        return f"{verdict.rstrip('.')}: {said.rstrip('.')}"
    one = found.findings[0]
    if one.kind == "died":
        said = f"{one.reason} during {one.at}"
    else:
        first = one.operators[0] if one.operators else None
        mask = f" xor {_hex(first)}" if first and first.mask else ""
        said = f"{first.operator if first else ''}{mask}" + (
            f" (+{len(one.operators) - 1})" if one.operators[1:] else ""
        )
    named = sorted({core for other in found.findings if other.kind == one.kind for core in other.cores})
    again = f"again in {one.again} of {one.retests} re-tests" if one.retests else "not re-tested"
    return f"{one.kind.upper()} {_named(found, named)}: {said}, {again}"


def _first(found: Screening) -> tuple[Tone, str, str]:
    tones: dict[str, Tone] = {"agrees": "good", "incomplete": "unsure"}
    return (tones.get(found.verdict, "bad"), *first_line(found))


def _accused(found: Screening) -> tuple[str, str]:
    """The gravest finding, with all cores that are found the same."""
    one = found.findings[0]
    alike = [other for other in found.findings if other.kind == one.kind]
    named = sorted({core for other in alike for core in other.cores})
    which = _shouted(_named(found, named))
    more = (
        f" And {count(len(found.findings) - len(alike), 'more finding')}." if len(found.findings) > len(alike) else ""
    )
    if one.kind == "died":
        return f"{which} DIED.", f"Its process ended during {one.at}: {one.reason}; {_again(one)}.{more}"
    if one.kind == "disagree":
        pair = len(named) == 2
        which = _shouted(f"{_UNITS[found.unit]}s {named[0]} AND {named[1]}") if pair else which
        says = (
            "one of them is wrong, and nothing tells which" if pair else "no bits are those of more than half of them"
        )
        return f"{which} DISAGREE:", f"{says}. {_what(one)}; {_again(one)}.{more}"
    return f"{which} {_VERDICTS[one.kind][len(named) > 1]}.", f"{_what(one)}; {_again(one)}.{more}"


def _named(found: Screening, numbers: Sequence[int]) -> str:
    """ "core 3", "GPUs 0-3,8"."""
    return f"{_UNITS[found.unit]}{'' if len(numbers) == 1 else 's'} {cores(numbers)}"


def _counted(found: Screening) -> str:
    return count(len(found.cores), _UNITS[found.unit])


def _shouted(name: str) -> str:
    return name if name.startswith("GPU") else name.upper()


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _what(one: Finding) -> str:
    """The first operator, with the bits, and how many more there are."""
    if not one.operators:
        return "Bits differ"
    shown = one.operators[0]
    mask = f" differs in bits {_hex(shown)}" if shown.mask else " differs"
    more = f" (and {count(len(one.operators) - 1, 'more operator')})" if len(one.operators) > 1 else ""
    where = f"In {joined(map(component, one.components[:2]))}: " if one.components else ""
    return f"{where}{shown.operator}{mask}{more}"


def _hex(one: Differing) -> str:
    """The mask without leading zeros."""
    return f"{int(one.mask, 16):#x}"


def _again(one: Finding) -> str:
    if not one.retests:
        return "not re-tested: no time was left"
    if not one.again:
        return f"it did not come again in {count(one.retests, 're-test')}"
    return f"it came again in {one.again} of {count(one.retests, 're-test')}"


def _rounds(found: Screening) -> str:
    job = f" and the {found.job} job" if found.job else ""
    return f"{count(found.rounds, 'round')} of {count(found.operators, 'operator')}{job}"


def _finding(found: Screening, one: Finding, all: bool) -> list[Block]:
    unit = _UNITS[found.unit]
    label = cut(_capital(f"{unit} {cores(one.cores)}"), LABEL)
    if one.kind == "died":
        said = f"its process died in {one.unlike} of {count(one.runs, 'run')}, first during {one.at}: {one.reason}"
        return [sentence(label, said, weight=8)]
    if one.kind == "disagree":
        groups = joined(_named(found, group) for group in one.groups)
        said = f"{groups} in {one.unlike} of {count(one.runs, 'run')}; {_again(one)}"
        label = "Disagree"
    else:
        why = _EVIDENCE.get(one.evidence, "").format(unit)
        said = f"other bits in {one.unlike} of {count(one.runs, 'run')}; {_again(one)}: {why}"
    shown = one.operators if all else one.operators[:MOST]
    rows = tuple(Row(_row(each)) for each in shown)
    header = ("operator", "bits that differ", "elements", "runs")
    left = len(one.operators) - len(shown)
    return [sentence(label, said, weight=8), Block("", rows, header, left_out=left, least=1, weight=6)]


def _row(one: Differing) -> tuple[str, ...]:
    looked = f"{one.differing:,} of {one.elements:,}" if one.differing is not None and one.elements else ""
    return Code(one.operator), one.mask or one.where or "not kept", looked, number(one.unlike)


def _means(found: Screening) -> Block | None:
    named = sorted({core for one in found.findings if one.kind != "disagree" for core in one.cores})
    if not found.findings:
        return None
    which = _named(found, named) if named else f"one of these {_UNITS[found.unit]}s"
    traces = {"core": "machine checks", "gpu": "errors (Xid)"}[found.unit]
    said = f"what {which} computed may be wrong; the kernel's log may have {traces} of it"
    return sentence("Means", said, weight=6)


def _silent(found: Screening) -> Block:
    rows = [
        Row((f"{_UNITS[found.unit]} {one.core}", f"no answer before the limit; last seen at {one.at}"))
        for one in found.silent
    ]
    return Block("Silent", tuple(rows), least=min(3, len(rows)), weight=8)


def _measured(found: Screening) -> Block | None:
    if not found.cores:
        return None
    turns = f"{found.at_once} at a time" if 0 < found.at_once < len(found.cores) else "all at the same time"
    how = f", {turns}, each by a process of its own" if len(found.cores) > 1 else ""
    said = f"{_named(found, found.cores)}{how}; {seconds(found.seconds)}"
    rows = [Row((said,)), *([Row((f"{_rounds(found)}, by all of them",))] if found.exit else [])]
    return Block("Measured", tuple(rows), weight=7)


def _products(found: Screening) -> Block:
    """Which GPUs were compared with each other, and which with nothing."""
    rows = []
    for name, mine in found.products.items():
        how = "compared with each other" if len(mine) > 1 else "compared with itself only: no other is there"
        rows.append(Row((name, f"{_named(found, mine)}, {how}")))
    return Block("Products", tuple(rows), least=min(3, len(rows)), weight=8)


def _not_covered(found: Screening) -> Block:
    return sentence("Not covered", "; ".join(found.not_covered), weight=7)


def _closing(found: Screening) -> str:
    unit = _UNITS[found.unit]
    agree = f"the {unit} agrees with itself" if found.products and len(found.cores) == 1 else f"{unit}s agree"
    why = {0: agree, 1: f"a {unit} gave other bits", 3: "incomplete"}.get(found.exit, "")
    if found.exit == 1 and found.findings and found.findings[0].kind == "died":
        why = f"a {unit}'s process died"
    return f"Exit {found.exit} ({why})"
