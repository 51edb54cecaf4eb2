"""Pipelines of torch.distributed: before its first step, a stage computes once with memory that nobody has written, to
learn the shapes of what it gives. That is no part of the training, and is not recorded.
"""

import functools
import sys
from typing import Any, Callable

from .recorder import Recorder

_LEARN = ("_forward_metadata_inference", "_backward_metadata_inference", "_shape_inference")
"""What does so, the last one before torch 2.13."""


def install(recorder: Recorder) -> None:
    """Hook the stages of pipelines; the import of their module has ended."""
    for kind in list(vars(sys.modules["torch.distributed.pipelining.stage"]).values()):
        for name in _LEARN:
            method = vars(kind).get(name) if isinstance(kind, type) else None
            if callable(method):
                setattr(kind, name, _unrecorded(recorder, method))


def _unrecorded(recorder: Recorder, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(*arguments: Any, **options: Any) -> Any:
        active, recorder.active = recorder.active, False
        try:
            return method(*arguments, **options)
        finally:
            recorder.active = active

    return called
