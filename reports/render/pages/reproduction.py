"""The page of `audit reproduce`: what gives the other machine's bits here, the proof, what it costs, how to use it.

The verdict of a reproduction is never shown as it stands: whether it is proven is worked out from its digests.
"""

from __future__ import annotations

from shlex import quote

from ...programs import called, is_program
from ...proof import missing
from ...reproduction import Child, Reproduction, Tried
from .causes import blamed
from .groups import place
from .page import Block, Code, Page, Row, Tone, page, section, sentence
from .words import component, count, listed, plain, seconds

MOST_TRIED = 8
"""So many tries are shown without --all; those that came to something first."""


MOST_VERSIONS = 2


def reproduction_page(one: Reproduction, all: bool = False) -> Page:
    """The page of a reproduction. all: every try, and everything that still differs."""
    return page(
        _first(one),
        [
            section(_proof(one), _how_far(one), _under_image(one)),
            section(_tried(one, all), _cost(one), _left(one, all), _not_compared(one, all), _ruled_out(one)),
            section(_use(one)),
            section(_meeting(one)),
            section(
                _holds(one), Block("Note", tuple(Row((note,)) for note in one.notes), least=min(2, len(one.notes)))
            ),
        ],
        _closing(one),
        _next(one),
    )


def settings(one: Reproduction) -> list[str]:
    """Everything that was set, as a person writes it: "NAME=VALUE", "NAME taken out", "numpy 2.3.5"."""
    names = [f"{name}={quote(value)}" if value else f"{name} taken out" for name, value in one.settings.items()]
    return names + [f"{name} {version}" for name, version in one.packages.items()]


def _first(one: Reproduction) -> tuple[Tone, str, str]:
    """Tone, verdict and the rest of the first line."""
    whose = f"{one.there.label}'s bits"
    named = settings(one)
    what = f"{'One setting gives' if len(named) == 1 else f'{len(named)} settings together give'} {whose}"
    if one.verdict == "reproduced":
        lacks = missing(one)
        if lacks:
            return "bad", "NOT PROVEN.", f"The file says that it is reproduced, but it lacks {lacks}."
        names = named if len(named) == 1 else [*one.settings, *one.packages]
        where = f"in image {one.image.name}" if one.image else "on this machine"
        return "good", "REPRODUCED AND PROVEN.", f"{what} {where}: {listed(names)}"
    if one.verdict == "same" and one.image:
        verdict = "THE SAME IN ITS IMAGE." if one.image.same else "THE SAME IN THAT IMAGE."
        return "good", verdict, f"Image {one.image.name} gives {whose} on this machine: run it there."
    if one.verdict == "same":
        return "good", "THE SAME ALREADY.", f"This machine gives {whose} as it is; nothing has to be set."
    if one.interrupted:
        return "unsure", "INTERRUPTED.", f"Found so far, not yet proven: {listed(named) if named else 'nothing'}."
    if one.verdict == "partly":
        total, left = len(one.wanted), len(one.residue)
        given = f"Under {listed(named)} {total - left:,} of {total:,} results have {whose}"
        return "unsure", "PARTLY REPRODUCED.", f"{given}; {left:,} still differ."
    if one.verdict == "nondeterministic":
        return "unsure", "NOT REPEATABLE.", f"What differs from {one.there.label} is not the same in every run."
    if one.meeting and one.meeting.own:
        library = component(one.meeting.own)
        why = f"{library} goes by whose processor it is, and {one.there.label}'s is another maker's."
        return "bad", "CANNOT BE IMITATED HERE.", why
    if one.meeting:
        why = f"{one.there.label}'s CPU has code paths that this one does not; imitation works downwards only."
        return "bad", "CANNOT BE IMITATED HERE.", why
    if one.verdict == "irreducible":
        return "bad", "IRREDUCIBLE.", f"No setting of this machine gives {whose}. {blamed(one.causes)}"
    if one.verdict == "unknown":
        return "unsure", "UNKNOWN.", f"No setting gave {whose}, and no differing fact explains it."
    return "bad", "NOT REPRODUCED.", f"Nothing that was tried gives {whose}. {blamed(one.causes)}"


