"""What a search for the settings of another machine has come to, as a Reproduction: verdict, proof, cost, advice."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from audit.causes import settings
from audit.causes.effect import libraries
from audit.causes.extensions import LEVELS, cpu
from audit.causes.laboratory import OPERATORS, Under
from audit.causes.trials import Standing, Trials
from audit.compare import results as compared
from audit.errors import DIFFERS, INCOMPLETE, SAME
from reports import proof
from reports.comparison import Cause
from reports.reproduction import FORMAT, VERSION, Meeting, Necessary, Reproduction, Tried, Verdict


@dataclass
class Found:
    """It only grows, so that an interruption leaves what was found. kept: what helped; left: what of everything still
    differs under that; unavailable: packages that could not be tried, with the reason."""

    kept: Under = field(default_factory=Under)
    left: Standing = field(default_factory=Standing)
    tried: list[Tried] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def reproduction(trials: Trials, found: Found) -> Reproduction:
    """All that was found, whenever it ended."""
    kept, away = found.kept, sorted(found.left.away)
    necessary = {name: _needed(trials, kept, ("settings", name, value)) for name, value in kept.settings.items()}
    others = {name: _needed(trials, kept, ("packages", name, value)) for name, value in kept.packages.items()}
    side = trials.side(kept)
    left = trials.left() if away else None
    one = Reproduction(
        format=FORMAT,
        version=VERSION,
        verdict="same",
        reproduced=False,
        settings=kept.settings,
        necessary={name: one for name, one in necessary.items() if one},
        residue=away,
        causes=[],
        children=trials.children,
        runs=trials.laboratory.runs,
        seconds=round(trials.laboratory.seconds, 1),
        there=trials.comparison.reports[0],
        here=trials.comparison.reports[1],
        wanted=trials.wanted,
        skipped=trials.skipped,
        tried=found.tried,
        ruled_out=trials.comparison.ruled_out,
        first_divergence=(trials.parting(side) if kept and away else None)
        or trials.comparison.results.first_divergence,
        packages=kept.packages,
        unavailable=found.unavailable,
        notes=[*found.notes, *_advice(trials, found, left)],
        necessary_packages={name: one for name, one in others.items() if one},
        meeting=_meeting(trials, found, left),
        digits=_digits(trials, found),
        cost=_cost(trials, kept),
        validity=_validity(trials, kept),
        interrupted=found.interrupted,
        steps=(trials.laboratory.program.steps or 0) if trials.laboratory.program else 0,
        code={
            name: settings.BY_NAME[name].code.format(value=value)
            for name, value in settings.calls(kept.settings).items()
        },
    )
    proven = not proof.missing(one)
    about = [cause for cause in trials.comparison.causes if set(cause.components) & {*trials.suspects}]
    causes = [_cause(trials, found, cause, proven) for cause in about]
    if left and trials.fixed(left):
        own = msgspec.structs.replace(left, status="irreducible", settings={}, settings_on="")
        causes = [own, *(cause for cause in causes if cause.root != own.root)]
    verdict = _verdict(trials, found, proven, causes)
    done = verdict in ("reproduced", "same")
    return msgspec.structs.replace(
        one,
        verdict=verdict,
        reproduced=done,
        causes=causes,
        exit=SAME if done else INCOMPLETE if found.interrupted else DIFFERS,
    )


def _verdict(trials: Trials, found: Found, proven: bool, causes: list[Cause]) -> Verdict:
    away, start = found.left.away, trials.start.away
    if not start:
        same = trials.programs or trials.comparison.results.verdict == "identical"
        return "same" if same else "nondeterministic"
    if not away and proven:
        return "reproduced"
    if not away and _wavers(trials):
        return "nondeterministic"
    if away and len(away) < len(start):
        return "partly"
    if trials.programs and _wavers(trials):
        return "nondeterministic"
    if causes and all(one.status == "unknown" for one in causes):
        return "unknown"
    return "irreducible" if causes and all(one.status == "irreducible" for one in causes) else "not-reproduced"


def _wavers(trials: Trials) -> bool:
    """Whether anything gave other bits when it was run again."""
    seen: dict[str, str] = {}
    return any(
        seen.setdefault(repr((sorted(child.settings.items()), sorted(child.packages.items()), work)), digest) != digest
        for child in trials.children
        for work, digest in child.digests.items()
    )


def _cause(trials: Trials, found: Found, cause: Cause, proven: bool) -> Cause:
    """A cause with what was found out of it: it is proven where everything that it explains has the wanted bits
    under its own settings, irreducible where this machine has nothing to set."""
    own = {
        name: value for name, value in found.kept.settings.items() if settings.BY_NAME[name].decides(cause.components)
    }
    left = any(trials.passing(found.left.away, component) for component in cause.components)
    if (own or found.kept.packages) and not left and proven:
        return msgspec.structs.replace(cause, status="proven", settings=own, settings_on=trials.here.label)
    if cause.root is None or own:
        return msgspec.structs.replace(cause, settings=own)
    package = cause.root.startswith("packages.") and not found.kept.packages
    status = "suspected" if package or found.interrupted else "irreducible"
    return msgspec.structs.replace(cause, status=status, settings={}, settings_on="")


def _needed(trials: Trials, kept: Under, item: tuple[str, str, str]) -> Necessary | None:
    """Where results part without it."""
    rest = Under.of(one for one in kept.items if one != item)
    for position in trials.of(rest):
        if trials.children[position].changed and position in trials.sides:
            first = trials.parting(trials.sides[position])
            return Necessary(first) if first else None
    return None


def _digits(trials: Trials, found: Found) -> float | None:
    """Decimal digits to which everything that differs agrees; None where nothing does or it is not numbers."""
    if not found.left.away:
        return None
    battery = compared.battery(trials.there, trials.side(found.kept))
    rtols = [difference.size.smallest_rtol for _, difference in battery.differing]
    known = [one for one in rtols if one]
    return round(-math.log10(max(known)), 1) if known and len(known) == len(rtols) else None


def _meeting(trials: Trials, found: Found, left: Cause | None) -> Meeting | None:
    """Where both can meet, if this machine cannot go down to the other, or a library would not for whose processor it
    is. left: the cause of what still differs, with all settings that were tried."""
    here, there = trials.here, trials.there
    if not found.left.away or here.fact("cpu.machine") != there.fact("cpu.machine"):
        return None
    common = cpu(here) & cpu(there)
    words = next((words for words, needs in LEVELS.items() if needs <= common), "the same CPU")
    mine, its = settings.level(here, common), settings.level(there, common)
    if trials.programs:  # what it does not call has not to be set
        called = [*trials.suspects, *(left.components if left else ())]
        mine, its = (
            {name: value for name, value in one.items() if settings.BY_NAME[name].decides(called)}
            for one in (mine, its)
        )
    own = ""
    if settings.downwards(here, there):
        deciding = [settings.BY_NAME[name] for name in its if left and settings.BY_NAME[name].decides(left.components)]
        if left is None or not deciding or left.root is None or trials.fixed(left):
            return None
        own = deciding[0].component
    return Meeting(words, mine, its, own, trials.recorded)


def _cost(trials: Trials, kept: Under) -> dict[str, float]:
    """How many times longer each work took, best of its runs."""
    cost = {}
    for work in [OPERATORS, *(f"job {name}" for name in trials.jobs)] if kept else ():
        seconds = [[trials.children[n].seconds for n in trials.of(under)] for under in (Under(), kept)]
        best = [min((one[work] for one in runs if work in one), default=0.0) for runs in seconds]
        if all(best):
            cost[work] = round(best[1] / best[0], 2)
    return cost


def _advice(trials: Trials, found: Found, left: Cause | None) -> list[str]:
    """What else a person can do where no setting of any machine helps."""
    if left and trials.fixed(left):
        return [left.plain]
    mine, its = (side.fact("cpu.machine") for side in (trials.here, trials.there))
    if not found.left.away or mine == its:
        return []
    return [f"{mine} against {its}: no setting makes one compute like the other; one image with an emulator does"]


def _validity(trials: Trials, kept: Under) -> list[str]:
    """What the settings were proven with."""
    components = {settings.BY_NAME[name].component for name in kept.settings}
    return libraries(trials.side(kept), components | ({"ordering"} if kept.packages else set()))
