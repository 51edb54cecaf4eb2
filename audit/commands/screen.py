"""`audit screen`: do all cores of this machine, or its GPUs, give the same bits, at the same time and under load?"""

from __future__ import annotations

import argparse

from audit.commands.options import FORMATS, add_interpreter, add_rendering, color, deliver, refuse_unwritable, seconds
from probes.jobs import NAMES

LIMIT = 50.0
"""Seconds. Slurm ends a health check after 60."""

MOST_CORES = 4096


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("screen", help="does every core give the same bits? names one that does not")
    command.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: the GPUs in place of the cores; needs PyTorch"
    )
    command.add_argument(
        "--cores", type=cores, metavar="LIST", help="such as 0-3,8 (default: all that this process may use)"
    )
    command.add_argument(
        "--limit",
        type=seconds,
        default=LIMIT,
        metavar="SECONDS",
        help=f"end within so long, whatever hangs (default: {LIMIT:.0f})",
    )
    command.add_argument("--rounds", type=_count, metavar="N", help="end after so many (default: as many as fit)")
    command.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="the first round's inputs; the next rounds have the following ones (default: 0, those of a report)",
    )
    command.add_argument(
        "--job",
        choices=("auto", "operators", *NAMES),
        default="auto",
        help="auto: numpy's if this Python has it, else python's (default); torch or jax: with its operators; "
        "operators: no job; of GPUs auto is torch's",
    )
    command.add_argument(
        "--at-once",
        type=_count,
        metavar="N",
        help="so many cores or GPUs at a time (default: as many as free memory holds)",
    )
    command.add_argument(
        "--against",
        metavar="REPORT[#TARGET]",
        help="an earlier report of this environment, which tells which of two cores that disagree is right",
    )
    add_interpreter(command)
    command.add_argument("--all", action="store_true", help="every operator that differs")
    add_rendering(command, (*FORMATS, "line"))
    command.set_defaults(execute=execute)


def cores(text: str) -> list[int]:
    """The cores of "0-3,8". Raises argparse.ArgumentTypeError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and int(end) < MOST_CORES for end in ends):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of cores such as 0-3,8")
        found |= set(range(int(ends[0]), int(ends[1]) + 1))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no core")
    return sorted(found)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("from 1 to 1,000,000")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 62:
        raise argparse.ArgumentTypeError("a whole number from 0 on")
    return number


def execute(options: argparse.Namespace) -> int:
    from audit.screening import run
    from reports import render

    if options.output:
        refuse_unwritable(options.output, "-o")
    found = run(options)
    text = render.screening(found, options.format, all=options.all, color=not options.output and color())
    deliver(text, options)
    return found.exit