def _proof(one: Reproduction) -> Block | None:
    """What was seen without each setting and with all, as counted in the children."""
    if one.verdict != "reproduced" or missing(one):
        return None
    rows = []
    for name, needed in [*one.necessary.items(), *one.necessary_packages.items()]:
        runs = count(sum(_without(child, one, name) for child in one.children), "run")
        what = f"differs at {place(needed.first_divergence)}, in {runs}"
        rows.append(Row((f"without {name}" if len(settings(one)) > 1 else "without it", what)))
    steps = f" ({count(one.steps, 'step')})" if one.steps else ""
    jobs = [called(name.removeprefix("job ")) + steps for name in one.wanted if name.startswith("job ")]
    operators = len(one.wanted) - len(jobs)
    same = ", ".join([*jobs, *([count(operators, "operator")] if operators else [])])
    with_it = sum(child.settings == one.settings and child.packages == one.packages for child in one.children)
    name = "with it" if len(settings(one)) == 1 else "with all"
    rows.append(Row((name, f"identical in {count(with_it, 'run')}: {same}")))
    processes = f"{count(one.runs, 'child process', 'child processes')}, {seconds(one.seconds)}"
    rows.append(Row(("therefore", f"sufficient and necessary ({processes})")))
    return Block("Proof", tuple(rows), least=len(rows), weight=8)


def _without(child: Child, one: Reproduction, name: str) -> bool:
    settings = {key: value for key, value in one.settings.items() if key != name}
    packages = {key: value for key, value in one.packages.items() if key != name}
    return bool(child.changed) and (child.settings, child.packages) == (settings, packages)


def _how_far(one: Reproduction) -> Block | None:
    """Where results part, for what is not reproduced."""
    if one.verdict in ("reproduced", "same") or one.first_divergence is None:
        return None
    digits = f"; what differs agrees in {one.digits:g} decimal digits" if one.digits is not None else ""
    return sentence("First", f"{place(one.first_divergence)}{digits}", weight=7)


def _under_image(one: Reproduction) -> Block | None:
    """Where the cause is, if the very image of the report gives other bits here."""
    if one.verdict == "same" or not one.image or not one.image.same:
        return None
    text = f"{one.image.name} is the report's own: what differs lies under it (CPU, kernel, driver, limits, variables)"
    return sentence("Image", text, weight=6)


def _tried(one: Reproduction, all: bool) -> Block | None:
    """What each try came to, those first that came to something."""
    if not one.tried:
        return None
    order = sorted(one.tried, key=lambda tried: tried.outcome != "kept")
    shown = order if all else order[:MOST_TRIED]
    header = ("setting", "agree with it", "")
    least = min(2, len(shown))
    return Block("Tried", tuple(map(_try, shown)), header, len(order) - len(shown), least, weight=4)


def _try(tried: Tried) -> Row:
    values = ", ".join(f"{name}={value}" if value else f"{name} taken out" for name, value in tried.settings.items())
    versions = [f"{name} {version}" for name, version in tried.packages.items()]
    values = ", ".join(filter(None, [values, listed(versions, MOST_VERSIONS) if versions else ""]))
    agree = f"{tried.component} {tried.before:,} -> {tried.after:,} of {tried.compared:,}"
    moved = f"; it then parts at {place(tried.first_divergence)}" if tried.first_divergence else ""
    return Row((Code(values), agree, tried.outcome + moved))


def _cost(one: Reproduction) -> Block | None:
    """How much slower; what is within the noise of two runs is no cost."""
    if not one.cost:
        return None
    slow = [f"{_work(name)} {ratio:.1f}x" for name, ratio in one.cost.items() if ratio >= 1.15]
    text = f"time taken, of what it takes without: {', '.join(slow)}" if slow else "none that two runs can show"
    return sentence("Cost", text, weight=6)


def _work(name: str) -> str:
    return "the operators" if name == "operators" else called(name.removeprefix("job "))


