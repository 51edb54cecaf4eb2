"""`-- COMMAND` and the options about it, in every command line that runs a person's own program."""

import argparse
from typing import Optional, Tuple

from ..session import SECONDS_WITHOUT_STEP, Program

WINDOW = (0, 1)
"""Whose operators are recorded unless it is said: what diverges mostly does so at once."""


class Unfit(Exception):
    """Options that do not go together; the message says which, in one line for a person."""


def add_program(command: argparse.ArgumentParser, trace: bool = True) -> None:
    """COMMAND and the options about it; the command has its own --repeat. trace: a person says what is recorded."""
    group = command.add_argument_group("your own program")
    group.add_argument(
        "program", nargs="*", metavar="-- COMMAND", help="run it and record its training: -- python train.py"
    )
    group.add_argument("--steps", type=_steps, metavar="N", help="end it after N steps")
    if trace:
        group.add_argument(
            "--trace",
            choices=("steps", "operators"),
            help="what each step gave (default), or every operator of the steps in --window",
        )
        group.add_argument(
            "--window", type=_window, metavar="A:B", help="record the operators of steps A to B-1 (default: 0:1)"
        )
    group.add_argument(
        "--stall",
        type=_seconds,
        metavar="SECONDS",
        help="end it if it takes no step and prints nothing for so long (default: {:.0f})".format(SECONDS_WITHOUT_STEP),
    )


def program(options: argparse.Namespace, command: str) -> Optional[Program]:
    """What is to be recorded, if there is a COMMAND. command: the words before the options. Raises Unfit."""
    if not options.program:
        for name in ("steps", "trace", "window", "stall"):
            if getattr(options, name) is not None:
                raise Unfit("--{} is about a COMMAND: {} --{} ... -- python train.py".format(name, command, name))
        return None
    steps: Optional[int] = options.steps
    window: Optional[Tuple[int, int]] = options.window
    if not options.program[0]:
        raise Unfit("COMMAND begins with an empty word; is the variable that should name it set?")
    if (options.repeat or 1) > 1 and steps is None:
        words = "--repeat {0} would run COMMAND {0} times to its end; --steps N ends it each time after N steps"
        raise Unfit(words.format(options.repeat))
    if options.trace == "steps" and window:
        raise Unfit("--window records operators; leave out --trace steps")
    if window and steps is not None and window[0] >= steps:
        raise Unfit("--window {}:{} begins after the last of --steps {}".format(*window, steps))
    if options.trace == "operators":
        window = window or WINDOW
    trace = "operators" if window else "steps"
    return Program(tuple(options.program), steps, trace, window, options.stall or SECONDS_WITHOUT_STEP)


def _steps(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("{!r} is no number of steps".format(text))
    return int(text)


def _window(text: str) -> Tuple[int, int]:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError("{!r} is not A:B, such as 0:3 for steps 0, 1 and 2".format(text))
    return int(first), int(end)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("{!r} is no number of seconds".format(text))
    return seconds
