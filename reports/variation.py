"""The typed model of a variation: what `audit vary` set on one machine, what each setting changed, and what pins it.

The keys of DESIGN section 7 stand here under their own names; what stands beside them is for renderings.
"""

from __future__ import annotations

from msgspec import Struct

from .comparison import FirstDivergence, Side

FORMAT = "audit-variation"
VERSION = 1


class Varied(Struct, frozen=True):
    """One setting, or several at once that together stand for a machine, and what it came to.

    name, value: of several the machine and the settings as a shell has them; component: what it decides, of several
    joined by ", ". changes_bits: None where it could not be tried, and `reason` says why. slowdown: how many times
    longer the jobs took (without jobs: the operators), None where not measured.

    settings: values by name. stands_for: the machines that give such bits, in words; machine: several at once. changed:
    the works whose bits changed ("job numpy", "operators"); operators: how many of the battery changed, of how many.
    loss_last: the last loss of each job. effect: the facts in effect under it. unsteady: works that did not give the
    same bits in every run under it, and did without.
    """

    name: str
    value: str
    component: str
    changes_bits: bool | None
    first_divergence: FirstDivergence | None
    slowdown: float | None
    settings: dict[str, str] = {}
    stands_for: str = ""
    machine: bool = False
    changed: list[str] = []
    operators: list[int] = []
    loss_last: dict[str, float] = {}
    effect: str = ""
    reason: str = ""
    unsteady: list[str] = []


class VariedJob(Struct, frozen=True):
    """A job that was varied: another version or configuration is another job."""

    name: str
    version: int
    configuration: str


class Spread(Struct, frozen=True):
    """What the final loss of one job came to over all settings. relative: (most - least) / |as it is|, None where that
    is zero; settings: how many gave one; learned: under how many of them the job learned."""

    least: float
    most: float
    usual: float
    relative: float | None
    settings: int
    learned: int


class Verified(Struct, frozen=True):
    """A machine as it is imitated under the pins: what was set altogether, in how many runs, and whether all of them
    gave the same bits as every other machine under the pins."""

    machine: str
    settings: dict[str, str]
    runs: int
    same: bool


class Variation(Struct, frozen=True):
    """pins: the cheapest settings that were found under which the jobs (without jobs: the operators) give the same bits
    on every machine of `pins_verified`; empty where none are needed or none were found, and `pins_reason` says which.

    works: what the pins hold for. kept: settings that the environment has already, which were not varied.
    nondeterministic: what the machine does not repeat as it is; no setting is blamed for it. skipped: what could not be
    measured, with the reason. noise: the slowest of its timings as it is over the fastest; a slow-down below that is
    none. validity: the libraries that all this holds for. interrupted: ended before everything was tried.
    """

    format: str
    version: int
    settings: list[Varied]
    pins: dict[str, str]
    pins_slowdown: float | None
    here: Side
    jobs: list[VariedJob]
    works: list[str]
    spread: dict[str, Spread]
    runs: int
    seconds: float
    pins_verified: list[Verified] = []
    pins_reason: str = ""
    kept: dict[str, str] = {}
    nondeterministic: list[str] = []
    skipped: dict[str, str] = {}
    noise: float | None = None
    validity: list[str] = []
    notes: list[str] = []
    interrupted: bool = False
    exit: int = 0
    next: str = ""
