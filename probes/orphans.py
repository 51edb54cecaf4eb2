"""Nothing that an audited interpreter starts outlives the audit, not even what left its session and its parent. (Nor
does a shared connection that ssh opened for the audit and put into the background; one that was there before does.)

On Linux this process becomes the one to which orphaned descendants are given; so they are its children then, and a
child's number cannot mean another process before its parent has waited for it. Elsewhere, and where /proc is hidden,
there is no telling whose an orphan is, and none is touched.
"""

import contextlib
import os
import signal
import sys
import time
from typing import Iterator, Set

_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_SECONDS = 1.0
"""From the request to end until the end by force, and from there until an orphan is given up."""


@contextlib.contextmanager
def ended() -> Iterator[None]:
    """Ends the orphans of the processes that are started in this block; what ran before it is left alone."""
    before = _children()
    adopting = _adopt(True)
    try:
        yield
    finally:
        if adopting:
            _end_all(but=before)
            _adopt(False)


def _end_all(but: Set[int]) -> None:
    """An orphan that is ended hands its own children up, so there are rounds until none is left."""
    began = time.monotonic()
    left = _children() - but
    while left and time.monotonic() < began + 2 * _SECONDS:
        number = signal.SIGTERM if time.monotonic() < began + _SECONDS else signal.SIGKILL
        for pid in left:
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                os.kill(pid, number)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
        left = _children() - but


def _adopt(on: bool) -> bool:
    """Ask the kernel for orphaned descendants; whether it gives them."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):  # a static or reduced Python, another C library
        return False


def _children() -> Set[int]:
    """The process numbers of this process's children."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):  # none: nothing to look for
        return set()
    try:
        return {int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.getpid()}
    except OSError:
        return set()


def _parent(name: str) -> int:
    try:
        with open("/proc/" + name + "/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[1])  # the name in parentheses may hold anything
    except (OSError, IndexError, ValueError):  # it ended meanwhile
        return 0
