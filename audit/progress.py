"""Progress on standard error: what is being done and how far it is. On a terminal a line that moves."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """A context in which `notify(words, done, total)` shows progress; quiet shows nothing."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.words = ""
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def notify(self, words: str, done: int, total: int) -> None:
        """Say that `done` of `total` (0: not known) of what `words` names is done."""
        if self.quiet:
            return
        if self.bar is None:
            if words != self.words:
                self.words = words
                print(words, file=sys.stderr)
            return
        if words != self.words:
            self.words = words
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(words, total=total or None)
        self.bar.update(self.task, completed=done, total=total or None)
