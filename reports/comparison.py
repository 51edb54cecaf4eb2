"""The typed model of a comparison: one tree that every rendering of `audit diff` is a pure function of.

The keys of DESIGN section 7 stand here under their own names; what stands beside them is for renderings.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .report import Value

FORMAT = "audit-comparison"
VERSION = 1

ResultsVerdict = Literal[
    "identical", "within-tolerance", "diverged", "nondeterministic", "not-comparable", "not-measured"
]


class Side(Struct, frozen=True):
    """One compared target of one report, in the order given.

    results: short fingerprint a job; environment: short fingerprint over the facts that can change bits.
    runs: fresh runs of what was repeated least (0: nothing was measured); summary: "Python 3.11.9, numpy 2.4.6".
    """

    label: str
    target: str
    digest: str
    file: str = ""
    results: dict[str, str] = {}
    environment: str = ""
    runs: int = 0
    summary: str = ""
    nondeterministic: list[str] = []
    incomplete: list[str] = []


class Ulp(Struct, frozen=True):
    """ULP differences over the differing elements that were seen; None where not measured (see `reason`)."""

    p50: int | None = None
    p99: int | None = None
    max: int | None = None
    at_largest: int | None = None


class Example(Struct, frozen=True):
    """One element as bits on the reference and on the other side: index into the tensor, hex, and as a number."""

    index: list[int]
    bits: list[str]
    values: list[str]


class Size(Struct, frozen=True):
    """How large a divergence is.

    elements: of the tensor; differing: how many differ (None: not known exactly); fraction: of elements, estimated
    from `seen` sampled elements where differing is None. ulp_norm: L2 norm of all ULP differences, from the sketch.
    reason: why something is not measured. smallest_rtol: the relative tolerance that would have passed.
    """

    elements: int = 0
    differing: int | None = None
    fraction: float | None = None
    seen: int = 0
    ulp: Ulp = Ulp()
    ulp_norm: float | None = None
    nan: int = 0
    infinite: int = 0
    signed_zero: int = 0
    smallest_rtol: float | None = None
    example: Example | None = None
    reason: str = ""


_ROUNDING = 1000
"""ULP (p99)."""

_FLOATS = ("f", "c", "bf")
"""How their dtypes begin."""


class FirstDivergence(Struct, frozen=True):
    """Where results first part: the first row whose inputs are equal and whose output is not.

    module, source: of a recorded program, which part of the model it is ("layers.3") and the line ("train.py:41");
    dtype: of the tensor, as `Observation` has it.
    """

    job: str
    step: int | None
    phase: str | None
    tensor: str | None
    operator: str
    components: list[str]
    elements: int | None
    differing: int | None
    ulp: Ulp
    size: Size = Size()
    inputs_equal: bool = True
    labels: list[str] = []
    module: str = ""
    source: str = ""
    dtype: str = ""

    @property
    def rounding(self) -> bool:
        """Whether it is no larger than rounding usually leaves: then neither side is more right. Of integers, or where
        it was not measured, it is not."""
        p99 = self.size.ulp.p99
        of_floats = self.dtype.startswith(_FLOATS) or not self.dtype
        return of_floats and p99 is not None and p99 <= _ROUNDING and not (self.size.nan or self.size.infinite)

    @property
    def untold(self) -> bool:
        """Whether it is of floats whose values are not in the files: it may be rounding, or not."""
        return self.dtype.startswith(_FLOATS) and not self.size.seen


class OperatorDifference(Struct, frozen=True):
    """An operator with other bits. components: its own first, then those it passes through."""

    operator: str
    components: list[str]
    size: Size
    digests: list[str | None] = []


class Operators(Struct, frozen=True):
    """compared: operators both sides have; agreeing and total by component."""

    compared: int
    differing: list[OperatorDifference]
    by_component: dict[str, list[int]] = {}


class Followed(Struct, frozen=True):
    """A tensor in every step that was looked at. cells: one character a step: "=" the same bits, "x" others, "." not
    there. count: of how many tensors, in the order of work, these are the first's names; "x" is then any of them."""

    phase: str
    tensor: str
    operator: str
    cells: str
    count: int = 1


