"""One thing that is done while this process does another: what an engine takes its time for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Beside(Generic[_T]):
    """Does `work` in a thread that begins at once. Signals reach the main thread only, so none tears it.

    The interpreter does not end before it is done, unless that is not to be waited for (daemon).
    """

    def __init__(self, work: Callable[[], _T], daemon: bool = False) -> None:
        self._work = work
        self._done: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=daemon)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except BaseException as error:  # raised again where the result is asked for
            self._error = error

    def done(self, seconds: float) -> bool:
        """Whether it is done, now or within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> _T:
        """What came of it, once it is done. Raises what it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._done[0]
