"""Progress on standard error: what is being done and how far it is. On a terminal a line that moves."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from probes import streams

PATIENCE = 0.5
"""Seconds for which nothing is said: what is done by then needs no progress, nor the import that shows it."""


class Progress:
    """A context in which `notify(words, done, total)` shows progress; quiet shows nothing. patience: PATIENCE, or 0
    for what may say something once and then be silent for long."""

    def __init__(self, quiet: bool, patience: float = PATIENCE) -> None:
        self.quiet = quiet or sys.stderr is None
        self.patience = patience
        self.began = time.monotonic()
        self.words = ""
        self.bar: Any = None
        self.task: Any = None
        self.silenced = ""  # what is being done while a program prints
        self.unfinished = False  # its last line

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._finish_line()

    def notify(self, words: str, done: int, total: int) -> None:
        """Say that `done` of `total` (0: not known) of what `words` names is done."""
        if self.quiet or time.monotonic() - self.began < self.patience or (words and words == self.silenced):
            return
        self._finish_line()
        if sys.stderr.isatty():
            with contextlib.suppress(OSError):
                self._move(words, done, total)
        elif words != self.words:
            self.words = words
            streams.say(words)

    def of(self, name: str) -> Callable[[str, int, int], None]:
        """`notify` for one of several things."""
        return lambda words, done, total: self.notify(f"{name}: {words}", done, total)

    def say(self, words: str) -> None:
        """A line that stays, between those that move: what went wrong and does not end the command."""
        if not self.quiet:
            streams.say(words)

    def pass_on(self, data: bytes) -> None:
        """What a program prints. It has the place to itself until something else is done."""
        self._stop()
        self.silenced = self.words
        self.unfinished = not data.endswith(b"\n")
        streams.pass_on(data)

    def _finish_line(self) -> None:
        if self.unfinished:
            self.unfinished = False
            streams.pass_on(b"\n")

    def _stop(self) -> None:
        bar, self.bar, self.task = self.bar, None, None
        if bar:
            with contextlib.suppress(OSError):  # the terminal was closed
                bar.stop()

    def _move(self, words: str, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = _bar()
            self.bar.start()
        if words != self.words or self.task is None:
            self.words = words
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(words, total=total or None)
        self.bar.update(self.task, completed=done, total=total or None)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
