"""The page of `audit vary`: what changes bits here, which machines that is, whether it matters, what pins it."""

from __future__ import annotations

from collections.abc import Sequence

from ...comparison import FirstDivergence, Size
from ...programs import called, is_program
from ...variation import Spread, Variation, Varied, Verified
from .groups import place
from .page import Block, Code, Page, Row, Section, Tone, page, section, sentence
from .words import count, listed, percent, plain, seconds, told_apart

LEAST = 1.05
"""A slow-down below this is none, however quiet the machine was."""

_HEADER = ("changes", "first at", "size (p99)", "time")

NAME = 30
"""The longest name of a machine in a table; for what has none so short, the setting's name stands."""

FAR = 10**6
"""ULP beyond which a number says no more than that it is far."""


def variation_page(one: Variation, all: bool = False) -> Page:
    """The page of a variation. all: every setting by itself, with its value and what was in effect."""
    return page(
        _first(one),
        [
            section(_interrupted(one), _unsteady(one)),
            section(_machines(one), _by_setting(one)),
            *([section(_every(one)), section(_in_effect(one))] if all else []),
            section(_matter(one), _not_tried(one, all), _not_here(), _kept(one)),
            _pins(one, all),
        ],
        _closing(one),
        one.next if not one.next or one.next.startswith("Next") else f"Next:  {one.next}",
    )


def noun(works: Sequence[str]) -> str:
    """What all this is about: "the numpy job", "each of the jobs numpy and python", "each operator"."""
    jobs = [work.removeprefix("job ") for work in works if work.startswith("job ")]
    if not jobs:
        return "each operator"
    if all(map(is_program, jobs)):
        return "your program"
    return f"the {jobs[0]} job" if len(jobs) == 1 else f"each of the jobs {listed(jobs)}"


def pinned(one: Variation) -> bool:
    """Whether there are pins that every run confirmed."""
    return bool(one.pins) and bool(one.pins_verified) and all(machine.same for machine in one.pins_verified)


def runs(one: Variation) -> int:
    """In how many runs the pins were verified. Machines under which the same is set are imitated by the same runs."""
    return sum({tuple(sorted(each.settings.items())): each.runs for each in one.pins_verified}.values())


def time(slowdown: float | None, noise: float | None) -> str:
    """How long it takes, of what it takes as it is: "about 1.4x"; what is within the noise is the same."""
    if slowdown is None or noise is None:
        return ""  # without the noise nobody can tell a slow-down from it
    least = max(noise, LEAST)
    return f"about {slowdown:.1f}x" if slowdown > least or slowdown * least < 1 else "the same"


# The first line


def _first(one: Variation) -> tuple[Tone, str, str]:
    """Tone, verdict and the rest of the first line."""
    # A machine that one setting makes is the same try as that setting.
    every = {tuple(sorted(row.settings.items())): row for row in one.settings}.values()
    tried = [row for row in every if row.changes_bits is not None]
    shaky = [name for name in one.nondeterministic if name.startswith("job ")]
    if not tried:
        return "unsure", "NOTHING WAS TRIED.", "No setting of this machine could be tried; what stands below says why."
    moved = [row for row in tried if _moved(one, row)]
    what = f"{_whose(one.works)} bits"
    if moved:
        of = f"{len(moved)} of {count(len(tried), 'setting')} {'changes' if len(moved) == 1 else 'change'} {what}"
        return "bad", f"YOUR NUMBERS DEPEND ON {_on(moved)}.", f"{of}; {_break(moved)}"
    if shaky:
        why = f"{listed(shaky)} gives other bits in every run on this machine as it is; no setting can be blamed."
        return "bad", "NOT REPEATABLE.", why
    rest = f"{what[0].upper()}{what[1:]} do not change under any of {count(len(tried), 'setting')}"
    operators = sum(bool(row.changed) for row in tried)
    if operators:
        rest += f"; {operators} of them {'changes' if operators == 1 else 'change'} operators only"
    if len(tried) < len(every):
        rest += f"; {len(every) - len(tried)} could not be tried"
    return ("unsure" if one.interrupted else "good"), "YOUR NUMBERS HOLD.", f"{rest}."


def _whose(works: Sequence[str]) -> str:
    jobs = [work.removeprefix("job ") for work in works if work.startswith("job ")]
    if not jobs:
        return "the operators'"
    if all(map(is_program, jobs)):
        return "your program's"
    return f"the {listed(jobs)} job{'s' if len(jobs) > 1 else ''}'{'s' if len(jobs) == 1 else ''}"


def _moved(one: Variation, row: Varied) -> bool:
    """Whether it changed what this is about: a job, or without jobs an operator."""
    return bool(set(row.changed + row.unsteady) & set(one.works))


def _one_cpu(row: Varied) -> bool:
    return any(name.endswith("_NUM_THREADS") for name in row.settings)


