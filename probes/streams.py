"""The standard streams of a command, which may be closed, full, or a pipe that nobody reads any more."""

import contextlib
import errno
import os
import select
import sys

from . import interrupts


def open_closed() -> None:
    """Point standard descriptors that are closed at nothing, or the next file opened would be taken for one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def say(text: str) -> None:
    """One line to a person on standard error. Where that cannot be written, there is nobody to tell."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def pass_on(data: bytes) -> None:
    """What another process printed, to standard error, all of it; dropped where that cannot be written any more."""
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            try:
                view = view[os.write(2, view) :]
            except BlockingIOError:  # somebody made it so, for all who have it open
                select.select([], [2], [])


def show(text: str) -> None:
    """Print a summary of what is done and saved. A reader that has gone, or pressed Ctrl-C, has seen enough of it.

    Raises OSError where it could not be printed for another reason.
    """
    if sys.stdout is None:
        return
    try:
        with interrupts.allowed():
            sys.stdout.write(text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        abandon_output()
    except OSError as error:
        abandon_output()
        if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe, a terminal that was closed
            raise


def abandon_output() -> None:
    """Drop what standard output does not take: the interpreter must not fail on it, or complain, at its exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
