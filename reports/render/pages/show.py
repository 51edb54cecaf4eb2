"""The page of one report: what was measured, what decides the numbers there, what was not seen, every fact (--all)."""

from __future__ import annotations

from ...report import Fact, Facts, Missing, Report, Target
from ..escape import cut
from . import measured, recorded
from .decides import decides
from .facts import known
from .overview import loss_curves, overview
from .page import Block, Code, Page, Row, Section, page, section, sentence
from .words import count, listed, value

NEXT = "Next, on the other machine:  audit run -o other.json        (then audit diff both files)"

LONGEST = 600
"""The most characters of one value with --all: what a person may still read."""


_PROMISE = "an image fixes packages and C library; CPU, kernel, driver and thread count are this machine's"


def show_page(report: Report, all: bool = False, folds: bool = False) -> Page:
    """The page of `audit show`. all: with every fact, its value and its source; folds: for a format that can unfold
    them, so what a person looks for comes first."""
    sections = []
    for target in report.targets:
        sections += target_sections(target, several=len(report.targets) > 1)
        facts = measured.every(target)
        unseen = [*recorded.notes(target), *measured.not_seen(facts)]
        sections.append(section(_rows("Not seen", unseen, most=0 if all else 6), left_out()))
        if all:
            sections += loss_curves(target)
            sections += overview(target) if folds else []
            sections += _everything(target)
    about = f"Written {report.created} by audit {report.auditor.version or '?'} (report {report.digest[:8]})"
    closing = about if all else f"{about}.  Every fact: --all"
    return page(measured.verdict(report), sections, closing, NEXT, subject=cut(report.label, LONGEST))


def target_sections(target: Target, several: bool) -> list[Section]:
    """What was measured and what decides the numbers; `audit run` shows the same."""
    facts = measured.every(target)
    prints = measured.fingerprints(target)
    name = f" on {target.name}" if several else ""
    deciding = tuple(Row((text,), mark) for mark, text in decides(target))
    return [
        section(
            sentence(
                "Measured",
                f"{target.name}: {_interpreter(target, facts)}" if several else _interpreter(target, facts),
            ),
            _rows("Jobs", measured.jobs(target)),
            _rows("Scores", recorded.scores(target), most=6),
            sentence("Compare", f"{prints}   (read these out)") if prints else None,
            sentence("Promise", _PROMISE) if target.name != "host" else None,
            _rows("CUDA", measured.misfits(facts)),
            _some("Unpinned", measured.unpinned(facts)),
            _some("Rebuilt", measured.rebuilt(facts)),
            _rows("Missing", measured.incomplete(target)),
            _rows("Unsteady", measured.unrepeated(target), most=6),
        ),
        section(Block("", deciding) if deciding else None, title=f"What decides your numbers{name or ' here'}"),
        section(
            _rows("", [f"! {text}" for text in measured.hazards(facts)]),
            title="May bite later (nothing is wrong now)",
        ),
    ]


def _some(label: str, text: str) -> Block | None:
    return sentence(label, text) if text else None


def _interpreter(target: Target, facts: Facts) -> str:
    """ "~/envs/ft/bin/python, Python 3.11.9 (your active conda environment)"."""
    version = value(facts["python.version"].value) if "python.version" in facts else ""
    parts = ", ".join(filter(None, (target.interpreter, f"Python {version}" if version else "")))
    why = f" ({target.chosen})" if target.chosen else ""
    return f"{parts or 'an interpreter that is not named'}{why}" + (f", through {target.via}" if target.via else "")


def _rows(label: str, texts: list[str], most: int = 0) -> Block | None:
    """A row a text; beyond `most` (0: none) the rest is counted."""
    if most and len(texts) > most:
        texts = [*texts[: most - 1], f"... {len(texts) - most + 1} more (--all)"]
    return Block(label, tuple(Row((text,)) for text in texts)) if texts else None


def left_out() -> Block:
    """What no report holds, so that it can be sent without a second thought."""
    kept_out = "host name, user name, UUIDs, data, command lines, other variables"
    return sentence("Left out", f"{kept_out} (audit show --sharing)")


def _everything(target: Target) -> list[Section]:
    """Every fact by facet, then what jobs saw otherwise, then every operator without a result."""
    facets: dict[str, list[Row]] = {}
    facts = measured.every(target)
    for name in sorted(facts):
        facets.setdefault(name.split(".", 1)[0], []).append(_fact(name, facts[name]))
    sections = [
        section(_table(rows), title=f"{facet} ({count(len(rows), 'fact')})", folded=True)
        for facet, rows in facets.items()
    ]
    for job in target.jobs:
        other = [_fact(name, fact) for name, fact in sorted(job.facts.items()) if fact.value != facts[name].value]
        sections.append(section(_table(other), title=f"Otherwise in job {job.name}", folded=True))
    battery = target.battery.operators if target.battery else []
    failed = tuple(Row((Code(one.name), _why(one.status, one.reason))) for one in battery if one.result is None)
    without = Block("", failed, ("operator", "why")) if failed else None
    sections.append(section(without, title="Operators without a result", folded=True))
    if target.unsteady:
        changed = sentence("", listed(target.unsteady, 50))
        sections.append(section(changed, title="Facts that changed between runs", folded=True))
    return sections


def _fact(name: str, fact: Fact) -> Row:
    if fact.status:
        return Row((Code(name), f"({_why(fact.status, fact.reason)})", fact.source), more=known(name))
    return Row((Code(name), cut(value(fact.value), LONGEST), fact.source), more=known(name))


def _why(status: Missing | None, reason: str) -> str:
    return ": ".join(part for part in (measured.MISSING[status] if status else "no result", reason) if part)


def _table(rows: list[Row]) -> Block | None:
    return Block("", tuple(rows), ("fact", "value", "source")) if rows else None
