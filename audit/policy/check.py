"""One check: a target against a baseline under a policy, with the verdict. Pure but for the day it is."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Literal

from msgspec.structs import replace

from audit.compare.side import Measured
from audit.errors import DIFFERS, INCOMPLETE, SAME
from audit.policy import against, findings, hold, says
from audit.policy.against import Asked, Compared
from audit.policy.baseline import Baseline
from audit.policy.policy import Policy
from reports import fingerprint
from reports.catalogue import Catalogue
from reports.checked import FORMAT, VERSION, Check, Finding
from reports.comparison import Side


def check(
    baseline: Baseline,
    now: Measured,
    policy: Policy,
    rows: Catalogue,
    asked: Asked,
    words: says.Words,
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
    verdict, status = _verdict(found, gaps, compared.anything)
    return Check(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        findings=found,
        baseline=baseline.path,
        policy=policy.name,
        report=_side(now),
        held=compared.held,
        operators=compared.held_operators,
        fine=_fine(baseline, compared, quiet, asked),
        missing=gaps,
        notes=[
            *baseline.notes,
            *notes,
            *(f"{now.target.name} is incomplete: {why}" for why in now.target.incomplete),
            *compared.notes,
            *_not_asked(baseline, compared, asked),
        ],
        first_divergence=compared.first,
        exit=status,
        next=_next(found, words, verdict),
    )


def _verdict(
    found: list[Finding], gaps: Mapping[str, str], anything: bool
) -> tuple[Literal["pass", "fail", "incomplete"], int]:
    """An error fails. What could not be compared makes a check incomplete, unless a person waived just that."""
    if not anything:
        return "incomplete", INCOMPLETE
    if any(one.severity == "error" and not one.waived for one in found):
        return "fail", DIFFERS
    if any(one.rule == "required-unreadable" and not one.waived for one in found):
        return "incomplete", INCOMPLETE
    waived = sum(one.rule == "unreadable" and one.waived for one in found)
    if len(set(gaps.values())) > waived:  # one finding a reason
        return "incomplete", INCOMPLETE
    return "pass", SAME


def _fine(baseline: Baseline, compared: Compared, quiet: int, asked: Asked) -> list[str]:
    """What is in order, each a sentence that begins with what it is about."""
    said = []
    if compared.known:
        several = says.count(len(baseline.classes), "class", "classes")
        said.append(f'hardware: this machine is class "{compared.of}", of {several} in the baseline')
    if compared.agreeing:
        said.append(
            f"results: {len(compared.agreeing):,} of {compared.held_operators[0]:,} operators agree bit for bit"
        )
    if compared.jobs_same:
        jobs = says.joined([f"job {name}" for name in compared.jobs_same])
        said.append(f"training: {jobs} {'agrees' if len(compared.jobs_same) == 1 else 'agree'} bit for bit")
    if compared.tolerated:
        said.append(f"tolerance: {says.listed(compared.tolerated)} differ within the policy's tolerance")
    if quiet:
        said.append(f"quiet: {says.count(quiet, 'change')} that the policy is silent about")
    return said


def _not_asked(baseline: Baseline, compared: Compared, asked: Asked) -> list[str]:
    if asked.operators or not baseline.classes[compared.of].operators:
        return []
    held = len(baseline.classes[compared.of].operators)
    return [f"{says.count(held, 'operator')} are held and were not run: without --job none they are"]


def _next(found: list[Finding], words: says.Words, verdict: str) -> str:
    """The next command: how to accept what is there, if there is anything to accept."""
    changed = [one for one in found if one.accept.startswith("audit ") and not one.waived]
    if not changed:
        return ""
    return f"Next, once it is meant to be so:  {changed[0].accept}"


def _side(now: Measured) -> Side:
    outline = now.outline
    return Side(
        label=outline.label,
        target=outline.target,
        digest=outline.digest,
        file=outline.file,
        results={name: fingerprint.short(ran.digest) for name, ran in outline.jobs.items()},
        environment=outline.environment,
        runs=outline.runs,
        summary=outline.summary,
        nondeterministic=outline.nondeterministic,
        incomplete=outline.incomplete,
    )