def _left(one: Reproduction, all: bool) -> Block | None:
    """What still differs, by component and by name."""
    if one.verdict == "same":
        return None
    if not one.residue:
        return sentence("Left over", "nothing: 0 results still differ", weight=6) if one.reproduced else None
    names = listed(one.residue, len(one.residue) if all else 5)
    return sentence("Left over", f"{count(len(one.residue), 'result')}: {names}", weight=6)


def _not_compared(one: Reproduction, all: bool) -> Block | None:
    if not one.skipped and not one.unavailable:
        return None
    items = [f"{name}: {why}" for name, why in [*one.unavailable.items(), *one.skipped.items()]]
    most = len(items) if all else 2
    more = [f"{len(items) - most} more (--all)"] if len(items) > most else []
    return Block("Not tried", tuple(Row((text,)) for text in [*items[:most], *more]), least=1, weight=5)


def _ruled_out(one: Reproduction) -> Block | None:
    texts = [f"{plain(item.component)} ({item.operators:,})" for item in one.ruled_out]
    return sentence("Ruled out", f"all operators agree: {', '.join(texts)}", weight=3, optional=True) if texts else None


def _use(one: Reproduction) -> Block | None:
    """How to set it: for a shell, a container, and in Python."""
    variables = {name: value for name, value in one.settings.items() if name not in one.code}
    rows = [
        Row(("shell", Code(f"export {name}={quote(value)}" if value else f"unset {name}")))
        for name, value in variables.items()
        if not one.image
    ]
    if one.image and variables:
        assigned = " ".join(f"-e {quote(f'{name}={value}')}" for name, value in variables.items())
        rows.append(Row(("docker", Code(f"docker run {assigned} {quote(one.image.name)}"))))
    rows += [Row(("Dockerfile", Code(f"ENV {name}={quote(value)}"))) for name, value in variables.items() if value]
    rows += [Row(("Python", Code(code))) for code in one.code.values()]
    if one.packages:
        pins = " ".join(quote(f"{name}=={version}") for name, version in one.packages.items())
        rows.append(Row(("packages", Code(f"pip install {pins}"))))
    if not rows or one.verdict not in ("reproduced", "partly"):
        return None
    needed = len(one.settings) + len(one.packages)  # the same for containers may go
    return Block("Use it", tuple(rows), ("where", "before Python starts"), least=needed, weight=6)


def _meeting(one: Reproduction) -> Block | None:
    """The highest that both can do, with one command for each machine."""
    if one.meeting is None:
        return None
    rows = [Row((f"as {one.meeting.level} both should give the same bits, if not those of now (not tried yet):",))]
    for where, values in (("here", one.meeting.here), (f"on {one.there.label}", one.meeting.there)):
        words = " ".join(f"{name}={quote(value)}" for name, value in values.items())
        name = "meet-here.json" if where == "here" else "meet-there.json"
        run = f"{'env ' + words + ' ' if words else ''}audit run -o {name} {one.meeting.record}"
        rows.append(Row((f"{where}:  {run.rstrip()}",)))
    return Block("Meet", tuple(rows), least=3, weight=8)


def _holds(one: Reproduction) -> Block | None:
    if not one.reproduced or not one.validity:
        return None
    rows = [Row((f"{listed(one.validity)} on this CPU; an upgrade can end it",))]
    own = any(is_program(name.removeprefix("job ")) for name in one.wanted)
    later = "the steps that were recorded; later ones may call code that they do not"
    rows.append(Row((later if own else "what was measured; your program may call code that it does not",)))
    return Block("Holds for", tuple(rows), weight=4)


def _closing(one: Reproduction) -> str:
    words = {0: "reproduced" if one.verdict == "reproduced" else "nothing to set", 1: "not reproduced"}
    return f"Nothing on this machine was changed. Exit {one.exit} ({words.get(one.exit, 'interrupted')})"


def _next(one: Reproduction) -> str:
    if not one.next.strip() or one.next.startswith("Next"):
        return one.next.strip()
    return f"Next:  {one.next}"
