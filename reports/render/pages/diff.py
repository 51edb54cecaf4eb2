"""The page of a comparison: do the results agree, where do they part, how much, why, what was ruled out, what next.

Here stand the first line, the order of sections for each verdict, and the last lines; the sections are next door.
"""

from __future__ import annotations

from ...comparison import Comparison
from ..escape import cut
from . import attendance, program, sides
from .causes import blamed, causes, ruled_out
from .compared import compared, could_change, missing, rest, why_incomplete, why_not_comparable
from .course import courses
from .everything import everything
from .groups import blamed_groups, grouped, noun, several, who, who_agrees
from .images import images
from .maps import maps
from .page import Page, Section, Tone, page, section
from .where import in_words, unsteady, unsteady_first, where
from .words import count, listed

ANSWER = 300
"""The most characters of the first line, whatever a report's labels and values hold."""


_AS_A_PAGE = ". As a page: --format html -o diff.html"
"""Where results differ and this is no page yet: somebody else may have to read it."""


def diff_page(comparison: Comparison, all: bool = False, folds: bool = False) -> Page:
    """The page of `audit diff`. all: with every difference, not only what matters; folds: for a format that can unfold
    what is long."""
    more = [*courses(comparison), *_maps(comparison), *everything(comparison)] if all else []
    tone, verdict, answer = _first(comparison)
    absent = cut(attendance.absent(comparison), max(ANSWER // 2, ANSWER - len(answer)))
    answer = cut(answer, ANSWER - len(absent))
    both = (absent, answer) if tone == "unsure" else (answer, absent)
    return page(
        (tone, verdict, " ".join(filter(None, both))),
        [attendance.attended(comparison, all), *_sections(comparison, all, folds), *more],
        _exit(comparison) + ("" if folds or comparison.results.verdict != "diverged" else _AS_A_PAGE),
        _next(comparison),
        subject(comparison),
    )


def _maps(comparison: Comparison) -> list[Section]:
    """Those that do not stand beside the groups."""
    beside = several(comparison) and comparison.results.verdict in ("diverged", "nondeterministic")
    return [] if beside else maps(comparison)


def subject(comparison: Comparison) -> str:
    """What was compared, as a title: "old and new", or how many and which."""
    labels = [side.label for side in comparison.reports]
    if not several(comparison):
        return cut(listed(sides.names(comparison)), ANSWER)
    return cut(f"{count(len(labels), noun(comparison))}: {who(labels)}", ANSWER)


def _first(comparison: Comparison) -> tuple[Tone, str, str]:
    """Tone, verdict and the rest of the first line."""
    verdict = comparison.results.verdict
    if comparison.verdict == "not-comparable" or verdict == "not-comparable":
        return "unsure", "NOT COMPARABLE.", why_not_comparable(comparison)
    if comparison.verdict == "incomplete":
        return "unsure", "INCOMPLETE.", why_incomplete(comparison)
    if verdict == "diverged":
        if several(comparison):
            return "bad", "DIFFERENT RESULTS.", f"{who_agrees(comparison)} {blamed_groups(comparison)}"
        first = program.parted(comparison)
        return "bad", "DIFFERENT RESULTS.", program.blamed(comparison, first) if first else blamed(comparison.causes)
    if verdict == "nondeterministic":
        return "bad", "NOT REPEATABLE.", unsteady_first(comparison)
    if verdict == "not-measured":
        return "unsure", "FACTS ONLY, no results.", _environments(comparison, measured=False)
    if verdict == "within-tolerance":
        return "good", "SAME RESULTS within tolerance, not bit for bit.", _environments(comparison)
    return "good", "SAME RESULTS, bit for bit.", _environments(comparison)


def _environments(comparison: Comparison, measured: bool = True) -> str:
    """What the first line says of the environments. measured: there are results on which facts had no effect."""
    environment = comparison.environment
    numeric = sum(difference.kind == "numeric" for difference in environment.differences)
    total = len(environment.differences)
    if not total:
        return f"The environments are the same in all {count(environment.same, 'fact')}." if environment.same else ""
    differ = f"The environments differ in {count(total, 'fact')}"
    if not numeric:
        return f"{differ}; {'it' if total == 1 else 'none'} can{'not' if total == 1 else ''} change results."
    if measured:
        return f"{differ}; none changed a measured result."
    return f"{differ}; {numeric} of them can change results."


def _sections(comparison: Comparison, all: bool, folds: bool) -> list[Section]:
    """The sections that this verdict needs, in order."""
    verdict = comparison.results.verdict
    if comparison.verdict == "not-comparable" or verdict not in ("diverged", "nondeterministic"):
        agreement = [compared(comparison, all), could_change(comparison), rest(comparison, all)]
        return [images(comparison), *([where(comparison, all)] if verdict == "within-tolerance" else []), *agreement]
    return [
        images(comparison),
        in_words(comparison, all) if not several(comparison) else section(),
        unsteady(comparison, all),
        grouped(comparison, all, folds),
        *([*maps(comparison), in_words(comparison, all)] if all and several(comparison) else []),
        where(comparison, all),
        missing(comparison),
        *causes(comparison, all, folds),
        ruled_out(comparison, all),
    ]


def _exit(comparison: Comparison) -> str:
    """The exit status in words: what a script sees."""
    verdict = comparison.results.verdict
    if comparison.exit == 0:
        return "Exit 0 (nothing that counts differs)"
    if comparison.exit == 3:
        return f"Exit 3 ({'incomplete' if comparison.verdict == 'incomplete' else 'not comparable'})"
    if verdict == "identical":
        return f"Exit {comparison.exit} (environments differ). With --fail-on results: exit 0"
    reasons = {"not-measured": "environments differ", "nondeterministic": "results are not repeatable"}
    return f"Exit {comparison.exit} ({reasons.get(verdict, 'results differ')})"


def _next(comparison: Comparison) -> str:
    """The last line: the command, and before it "on MACHINE:" where it belongs on one of them."""
    command = comparison.next
    if not command or command.startswith("Next"):
        return command
    return f"Next, {command}" if command.startswith("on ") else f"Next:  {command}"
