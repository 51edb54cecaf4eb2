"""Ctrl-C, a scheduler's time limit, a closed terminal: they end work where it can be left, and never tear an ending.

A signal raises `Interrupted`, but waits in `held` and after `hold`: there a child is being started or ended, a
file written, a report made of what was measured. `allowed`, inside, is for what can take long. Signals that come close
together are one wish: two quick presses of Ctrl-C must not kill the tidying up that the first one began.
"""

import contextlib
import signal
import time
from typing import Any, Iterator

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU")

ONE_WISH = 2.0
"""Seconds in which further signals add nothing to the first. Ending a child takes at most about as long."""


class Interrupted(KeyboardInterrupt):
    """A signal came. Of a plain KeyboardInterrupt that passes through `exec` of a text, as dataclasses and namedtuples
    use, CPython remembers at its end that there was one, and dies of SIGINT although it was handled (pythonrun.c,
    run_eval_code_obj)."""


class _State:
    holding = False
    waiting = False
    last = float("-inf")


_state = _State()


def install() -> None:
    """Take the signals over. One that is ignored stays ignored: `nohup` and a shell's `&` mean it."""
    _state.holding, _state.waiting, _state.last = False, False, float("-inf")
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not the main thread: whoever owns that decides
                signal.signal(number, _taken)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """As `install`; afterwards the signals are again whose they were, unless they are this process's for good."""
    before = {number: signal.getsignal(number) for number in _numbers()}
    if _taken in before.values():
        yield
        return
    install()
    try:
        yield
    finally:
        _state.holding = False
        for number, handler in before.items():
            if signal.getsignal(number) is _taken:
                signal.signal(number, handler)


def uninstall() -> None:
    """As a fresh Python has them: for a forked child, whose audited code must find nothing of ours."""
    for number in _numbers():
        if signal.getsignal(number) is _taken:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def hold() -> None:
    """From here on signals wait, except in `allowed`."""
    _state.holding = True


def holding() -> bool:
    """Whether signals wait here."""
    return _state.holding


def waiting() -> bool:
    """Whether a signal waits."""
    return _state.waiting


def forget() -> None:
    """What a waiting signal would have ended is done: it came too late."""
    _state.waiting = False


def ignore() -> None:
    """At the very end: the interpreter's own ending has no place for a signal, and would die of one."""
    for number in _numbers():
        if signal.getsignal(number) is _taken:
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Signals wait for the end of this block."""
    before = _state.holding
    _state.holding = True
    try:
        yield
    finally:
        _state.holding = before
        if not before:
            _raise_waiting()


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Signals raise `Interrupted` in this block; one that waits does so at its beginning."""
    before = _state.holding
    try:
        _state.holding = False
        _raise_waiting()
        yield
    finally:
        _state.holding = before


def _numbers() -> Iterator[Any]:
    return (getattr(signal, name) for name in SIGNALS if hasattr(signal, name))


def _taken(number: int, frame: object) -> None:
    now = time.monotonic()
    if now - _state.last < ONE_WISH:
        return
    _state.last = now
    if _state.holding:
        _state.waiting = True
    else:
        raise Interrupted


def _raise_waiting() -> None:
    if _state.waiting:
        _state.waiting = False
        raise Interrupted