class Kept(Struct, frozen=True):
    """How far a tensor lies apart at one step, where both files kept values of it. fraction: as in `Size`, 0 where the
    bits are the same."""

    step: int
    phase: str
    tensor: str
    operator: str
    fraction: float | None = None
    ulp: Ulp = Ulp()


class Course(Struct, frozen=True):
    """What became of a divergence of one job, between the two sides `labels`.

    steps: those that both have; every: so many steps apart are those that were looked at, from step 0. along: the
    step of the first divergence, in the order of work; kept: the same tensors over the steps. losses: one list a side,
    of every `losses_every`-th step.
    """

    labels: list[str]
    steps: int
    every: int = 1
    tensors: list[Followed] = []
    along: list[Kept] = []
    kept: list[Kept] = []
    losses: list[list[float]] = []
    losses_every: int = 1


class ScoreResult(Struct, frozen=True):
    """A score on all sides. values, spreads: one a side, None where it is not known.

    spreads: how far a side's own runs lie apart, or twice the standard error that the program gave. verdict: whether
    the sides lie further apart than they do by themselves; "unknown": no side said how far that is.
    """

    name: str
    verdict: Literal["same", "within", "beyond", "unknown"]
    values: list[float | None]
    spreads: list[float | None] = []


class JobResult(Struct, frozen=True):
    """One job on all sides. fingerprints, loss_last, learned: one a side. loss_step: first step with another loss.

    groups: labels of the sides that ran it, by its result, largest first; a side that does not repeat it is alone.
    course: of a job that parted, of the reference and the side that `first_divergence` is about. Of a recorded program:
    recorded: how many steps of it each side has (`steps` were compared); operators: whether single operators were
    recorded, in the step where it parts; notes: what could not be seen; scores: what the program said of itself.
    """

    name: str
    verdict: ResultsVerdict
    steps: int = 0
    tensors: int = 0
    fingerprints: list[str | None] = []
    loss_step: int | None = None
    loss_last: list[float | None] = []
    learned: list[bool | None] = []
    first_divergence: FirstDivergence | None = None
    reason: str = ""
    groups: list[list[str]] = []
    course: Course | None = None
    recorded: list[int | None] = []
    operators: bool = False
    notes: list[str] = []
    scores: list[ScoreResult] = []


class Results(Struct, frozen=True):
    """by_group: for each component (and "job") and each of its operators, one character for each of the first groups
    of the comparison: equal characters are equal bits, "-" is not measured or not repeated."""

    verdict: ResultsVerdict
    first_divergence: FirstDivergence | None
    operators: Operators
    jobs: list[JobResult] = []
    nondeterministic: list[str] = []
    by_group: dict[str, dict[str, str]] = {}


class FactDifference(Struct, frozen=True):
    """A fact that is not the same everywhere. values: one a side, None where it is unset or not there.

    works: for a fact in effect, in which processes it differs ("operators", "job numpy"); empty for machine facts.
    changes: for lists and mappings, what changed in words ("+AVX512F", "-FMA"). why: why it had no effect.
    lacking: positions of sides that could not be compared; their value is None, and `not_compared` has the reason.
    """

    fact: str
    kind: Literal["numeric", "performance", "identity", "volatile"]
    components: list[str]
    values: list[Value]
    works: list[str] = []
    changes: list[str] = []
    meaning: str = ""
    why: str = ""
    lacking: list[int] = []


class NotCompared(Struct, frozen=True):
    """A fact, operator or job that one side lacks, and why."""

    fact: str
    reason: str


class Environment(Struct, frozen=True):
    differences: list[FactDifference]
    not_compared: list[NotCompared]
    same: int = 0


class Evidence(Struct, frozen=True):
    """One line under a cause: a differing fact with its values, and what speaks for it."""

    fact: str
    values: list[Value]
    note: str = ""
    root: bool = False


