"""Why a recorded program parts. Another program, other data and other weights are told apart before any arithmetic is
blamed: a row of the phases `setup` and `data` says what the training starts from, not what it computes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from msgspec import structs

from audit.causes import settings
from audit.causes.attribute import Explanation, Symptom
from audit.causes.words import value
from audit.compare.programs import dispatches
from audit.compare.results import Battery, Parting
from audit.compare.side import Measured
from reports.comparison import Cause, Comparison, Evidence, FactDifference, FirstDivergence
from reports.programs import BEFORE_WORK, explaining, is_given, is_program, is_start, kind
from reports.render.pages.words import joined, listed
from reports.report import Row

_RUN = {
    "program.sources": "not the same program",
    "program.arguments": "not the same program: its arguments differ",
    "program.world_size": "not the same number of processes",
    "program.precision": "not the same precision",
    "program.batch": "not the same batch size",
}
"""What makes two runs something else than one program on two machines, the first of them first."""

_FRAMEWORKS = (
    ("aten.", ("aten", "onednn", "mkl", "cuda", "libm", "fpu")),
    ("xla.", ("xla", "cuda", "fpu")),
    ("", ("blas", "numpy", "libm", "fpu", "python")),
)
"""Facts in effect that only a process with this framework has, and the components that its work passes through."""

_DATA = ("numpy", "blas", "libm", "fpu", "python")
"""What computes batches beside the framework."""


def symptoms(
    parting: Parting, battery: Battery, differences: Collection[FactDifference], side: Measured
) -> list[Symptom]:
    """What a program's parting rows speak for. differences: the facts that are not the same.

    An operator names its own components. What steps alone recorded passes through all that the framework has: it can
    be laid only at those that the battery saw moved, and to none where it saw none. Where there was no battery, and the
    framework has no operators to be seen, all those are suspected of which facts in effect differ.
    """
    first = parting.result.first_divergence
    if not is_program(parting.result.name) or first is None:
        return []
    differing = {one.fact for one in differences}
    seeded = "program.seeds" in differing or any(row.tensor.startswith("generator.") for row in parting.rows)
    rounded = first.rounding and not any(row.dtype[:1] in "iu" for row in parting.rows)
    passes = _passes(side, parting.result.name)
    moved = {operator.component for operator, _ in battery.differing}
    untold = not (battery.differing or battery.agreeing or dispatches(side, parting.result.name))
    if untold:
        moved = {name for one in differences if one.kind == "numeric" and one.works for name in one.components}
    able = [name for name in passes if name in moved]
    of_data = [name for name in _DATA if name in moved]
    found = [_symptom(row, seeded, rounded, able, of_data) for row in parting.rows]
    if untold:  # each of them may be why
        found = [replace(one, through=(name,)) for one in found for name in one.through]
    return [one for one in found if one.through]


def _symptom(row: Row, seeded: bool, rounded: bool, able: list[str], of_data: list[str]) -> Symptom:
    through = tuple(row.components) or tuple(able)
    drawn = seeded and row.phase in BEFORE_WORK
    if drawn or is_start(row.phase, row.operator, row.tensor) or is_given(row.operator, row.phase, row.components):
        if seeded:
            through = ("random",)
        elif rounded:
            through = tuple(dict.fromkeys([*of_data, *able]))
        elif row.tensor.startswith("weight:"):
            through = tuple(able) or ("random",)
        else:
            through = ("ordering",)
    return Symptom(row.tensor, through, threaded=True, is_row=True)


def _passes(side: Measured, job: str) -> tuple[str, ...]:
    facts = [name for name, one in side.works().get(f"job {job}", {}).items() if one.status is None]
    of_framework = (components for start, components in _FRAMEWORKS if any(name.startswith(start) for name in facts))
    found = next(of_framework, _FRAMEWORKS[-1][1])
    # A torch that was built without MKL calls another library for its products.
    return (*found, "blas") if "aten" in found and side.fact("mkl.version") is None else found


def other_run(differences: Iterable[FactDifference], labels: list[str]) -> list[Cause]:
    """The cause that comes before all others where it is not the same program, or not run in the same way."""
    known = {one.fact: one for one in differences}
    found = [known[name] for name in _RUN if name in known]
    if not found:
        return []
    first = found[0]
    title = _RUN[first.fact]
    if first.fact == "program.sources":
        title += f": {_which(first)}"
    elif first.fact != "program.arguments":
        title += f" ({' / '.join(value(one) for one in first.values)})"
    return [
        Cause(
            root=first.fact,
            components=[],
            status="suspected",
            facts=[one.fact for one in found],
            operators=[],
            settings={},
            plain="What the program does otherwise is no matter of machines: run the same one on"
            f" {joined(labels)}, then compare again.",
            title=title,
            evidence=[line for one in found for line in _evidence(one, one is first)],
            labels=labels,
        )
    ]


def with_other_run(parting: Parting, differences: Iterable[FactDifference], labels: list[str]) -> Parting:
    """A program that cannot be compared, with the reason that comes before all others: it is not the same one."""
    result = parting.result
    other = other_run(differences, labels) if is_program(result.name) and result.verdict == "not-comparable" else []
    if not other:
        return parting
    return replace(parting, result=structs.replace(result, reason=f"{other[0].title}; {result.reason}"))


def suspects(comparison: Comparison, there: Measured, here: Measured, job: str) -> list[str]:
    """The components of which settings are tried for a program: those of where it parts first, then whatever else its
    framework has that the battery saw moved or that a setting can make alike, for later steps may pass through it."""
    first = comparison.results.first_divergence
    mine = explaining(comparison.causes, first) if first else []
    own = [name for cause in mine for name in cause.components]
    moved = [name for cause in comparison.causes for name in cause.components]
    passes = _passes(here, job)
    able = [name for name in passes if settings.variables(settings.derive(here, there, [name]))]
    return [*dict.fromkeys([*own, *(name for name in moved if name in passes), *able])]


def another(there: Measured, here: Measured) -> str:
    """Why what runs here is not the program that a report is of; "" if it is."""
    fact = "program.sources"
    mine, its = here.fact(fact), there.fact(fact)
    if not isinstance(mine, dict) or not isinstance(its, dict) or mine == its:
        return ""
    return _which(FactDifference(fact, "numeric", [], [its, mine]))


def _which(difference: FactDifference) -> str:
    """ "train.py differs"; "data.py is on a only"."""
    names = _files(difference)
    both = [name for name in names if all(isinstance(one, dict) and name in one for one in difference.values)]
    return f"{listed(both or names, 3)} {'differs' if len(both or names) == 1 else 'differ'}"


def _files(difference: FactDifference) -> list[str]:
    """The names whose digests are not the same in two mappings of files."""
    sides = [one if isinstance(one, dict) else {} for one in difference.values]
    names = dict.fromkeys(name for side in sides for name in side)
    return [name for name in names if len({str(side.get(name)) for side in sides}) > 1]


_MOST_FILES = 4


def _evidence(difference: FactDifference, root: bool) -> list[Evidence]:
    if difference.fact != "program.sources":
        return [Evidence(difference.fact, difference.values, "", root)]
    lines: list[Evidence] = []
    for name in _files(difference)[:_MOST_FILES]:
        digests = [one.get(name) if isinstance(one, dict) else None for one in difference.values]
        texts: list[str | None] = [None if digest is None else str(digest) for digest in digests]
        lines.append(Evidence(difference.fact, [*texts], name, root and not lines))
    return lines


def unexplained(
    explanation: Explanation,
    partings: Sequence[Parting],
    pair: Sequence[Measured],
    differences: Iterable[FactDifference],
    other_run: bool,
) -> list[Cause] | None:
    """What is said where no differing fact explains other data or weights of a program: what is likely, and nothing
    where it is not the same program; None where the explanation is of another kind."""
    parted = next((one for one in partings if is_program(one.result.name) and one.result.first_divergence), None)
    first = parted.result.first_divergence if parted else None
    if explanation.root is not None or parted is None or first is None:
        return None
    if kind(first) == "arithmetic" or first.rounding or not set(explanation.components) <= {"ordering", "random"}:
        return None
    if other_run:
        return []
    passes = {*_passes(pair[0], parted.result.name), *_DATA}
    rounding = [one for one in differences if one.kind == "numeric" and one.works and passes & {*one.components}]
    if first.untold and rounding:
        return [_untold(explanation, rounding, pair)]
    return [_likely(explanation, first, parted.states, pair)]


def _untold(explanation: Explanation, rounding: list[FactDifference], pair: Sequence[Measured]) -> Cause:
    """What computes with numbers is not the same, and whether it made these is not known."""
    able = [name for one in rounding for name in one.components]
    return Cause(
        root=None,
        components=list(dict.fromkeys([*explanation.components, *able])),
        status="unknown",
        facts=[],
        operators=explanation.operators,
        settings={},
        plain=f"{listed([one.fact for one in rounding], 3)} {'differs' if len(rounding) == 1 else 'differ'}, so these"
        " may be the same with other last digits; or they are others. No file holds data, so that is not known.",
        labels=[side.label for side in pair],
    )


def _likely(explanation: Explanation, first: FirstDivergence, states: list[str], pair: Sequence[Measured]) -> Cause:
    labels = [side.label for side in pair]
    if "ordering" in explanation.components and all(side.fact("python.hash_seed") == "random" for side in pair):
        others = _unseeded(states, pair)
        return Cause(
            root="python.hash_seed",
            components=["ordering"],
            status="suspected",
            facts=["python.hash_seed"],
            operators=[],
            settings={"PYTHONHASHSEED": "0"},
            plain="Every process orders sets anew, for PYTHONHASHSEED is set on neither; a training whose data pass"
            f" through a set starts from another order each time.{_DRAWS if others else ''}",
            title=" or ".join(["the order of sets (PYTHONHASHSEED is not set)", *others]),
            evidence=[Evidence("python.hash_seed", ["random", "random"], "every process draws its own", root=True)],
            alternatives=["unsorted listings", "other data files"],
            labels=labels,
            settings_on=joined(labels),
        )
    return Cause(
        root=None,
        components=explanation.components,
        status="unknown",
        facts=[],
        operators=explanation.operators,
        settings={},
        plain=_guess(first, _unseeded(states, pair)),
        labels=labels,
    )


_DRAWS = " So does one that draws from a generator without a seed; PYTHONHASHSEED=0 tells them apart."

_GENERATORS = {"python": "Python's random", "numpy": "numpy.random", "torch": "torch's generator"}


def _unseeded(states: list[str], pair: Sequence[Measured]) -> list[str]:
    """The generators that can be why: those in another state, and those that a program did not seed."""
    seeds = [side.fact("program.seeds") for side in pair]
    names = [one.partition(".")[2] for one in states]
    names += [name for name in ("python", "numpy") if not all(isinstance(one, dict) and name in one for one in seeds)]
    return [f"{_GENERATORS.get(name, name)} without a seed" for name in dict.fromkeys(names)]


def _guess(first: FirstDivergence, generators: list[str]) -> str:
    """Where to look for what no captured fact shows."""
    seed = f"{joined(generators)}, " if generators else ""
    if kind(first) == "weights":
        return f"No captured seed differs. Suspect {seed}or weights that are read from other files."
    return (
        f"No captured seed, worker count or hash seed differs. Suspect {seed}other data files, a listing that is not"
        " sorted, or the time."
    )
