"""Scores that a framework computes for the program: the metrics of `transformers.Trainer`, when it has evaluated or
trained, and the results of lm-eval-harness (`lm_eval.evaluator.evaluate`), with their standard errors.

What only says how fast or how far a program is, is no score.
"""

import functools
import sys
from typing import Any, Callable, Dict

from .recorder import Recorder

_NO_SCORES = ("runtime", "per_second", "_flos", "epoch", "step", "_time", "memory", "num_input_tokens_seen")


def install(recorder: Recorder) -> None:
    """Hook what was imported of the two, and is not hooked yet."""
    trainer: Any = getattr(sys.modules.get("transformers.trainer"), "Trainer", None)
    if trainer is not None and not hasattr(trainer.evaluate, "__wrapped__"):
        trainer.evaluate = _told(recorder, trainer.evaluate, _metrics)
        trainer.train = _told(recorder, trainer.train, _training)
    harness: Any = sys.modules.get("lm_eval.evaluator")
    if harness is not None and not hasattr(harness.evaluate, "_audited"):
        harness.evaluate = _told(recorder, harness.evaluate, _tasks)
        harness.evaluate._audited = True


def _told(
    recorder: Recorder, function: Callable[..., Any], tell: Callable[[Recorder, Any], None]
) -> Callable[..., Any]:
    guarded = recorder.guard(functools.partial(tell, recorder))

    @functools.wraps(function)
    def told(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        guarded(result)
        return result

    return told


def _metrics(recorder: Recorder, metrics: Dict[str, Any]) -> None:
    for name, value in metrics.items():
        if isinstance(value, (int, float)) and not name.endswith(_NO_SCORES):
            recorder.score(name, float(value))


def _training(recorder: Recorder, output: Any) -> None:
    _metrics(recorder, output.metrics)


def _tasks(recorder: Recorder, output: Any) -> None:
    """{"results": {task: {"acc,none": 0.5, "acc_stderr,none": 0.1, "alias": ...}}}; None where another rank has it."""
    for task, results in (output or {}).get("results", {}).items():
        for key, value in results.items():
            metric, _, chosen = key.partition(",")
            if isinstance(value, (int, float)) and not metric.endswith("_stderr"):
                stderr = results.get("{}_stderr,{}".format(metric, chosen))
                name = "{} {}".format(task, metric if chosen in ("", "none") else key)
                recorder.score(name, float(value), stderr if isinstance(stderr, float) else None)