class Cause(Struct, frozen=True):
    """A root and the components it moved. facts: the differing facts on the way from the root to the components.

    settings: under them the side labelled `settings_on` should give the other's bits.
    title: what the first line says ("OpenBLAS multiplies matrices by other code"); plain: one sentence.
    alternatives: other differing roots that could explain the same, less likely.
    """

    root: str | None
    components: list[str]
    status: Literal["suspected", "proven", "irreducible", "unknown"]
    facts: list[str]
    operators: list[str]
    settings: dict[str, str]
    plain: str
    title: str = ""
    evidence: list[Evidence] = []
    alternatives: list[str] = []
    labels: list[str] = []
    settings_on: str = ""


class RuledOut(Struct, frozen=True):
    """A component whose operators all agree. differing_facts: facts of it that differ and had no effect."""

    component: str
    operators: int
    differing_facts: list[str]
    plain: str = ""


class Group(Struct, frozen=True):
    """Sides that agree with each other; the first group is the reference.

    root, components: of the likeliest cause why it parts from the reference. only: the values that its members have
    and nobody else has, of facts that can change bits or speed.
    """

    labels: list[str]
    first_divergence: FirstDivergence | None
    root: str | None = None
    components: list[str] = []
    only: dict[str, Value] = {}


class Hazard(Struct, frozen=True):
    """Something that varies by design and may bite."""

    name: str
    plain: str


class ImagePackage(Struct, frozen=True):
    """A package that two images do not have alike. versions, layers: one a side, None where it is not there, and where
    the layer was not looked for; a digest stands for the version where that is the same."""

    name: str
    versions: list[str | None]
    layers: list[str | None]
    fact: str


class Images(Struct, frozen=True):
    """How images differ. layers: how many each side has; shared: how many of them, from the lowest, all have.

    recipe: the facts of their recipes that differ; None where not every side was built from one. packages: of two
    sides, those that are not the same.
    """

    layers: list[int]
    shared: int
    recipe: list[str] | None = None
    packages: list[ImagePackage] = []

    @property
    def one(self) -> bool:
        """Whether all sides are one image: then what differs comes from under it, which no image holds."""
        return all(count == self.shared for count in self.layers)


class NodeFinding(Struct, frozen=True):
    """Nodes that did not report as they should have, and why.

    missing: expected, and there is no report; unusable: its file cannot be read; incomplete: something of it was not
    measured; late, stale: its file was written so long after or before most that it is of another round. Two are only
    said: unexpected: nobody expected this report; clock: when it says that it was made does not fit its file.
    """

    kind: Literal["missing", "unusable", "incomplete", "late", "stale", "unexpected", "clock"]
    labels: list[str]
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether what was asked for is not all there."""
        return self.kind not in ("unexpected", "clock")


class Attendance(Struct, frozen=True):
    """Who of those that should report did. expected: how many should; reported: of how many of them there is a usable
    report; within: seconds from the median time of all files, beyond which a report is late or stale."""

    expected: int
    reported: int
    within: float
    findings: list[NodeFinding] = []

    @property
    def whole(self) -> bool:
        """Whether all that were expected reported, in this round and completely."""
        return not any(one.counts for one in self.findings)


class Gap(Struct, frozen=True):
    """How far the final losses of one job lie apart, and how far those of a saved variation: what settings alone do on
    one machine. times: gap / spread, None where settings change no final loss."""

    job: str
    gap: float
    spread: float
    times: float | None


class Comparison(Struct, frozen=True):
    format: str
    version: int
    verdict: Literal["same", "differs", "not-comparable", "incomplete"]
    reports: list[Side]
    results: Results
    environment: Environment
    causes: list[Cause]
    ruled_out: list[RuledOut]
    groups: list[Group]
    hazards: list[Hazard] = []
    notes: list[str] = []
    images: Images | None = None
    gaps: list[Gap] = []
    attendance: Attendance | None = None
    exit: int = 0
    fail_on: Literal["results", "numeric", "any"] = "numeric"
    next: str = ""