def _on(moved: list[Varied]) -> str:
    if any(row.stands_for.startswith("a CPU") and not _one_cpu(row) for row in moved):
        return "THE CPU"
    if any(_one_cpu(row) for row in moved):
        return "THE NUMBER OF CPUS"
    return "SETTINGS"


def _break(moved: list[Varied]) -> str:
    """Where it would break: the nearest machine, and how early."""
    machines = [row for row in moved if row.machine and not _one_cpu(row)] or [r for r in moved if _one_cpu(r)] or moved
    row = machines[0]
    first = row.first_divergence
    name = row.stands_for or f"{row.name}={row.value}"
    if first is None:
        return f"under {name} it does not repeat itself."
    return f"{name} gives other ones from {'the start' if first.step is None else f'step {first.step:,}'}."


# What was tried


def _machines(one: Variation) -> Block | None:
    """A row a machine that this one can be: the levels of CPUs, then what is set alone and belongs to no CPU."""
    levels = [row for row in one.settings if row.machine and not _one_cpu(row)]
    of_levels = {name for row in levels for name in row.settings}
    alone = [row for row in one.settings if not row.machine and not of_levels & row.settings.keys()]
    usual = {row.name: _moved(one, row) for row in levels}
    crossed = [
        row
        for row in one.settings
        if row.machine and _one_cpu(row) and _moved(one, row) != usual.get(row.name.rpartition(", ")[0])
    ]
    rows = tuple(_row(one, row, _name(row)) for row in (*levels, *crossed, *alone))
    return Block("If it moves", rows, ("to", *_HEADER), least=min(len(rows), 7), weight=8)


def _name(row: Varied) -> str:
    """ "CPU without AVX-512", in a column that has no room for articles."""
    name = row.stands_for.removeprefix("a ")
    return name if row.machine or 0 < len(name) <= NAME else row.name


def _every(one: Variation) -> Block | None:
    """Every setting and every machine by itself."""
    names = [row.name if row.machine else f"{row.name}={row.value}" for row in one.settings]
    rows = tuple(_row(one, row, Code(name), all=True) for row, name in zip(one.settings, names, strict=True))
    return Block("Tried", rows, ("setting", *_HEADER))


def _in_effect(one: Variation) -> Block | None:
    """What the libraries made of the settings, as their own facts say."""
    alone = [row for row in one.settings if row.effect and not row.machine]
    rows = tuple(Row((Code(f"{row.name}={row.value}"), row.effect)) for row in alone)
    return Block("In effect", rows)


def _row(one: Variation, row: Varied, name: str, all: bool = False) -> Row:
    if row.reason:
        return Row((name, "not tried", "", "", ""))
    first = row.first_divergence
    where = "" if first is None else place(first).removeprefix(f"job {first.job}, ") if all else _short(first)
    how_much = "" if first is None else _size(first.size)
    return Row((name, _changes(one, row), where, how_much, time(row.slowdown, one.noise)))


def _changes(one: Variation, row: Varied) -> str:
    jobs = [work for work in row.changed if work != "operators"]
    if row.unsteady:
        return f"{listed(row.unsteady)}, and not the same each time"
    if jobs:
        return listed(jobs)
    moved = row.operators[0] if row.operators else 0
    if moved:
        return count(moved, "operator")
    return "no operator" if any(name.startswith("job ") for name in one.nondeterministic) else "nothing"


def _short(first: FirstDivergence) -> str:
    return first.operator if first.step is None else f"step {first.step:,}, {first.operator}"


def _size(measured: Size) -> str:
    """ "22%, 1 ULP": how many elements, and how far the most of them but one in a hundred."""
    share = percent(measured.fraction) if measured.fraction is not None else ""
    p99 = measured.ulp.p99
    ulp = "" if p99 is None else f"{p99:,} ULP" if p99 <= FAR else "far"
    return ", ".join(part for part in (share, ulp) if part) or "not measured"


def _by_setting(one: Variation) -> Block | None:
    """Which of the settings that make a machine change what, each alone."""
    if not any(_moved(one, row) for row in one.settings):
        return None
    of_levels = {name for row in one.settings if row.machine and not _one_cpu(row) for name in row.settings}
    rows = []
    for name in dict.fromkeys(row.name for row in one.settings if not row.machine and row.name in of_levels):
        mine = [row for row in one.settings if row.name == name and row.changes_bits is not None]
        moved = sum(_moved(one, row) for row in mine)
        only = sum(bool(row.changed) for row in mine) - moved
        does = f"{moved} of {count(len(mine), 'value')} change {listed(one.works)}"
        if not moved:
            does = f"{'no value changes' if len(mine) > 1 else 'does not change'} {listed(one.works)}"
        more = f"; {only} change operators only" if only and one.jobs else ""
        if mine:
            rows.append(Row((plain(mine[0].component), Code(name), does + more)))
    if rows and not any(_moved(one, row) for row in one.settings if not row.machine):
        rows = [Row((f"settings together: alone none of them changes {listed(one.works)}",))]
    return Block("Because of", tuple(rows), weight=5) if rows else None


