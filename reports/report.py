"""The typed model of a report: the file that one `audit run` writes.

`probes` makes the same JSON shape without this code (it runs where nothing is installed), and `reports.codec` decodes
every report into these types, so a shape that does not fit is refused with the path of the first misfit.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

FORMAT = "audit-report"
VERSION = 1

Scalar = None | bool | int | float | str
Value = Scalar | list[Scalar] | dict[str, Scalar | list[Scalar]]
Missing = Literal["absent", "denied", "failed", "timeout"]


class Fact(Struct, frozen=True, omit_defaults=True):
    """One captured value with its source, or a stated reason why there is none."""

    value: Value = None
    source: str = ""
    status: Missing | None = None
    reason: str = ""


Facts = dict[str, Fact]


class Observation(Struct, frozen=True, omit_defaults=True):
    """The bits of one tensor: digest always; samples, sketch or text where they were kept.

    values: base64 of the sampled elements, little-endian: all of up to 256, else element k * n // 256.
    sketch: base64, see `audit.compare.sketch`.
    """

    digest: str = ""
    dtype: str = ""
    shape: list[int] = []
    values: str | None = None
    sketch: str | None = None
    text: list[str] | None = None


class Operator(Struct, frozen=True, omit_defaults=True):
    """One operator of the battery, as it came out on one machine.

    repeats: the digests of the further runs, only when they are not all equal to the first.
    status, reason: why there is no result.
    """

    name: str
    component: str
    version: int = 1
    through: list[str] = []
    control: bool = False
    threaded: bool = False
    wide: bool = False
    hazard: bool = False
    result: Observation | None = None
    repeats: list[str] | None = None
    status: Missing | None = None
    reason: str = ""


class Battery(Struct, frozen=True, omit_defaults=True):
    """All operators of one target. facts: facts in effect, read after the operators by the process that computed."""

    runs: int = 0
    seconds: list[float] = []
    facts: Facts = {}
    operators: list[Operator] = []
    absent: dict[str, str] = {}


class Row(Struct, frozen=True, omit_defaults=True):
    """One library call. inputs: n >= 0 is the row at position n of the same step, -(n+1) that of the step before.

    module, source: of a recorded program, the part of the model ("layers.3.attention") and the line ("train.py:41").
    """

    phase: str
    tensor: str
    operator: str
    components: list[str] = []
    inputs: list[int] = []
    dtype: str = ""
    shape: list[int] = []
    module: str = ""
    source: str = ""


class StepValue(Observation, frozen=True, omit_defaults=True, kw_only=True):
    """The kept values of one row at one step."""

    step: int
    row: int


class Trace(Struct, frozen=True, omit_defaults=True):
    """The ordered digests of a job's tensors; the layers are described in probes/trace.py, which writes them."""

    steps: int = 0
    phases: list[str] = []
    rows: list[Row] = []
    tree: list[str] = []
    digests: list[str] = []
    values: list[StepValue] = []
    sequence: dict[str, list[int]] = {}
    digest: str = ""


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What the training came to. losses: one a step."""

    loss_first: float | None = None
    loss_last: float | None = None
    losses: list[float] = []
    correct: int = 0
    examples: int = 0
    learned: bool = False


class Score(Struct, frozen=True, omit_defaults=True):
    """What a recorded program said of itself. stderr: its own standard error."""

    name: str
    value: float
    stderr: float | None = None


class Repeat(Struct, frozen=True, omit_defaults=True):
    """A further run of a job: its fingerprint and, when it is another, the first row that was not repeated. scores: of
    a recorded program, its own in that run."""

    digest: str = ""
    step: int | None = None
    row: int | None = None
    scores: list[Score] = []


class Job(Struct, frozen=True, omit_defaults=True):
    """One reference job, or one process of a recorded program (`reports.programs`), on one target.

    Of a recorded program: notes: what could not be seen; scores: in the order in which they were given.
    """

    name: str
    version: int = 1
    configuration: str = ""
    runs: int = 0
    seconds: list[float] = []
    facts: Facts = {}
    trace: Trace | None = None
    outcome: Outcome | None = None
    repeats: list[Repeat] = []
    status: Missing | None = None
    reason: str = ""
    notes: list[str] = []
    scores: list[Score] = []


class Target(Struct, frozen=True, omit_defaults=True):
    """What one interpreter gave. via: the program in front of it, without its arguments."""

    name: str
    probes: int = 1
    via: str | None = None
    interpreter: str = ""
    chosen: str = ""
    facts: Facts = {}
    unsteady: list[str] = []
    battery: Battery | None = None
    jobs: list[Job] = []
    incomplete: list[str] = []


class Auditor(Struct, frozen=True, omit_defaults=True):
    """Which auditor wrote the report. bundle: digest of the probes' sources."""

    version: str = ""
    bundle: str = ""


class Report(Struct, frozen=True, omit_defaults=True):
    """A report. digest: BLAKE2b-256 over the canonical bytes of everything but `digest` and `label`."""

    format: Literal["audit-report"]
    version: int
    label: str
    digest: str
    created: str
    auditor: Auditor
    targets: list[Target]
