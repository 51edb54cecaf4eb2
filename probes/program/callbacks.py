"""Callbacks of torch's futures, as communication hooks have them: the thread runs one that registers it or that
completes the future, whichever comes later. So what they compute is seen in none.
"""

import functools
import threading
from typing import Any, Callable, Set

import torch

from .recorder import Recorder


class Callbacks:
    """Knows where one runs. is_open: tells whether operators are recorded, so that it is said what is not."""

    def __init__(self, recorder: Recorder, is_open: Callable[[], bool]) -> None:
        self._recorder = recorder
        self._is_open = is_open
        self._threads: Set[int] = set()
        for name in ("then", "add_done_callback"):
            setattr(torch._C.Future, name, self._noticing(getattr(torch._C.Future, name)))

    def running(self) -> bool:
        """Whether this thread runs one."""
        return bool(self._threads) and threading.get_ident() in self._threads

    def _noticing(self, register: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(register)
        def noticing(future: Any, callback: Callable[..., Any]) -> Any:
            def called(*arguments: Any) -> Any:
                thread = threading.get_ident()
                self._threads.add(thread)
                try:
                    return callback(*arguments)
                finally:
                    self._threads.discard(thread)

            if self._is_open():
                self._recorder.note("callbacks of futures (communication hooks): what they compute is not seen")
            return register(future, called)

        return noticing
