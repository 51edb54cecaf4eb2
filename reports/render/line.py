"""A check as one short line of ASCII: fits the reason of a drained Slurm node, a chat, a log."""

from __future__ import annotations

from ..checked import Check
from ..screening import Screening
from . import findings
from .escape import cut, visible
from .pages.screen import short

LONGEST = 100
"""Characters; Slurm's own listings cut a reason sooner, so what matters stands first."""


def check(found: Check, all: bool = False, color: bool = False) -> str:
    """The verdict, how many findings of which severity, and the gravest one. all: makes no difference."""
    words = {"pass": "passed", "fail": "FAILED", "incomplete": "INCOMPLETE"}[found.verdict]
    active = findings.active(found)
    text = f"audit check {words}"
    if active:
        first = active[0]
        text += f" ({findings.totals(found)}): {first.rule}"
        text += f" {findings.change(first.changes[0]) if first.changes else first.fact}"
    return _line(text)


def screening(found: Screening, all: bool = False, color: bool = False) -> str:
    """The verdict and the gravest finding of a screening. all: makes no difference."""
    return _line(f"audit screen {short(found)}")


def _line(text: str) -> str:
    """One line that can stand between a shell's double quotes: what ends them, or is obeyed there, is replaced."""
    shown = visible(cut(text, 4 * LONGEST)).encode("ascii", "backslashreplace").decode("ascii")
    return cut(shown.translate(_PLAIN).strip(), LONGEST) + "\n"


_PLAIN = str.maketrans({'"': "'", "`": "'", "$": "_", "\\": "/"})