# What it comes to


def _matter(one: Variation) -> Block | None:
    rows = tuple(Row((_spread(name, spread),)) for name, spread in one.spread.items() if spread.settings)
    return Block("Matter?", rows, weight=7) if rows else None


def _spread(name: str, spread: Spread) -> str:
    """ "job numpy: final loss 0.006351 to 0.006353 (0.03% of it) over 18 settings; all learned"."""
    over = f"over {count(spread.settings, 'setting')}"
    learned = "; all learned" if spread.learned == spread.settings else f"; {spread.learned} of them learned"
    learned = "" if is_program(name) else learned  # nobody knows when a person's own has
    if spread.least == spread.most:
        return f"{called(name)}: the same final loss {over}{learned}"
    least, most = told_apart([spread.least, spread.most], 4)
    share = f" ({percent(spread.relative)} of it)" if spread.relative is not None else ""
    return f"{called(name)}: final loss {least} to {most}{share} {over}{learned}"


def _not_tried(one: Variation, all: bool) -> Block | None:
    """What this machine refused or could not do; a group of rows with one reason is one line."""
    reasons: dict[str, list[str]] = {}
    for row in one.settings:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.name if row.machine else f"{row.name}={row.value}")
    texts = [f"{listed(names, 2)}: {why}" for why, names in reasons.items()]
    texts += [f"{name}: {why}" for name, why in one.skipped.items()]
    most = len(texts) if all else 4
    more = [f"{len(texts) - most + 1} more (--all)"] if len(texts) > most else []
    shown = [*texts[: most - len(more)], *more] if more else texts
    return Block("Not tried", tuple(Row((text,)) for text in shown), least=1, weight=4)


def _not_here() -> Block:
    text = "CPUs beyond this one, more CPUs, other versions, a GPU: no setting makes those"
    return sentence("Not here", text, weight=1, optional=True)


def _kept(one: Variation) -> Block | None:
    names = [f"{name}={value}" for name, value in one.kept.items()]
    return sentence("Kept", f"{listed(names)}: set already, so it goes where the job goes") if names else None


def _interrupted(one: Variation) -> Block | None:
    if not one.interrupted:
        return None
    return sentence("Note", "interrupted: what stands here is what was tried until then", weight=9)


def _unsteady(one: Variation) -> Block | None:
    if not one.nondeterministic:
        return None
    return sentence("Unsteady", f"as it is: {listed(one.nondeterministic, 3)}; no setting is blamed for that", weight=8)


def _pins(one: Variation, all: bool) -> Section:
    """What to set so that the bits are the same on every machine that was imitated."""
    if not one.pins:
        return section(sentence("Pins", f"none; {one.pins_reason}", weight=6) if one.pins_reason else None)
    if not pinned(one):
        return section(sentence("Pins", "none; the runs in this file do not confirm them", weight=6))
    rows = [
        *(Row((Code(f"{name}={value}"),)) for name, value in one.pins.items()),
        Row((f"same bits of {noun(one.works)} on {_imitated(one.pins_verified)} ({count(runs(one), 'run')})",)),
    ]
    price = sentence("Cost", f"{cost(one)}; holds for {', '.join(one.validity)}", weight=6)
    each = Block("Verified", tuple(map(_verified, one.pins_verified)), least=0) if all else None
    return section(Block("Pins", tuple(rows), least=len(rows), weight=9), price, each)


def _imitated(machines: list[Verified]) -> str:
    """ "4 kinds of CPU, with all CPUs and with one"."""
    single = [one for one in machines if one.machine.endswith(", 1 CPU")]
    kinds = len(machines) - len(single)
    if not single:
        return f"{count(kinds, 'kind')} of CPU"
    return f"{count(kinds, 'kind')} of CPU, with all CPUs and with one"


def cost(one: Variation) -> str:
    """What the pins cost: "about 1.7x the time"."""
    found = time(one.pins_slowdown, one.noise)
    if not found:
        return "time not measured"
    return "the same time" if found == "the same" else f"{found} the time"


def _verified(one: Verified) -> Row:
    under = " ".join(f"{name}={value}" for name, value in one.settings.items()) or "nothing"
    return Row((one.machine, count(one.runs, "run"), "same bits" if one.same else "OTHER BITS", Code(under)))


def _closing(one: Variation) -> str:
    took = f"{count(one.runs, 'child process', 'child processes')}, {seconds(one.seconds)}"
    noise = f"; noise {one.noise:.2f}x" if one.noise else ""
    return ". ".join([f"Exit {one.exit} ({_why(one)})", *one.notes, f"{took}{noise}"])


def _why(one: Variation) -> str:
    if one.exit != 1:
        return "incomplete" if one.exit else "nothing changes bits"
    if any(_moved(one, row) for row in one.settings):
        return "bits change"
    return "not repeatable" if one.nondeterministic else "operators change"
