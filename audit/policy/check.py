"""One check: a target against a baseline under a policy, with the verdict. Pure but for the day it is."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Literal

from msgspec.structs import replace

from audit.compare.side import Measured, told
from audit.errors import DIFFERS, INCOMPLETE, SAME
from audit.policy import against, findings, hold
from audit.policy.against import Asked, Compared
from audit.policy.baseline import Baseline
from audit.policy.policy import Policy
from audit.policy.says import Words
from reports.catalogue import Catalogue
from reports.checked import FORMAT, VERSION, Check, Finding
from reports.render.pages.words import count, joined, listed


def check(
    baseline: Baseline,
    now: Measured,
    policy: Policy,
    rows: Catalogue,
    asked: Asked,
    words: Words,
    today: datetime.date,
    previous: Collection[str] | None = None,
    notes: Collection[str] = (),
) -> Check:
    """Compare and judge. previous: identities of an earlier check's findings; those that are not among them are new."""
    compared = against.compare(baseline, now, policy, rows, asked)
    context = findings.Context(baseline, compared, policy, rows, hold.in_effect(now), words, today)
    found, quiet = findings.findings(context)
    if previous is not None:
        found = [replace(one, new=one.identity not in previous) for one in found]
    gaps = findings.gaps(context)
    verdict, status = _verdict(found, gaps, findings.died(context), compared.anything)
    return Check(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        findings=found,
        baseline=baseline.path,
        policy=policy.name,
        report=told(now.outline),
        held=compared.held,
        operators=compared.held_operators,
        fine=_fine(baseline, compared, quiet, asked),
        missing=gaps,
        notes=[
            *baseline.notes,
            *notes,
            *(
                [f"{now.target.name} is incomplete: {'; '.join(now.target.incomplete)}"]
                if now.target.incomplete
                else []
            ),
            *compared.notes,
            *_not_asked(baseline, compared, asked),
        ],
        first_divergence=compared.first,
        exit=status,
        next=_next(found, words, verdict),
    )


def _verdict(
    found: list[Finding], gaps: Mapping[str, str], died: int, anything: bool
) -> tuple[Literal["pass", "fail", "incomplete"], int]:
    """An error fails. What could not be compared makes a check incomplete, unless a person waived just that."""
    if not anything:
        return "incomplete", INCOMPLETE
    if any(one.severity == "error" and not one.waived for one in found):
        return "fail", DIFFERS
    if died or any(one.rule == "required-unreadable" and not one.waived for one in found):
        return "incomplete", INCOMPLETE
    waived = sum(one.rule == "unreadable" and one.waived for one in found)
    if len(set(gaps.values())) > waived:  # one finding a reason
        return "incomplete", INCOMPLETE
    return "pass", SAME


def _fine(baseline: Baseline, compared: Compared, quiet: int, asked: Asked) -> list[str]:
    """What is in order, each a sentence that begins with what it is about."""
    said = []
    if compared.known:
        several = count(len(baseline.classes), "class", "classes")
        said.append(f'hardware: this machine is class "{compared.of}", of {several} in the baseline')
    if compared.agreeing:
        said.append(
            f"results: {len(compared.agreeing):,} of {compared.held_operators[0]:,} operators agree bit for bit"
        )
    if compared.jobs_same:
        jobs = joined([f"job {name}" for name in compared.jobs_same])
        said.append(f"training: {jobs} {'agrees' if len(compared.jobs_same) == 1 else 'agree'} bit for bit")
    if compared.tolerated:
        said.append(f"tolerance: {listed(compared.tolerated, 3)} differ within the policy's tolerance")
    if quiet:
        said.append(f"quiet: {count(quiet, 'change')} that the policy is silent about")
    return said


def _incomplete(now: Measured) -> list[str]:
    why = "; ".join(now.target.incomplete)
    return [f"{now.target.name} is incomplete: {why}"] if why else []


def _not_asked(baseline: Baseline, compared: Compared, asked: Asked) -> list[str]:
    if asked.operators or not baseline.classes[compared.of].operators:
        return []
    held = len(baseline.classes[compared.of].operators)
    return [f"{count(held, 'operator')} are held and were not run: without --job none they are"]


def _next(found: list[Finding], words: Words, verdict: str) -> str:
    """The next command: how to accept what is there, if there is anything to accept."""
    changed = [one for one in found if one.accept.startswith("audit ") and not one.waived]
    if not changed:
        return ""
    return f"Next, once it is meant to be so:  {changed[0].accept}"
