"""The typed model of a check: what `audit check` found against a baseline, for every output format.

The keys of DESIGN section 7 stand under their own names; what stands beside them is for renderings.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .comparison import FirstDivergence, Side
from .report import Value

FORMAT = "audit-check"
VERSION = 1

Severity = Literal["error", "warning", "info"]


class Change(Struct, frozen=True):
    """One held line of the baseline that is another now. line: in the baseline file, counted from 1; 0: none."""

    fact: str
    before: Value
    now: Value
    line: int = 0


class Finding(Struct, frozen=True):
    """What a rule has to say, folded by root: one image that moved fifty facts is one finding.

    rule: a stable id ("results-changed", "numeric-drift", "unknown-class" ...); fact: the root, or what the rule is
    about; message: one sentence; changes: the root's own first, then what is folded into it; operators: with other
    bits; because, came_with, effect: further sentences for a person; keep, accept, postpone: how to do that; waived:
    by a waiver (reason in `waiver`); new: None without --previous; identity: stable over runs, from rule and fact.
    """

    rule: str
    fact: str
    severity: Severity
    message: str
    waived: bool = False
    new: bool | None = None
    identity: str = ""
    components: list[str] = []
    changes: list[Change] = []
    operators: list[str] = []
    because: str = ""
    came_with: str = ""
    effect: str = ""
    keep: str = ""
    accept: str = ""
    postpone: str = ""
    waiver: str = ""
    line: int = 0


class Check(Struct, frozen=True):
    """baseline, policy: the files' names. held: lines of the baseline that were compared, of how many. fine: sentences
    on what is in order ("this runner is class ..., 1 of 3 in the baseline"). missing: required or held facts that
    could not be read, with the reason: they make a check incomplete."""

    format: str
    version: int
    verdict: Literal["pass", "fail", "incomplete"]
    findings: list[Finding]
    baseline: str
    policy: str
    report: Side
    held: list[int]
    operators: list[int] = []
    fine: list[str] = []
    missing: dict[str, str] = {}
    notes: list[str] = []
    first_divergence: FirstDivergence | None = None
    exit: int = 0
    next: str = ""
