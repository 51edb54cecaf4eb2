"""A check as one short line of ASCII: fits the reason of a drained Slurm node, a chat, a log."""

from __future__ import annotations

from ..checked import Check
from . import findings
from .escape import cut, visible

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
    # Quotes, and what a shell obeys within them, would end the argument that somebody puts this into.
    shown = visible(cut(text, 4 * LONGEST)).encode("ascii", "backslashreplace").decode("ascii")
    return cut(shown.translate(_PLAIN).strip(), LONGEST) + "\n"


_PLAIN = str.maketrans({'"': "'", "`": "'", "$": "_", "\\": "/"})
