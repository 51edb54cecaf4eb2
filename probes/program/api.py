"""What a program says of itself: `audit.record`, `audit.watch` and `audit.score`, told to the Recorder of its process.

Steps: where no framework shows any, a new number of `record`'s argument `step` begins one; the last one ends with the
process. In a process that has steps of a framework's (torch is imported, or some hook has ended a step) such numbers
mean nothing, and a row is of the step that is open.
"""

import contextlib
import sys
from typing import Any, Callable, List, Optional

from . import arrays
from .recorder import Enough, Recorder, obtained

Watcher = Callable[[Any, Any], bool]
"""Follows a model and an optimizer, or None; whether it can."""


class Api:
    """The functions for one process. Nothing that they are given makes them raise anything but Enough."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._number: Optional[int] = None  # the program's own of the step that is open
        self._steps = 0  # ended here
        self.record = recorder.guard(self._record)
        self.watch = recorder.guard(self._watch)
        self.score = recorder.guard(self._score)
        recorder.at_end(self._end)

    def _record(self, name: Any, array: Any, step: Any) -> None:
        if step is not None and self._number not in (None, step) and self._alone():
            self._end_step()
        try:
            bits = arrays.bits(array)
        except TypeError:
            self._recorder.note("audit.record: {} has no bits to record".format(type(array).__name__))
            return
        self._recorder.row("record", "record:{}".format(name), "record", bits, sample=True)
        if step is not None:
            self._number = step

    def _watch(self, model: Any, optimizer: Any) -> None:
        if not any(watcher(model, optimizer) for watcher in watchers):
            self._recorder.note("audit.watch: {} is no model of torch's".format(type(model).__name__))

    def _score(self, name: Any, value: Any, stderr: Any) -> None:
        self._recorder.score(str(name), float(value), None if stderr is None else float(stderr))

    def _alone(self) -> bool:
        return "torch" not in sys.modules and self._recorder.step_of("record") == self._steps

    def _end_step(self) -> None:
        self._steps += 1
        self._recorder.end_step()

    def _end(self) -> None:
        if self._number is not None and self._alone():
            with contextlib.suppress(Enough):  # it is the end
                self._end_step()


watchers: List[Watcher] = []
"""Of the frameworks that were hooked."""

_apis: List[Api] = []


def of(folder: str) -> Api:
    """The functions for this process; the Recorder is awake from now on."""
    if not _apis:
        _apis.append(Api(obtained(folder)))
    return _apis[0]
