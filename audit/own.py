"""A person's own program in the commands that run it again: what the options say of it, whether it is the one that a
report is of, how often it will run, and how it is named in the line to type next."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from audit.errors import AuditError, NotComparable
from probes.program.command import arguments_digest
from probes.program.options import Unfit, program
from probes.session import Program
from reports.programs import is_program
from reports.render.pages.words import count, seconds

if TYPE_CHECKING:
    from audit.compare.side import Measured

_SHOWN = 80
"""Characters of the longest command that is shown again."""


def asked(options: argparse.Namespace, command: str) -> Program | None:
    """The program that the options name. Raises AuditError for options that do not go together."""
    try:
        return program(options, command)
    except Unfit as error:
        raise AuditError(str(error)) from None


def of_report(options: argparse.Namespace, there: Measured) -> Program | None:
    """The program that the options name, to be recorded as the report's was. Raises AuditError if the report is of
    none or of another one."""
    own = asked(options, "audit reproduce")
    recorded = any(map(is_program, there.jobs))
    if own is None:
        if recorded and len(there.jobs) == 1 and not there.operators:
            raise AuditError(f"{there.file}: it is of a program, whose command it does not hold: add -- COMMAND")
        return None
    if not recorded:
        raise AuditError(f"{there.file}: no program was recorded in it; audit run -- COMMAND records one")
    arguments = there.fact("program.arguments")
    if arguments is not None and arguments != arguments_digest(list(own.command)):
        raise NotComparable(f"{there.file}: not the same program: the report's was given other arguments than COMMAND")
    from audit.compare.programs import as_recorded  # most commands have no report of a program

    return as_recorded(there, own.command, own.steps)._replace(stall=own.stall)


def announcement(there: Measured, own: Program) -> str:
    """How often the program will run, and how long that takes, before it runs."""
    recorded = [job for name, job in there.jobs.items() if is_program(name)]
    each = min((least for job in recorded for least in job.seconds), default=0.0)
    took = f", about {seconds(each)} each as on {there.label}" if each else ""
    return (
        f"runs your program ({count(own.steps or 0, 'step')}) 4 times if one setting is enough, about 8 times for two"
        f" and 10 for three{took}; --steps N shortens it"
    )


def varied(times: int, each: float, pinning: bool) -> str:
    """The same of a variation, when it has run as it is."""
    long = times * each
    total = f"{long / 60:.0f} minutes" if long >= 120 else seconds(long)
    more = "; then for the pins" if pinning else ""
    shorter = "--steps N shortens it"
    return f"runs your program {count(times, 'more time')}, about {seconds(each)} each, {total} in all{more}; {shorter}"


def again(own: Program, shown: bool) -> str:
    """The options about a program and its command, which only the person who typed it is shown."""
    words = [] if own.steps is None else ["--steps", str(own.steps)]
    words += ["--window", "{}:{}".format(*own.window)] if own.window else []
    command = shlex.join(own.command)
    return " ".join([*words, "--", command if shown and len(command) <= _SHOWN else "THE SAME COMMAND"])
