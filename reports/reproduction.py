"""The typed model of a reproduction: what `audit reproduce` tried, what it proved, and the digests that show it.

A reader believes the digests, not the verdict: `reports.proof` works it out from the children again.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .comparison import Cause, FirstDivergence, RuledOut, Side

FORMAT = "audit-reproduction"
VERSION = 1

Verdict = Literal["reproduced", "same", "partly", "not-reproduced", "irreducible", "unknown", "nondeterministic"]


class Child(Struct, frozen=True, omit_defaults=True):
    """The works that ran under one set of settings, each in a process of its own, and what they gave.

    settings: values by name, "" for a variable taken out; packages: versions by name, where the environment was
    another; works: "operators", "job numpy" ...; digests: of each work, over all of its results (`reports.proof`);
    changed: results that are not the wanted bits, by name; failed: those that gave none, with the reason; seconds: of
    each work. died: why there is nothing.
    """

    settings: dict[str, str]
    works: list[str]
    digests: dict[str, str] = {}
    changed: dict[str, str] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    packages: dict[str, str] = {}
    died: str = ""


class Necessary(Struct, frozen=True):
    """What a setting is needed for: where results part without it."""

    first_divergence: FirstDivergence


class Tried(Struct, frozen=True):
    """One try to bring a component's operators to the wanted bits. before, after: how many of `compared` agree.

    outcome: "kept", "no effect", "not enough", "not needed", or why it could not be tried. effect: what was in
    effect under it. first_divergence: where jobs part under it, if that is another place than where they part as it is.
    """

    settings: dict[str, str]
    component: str
    before: int
    after: int
    compared: int
    outcome: str
    effect: str = ""
    packages: dict[str, str] = {}
    first_divergence: FirstDivergence | None = None


class Meeting(Struct, frozen=True):
    """Where two machines can meet of which this one cannot imitate the other: settings for each.

    level: what both have, in words. own: the library that goes by whose processor it is, where this one has all that
    the other's has; "" where it has not. record: how a program is run there, as the options of `audit run`.
    """

    level: str
    here: dict[str, str]
    there: dict[str, str]
    own: str = ""
    record: str = ""


class InImage(Struct, frozen=True):
    """The image in whose containers everything ran. name: what this engine calls it; same: it has the layers of the
    report's own."""

    name: str
    same: bool


class Reproduction(Struct, frozen=True):
    """wanted: the digest of everything that was to be reproduced, by name ("job numpy" for a job's). skipped: what of
    the report could not be compared, with the reason.

    code: for each setting that is no variable, the call in Python. packages: versions that are part of the proof;
    unavailable: those that could not be had, with the reason. cost: how many times longer each work took. digits:
    decimal digits to which what still differs agrees. interrupted: ended before everything was tried. steps: of a
    person's own program, how many of them each child made.
    """

    format: str
    version: int
    verdict: Verdict
    reproduced: bool
    settings: dict[str, str]
    necessary: dict[str, Necessary]
    residue: list[str]
    causes: list[Cause]
    children: list[Child]
    runs: int
    seconds: float
    there: Side
    here: Side
    wanted: dict[str, str]
    skipped: dict[str, str] = {}
    tried: list[Tried] = []
    ruled_out: list[RuledOut] = []
    first_divergence: FirstDivergence | None = None
    packages: dict[str, str] = {}
    necessary_packages: dict[str, Necessary] = {}
    unavailable: dict[str, str] = {}
    image: InImage | None = None
    meeting: Meeting | None = None
    digits: float | None = None
    cost: dict[str, float] = {}
    validity: list[str] = []
    notes: list[str] = []
    interrupted: bool = False
    code: dict[str, str] = {}
    steps: int = 0
    exit: int = 0
    next: str = ""
