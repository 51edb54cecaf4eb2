"""The typed model of what a fleet's reports say: which nodes give other bits than their class, and what is only there.

A node is one report, named by its label. Renderings of `audit fleet` are pure functions of it.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .comparison import Cause, FirstDivergence
from .report import Value

FORMAT = "audit-fleet"
VERSION = 1

Part = Literal["machine", "cpu", "gpu", "driver", "image"]
"""What a class is known by; see `audit.fleet.classes`."""

Verdict = Literal["confirmed", "nondeterministic", "not confirmed", "not re-tested"]
"""Of an outlier, after re-tests; see `audit.fleet.retest`."""

FleetVerdict = Literal["agree", "outliers", "undecided", "incomplete", "not-comparable"]


class Finding(Struct, frozen=True):
    """Nodes of which less can be said than was asked, and why.

    failed: the engine said why there is no report; undecided: they are of one class, disagree, and no result has a
    majority; alone: no other node is like it; other kinds as in `reports.comparison.NodeFinding`.
    """

    kind: Literal[
        "missing", "failed", "unusable", "incomplete", "late", "stale", "undecided", "alone", "unexpected", "clock"
    ]
    labels: list[str]
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether what was asked for is not all there."""
        return self.kind not in ("unexpected", "clock")


class Outlier(Struct, frozen=True):
    """Nodes of a class that give other bits than its reference, all the same ones, or that do not repeat themselves.

    rounds: in how many re-tests they and a control were measured. half: of the rounds on half of the CPUs, those that
    agreed with the control. unsteady: what they do not repeat. differs: what is not as in the class that they are held
    against, where they have none of their own. root, components: of the likeliest of `causes`; only: the facts that
    only they have.
    """

    labels: list[str]
    verdict: Verdict
    rounds: int = 0
    half: list[int] = []
    unsteady: list[str] = []
    differs: list[Part] = []
    first_divergence: FirstDivergence | None = None
    root: str | None = None
    components: list[str] = []
    causes: list[Cause] = []
    only: dict[str, Value] = {}


class Near(Struct, frozen=True):
    """Nodes of a class too small to have a majority, which are held against this one. differs: what is not as in it."""

    known_by: dict[Part, str]
    labels: list[str]
    differs: list[Part]


class NodeClass(Struct, frozen=True):
    """Nodes that should give the same bits. name: in words; labels: all nodes, those of `near` too.

    groups: by equal bits, largest first; reference: the first of them where it is a majority, else nobody is.
    ruled_out: components all of whose operators agree between the reference and every outlier, in plain words.
    """

    name: str
    known_by: dict[Part, str]
    labels: list[str]
    reference: list[str]
    groups: list[list[str]]
    near: list[Near] = []
    outliers: list[Outlier] = []
    ruled_out: list[str] = []


class Agreeing(Struct, frozen=True):
    """Nodes of any class that gave the same bits in everything they measured. folded: as Slurm writes node lists."""

    labels: list[str]
    folded: str


class Fleet(Struct, frozen=True):
    """expected: how many nodes should have reported, None where nobody said. reported: usable reports.

    slurm: what a job passes to srun to stay on nodes that agree (`--nodelist=...`), and to avoid those that do not
    (`--exclude=...`); rounds: how many re-tests were read; next: the command to type next.
    """

    format: str
    version: int
    verdict: FleetVerdict
    expected: int | None
    reported: int
    classes: list[NodeClass]
    findings: list[Finding] = []
    agreeing: list[Agreeing] = []
    slurm: list[str] = []
    rounds: int = 0
    notes: list[str] = []
    exit: int = 0
    next: str = ""
