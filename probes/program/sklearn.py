"""Steps of a program that trains with scikit-learn: a call of `fit`, `partial_fit`, `predict` or the like of an
estimator that no other estimator calls.

Rows, by phase:

    data     generator.numpy (`numpy_random`); batch.X, batch.y: the arguments, by their names
    update   weight:ESTIMATOR.NAME: what it has in attributes that end in "_" after it was fitted, of its own estimators
             too; a second one of the class is ESTIMATOR#1
    forward  output: what any other method returned; its inputs are the arguments and these weights

What happens within a call is one operator, "MLPClassifier.fit": of its iterations only what it keeps itself
("weight:MLPClassifier.loss_curve_"). Methods are wrapped where a class defines them, as classes are made.
"""

import functools
import multiprocessing
import sys
import weakref
from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

from . import arrays
from .recorder import Recorder

METHODS = {"fit": True, "partial_fit": True, "fit_predict": True, "fit_transform": True}
METHODS.update(dict.fromkeys(("predict", "predict_proba", "decision_function", "transform", "score_samples"), False))
"""The calls that are steps, and whether they fit."""

_MOST = 256
"""Arrays of one estimator or one call that become rows."""

_DEPTH = 4
"""Estimators within estimators that are looked into."""


def install(recorder: Recorder) -> None:
    """Hook scikit-learn: the import of `sklearn.base` has ended, and no estimator was made yet."""
    base: Any = sys.modules["sklearn.base"].BaseEstimator
    steps = _Steps(recorder, base)
    made = base.__init_subclass__

    def subclass_made(cls: Any, /, **options: Any) -> None:
        made.__func__(cls, **options)
        steps.wrap(cls)

    base.__init_subclass__ = classmethod(subclass_made)
    for cls in _below(base):
        steps.wrap(cls)


def _below(cls: Any) -> Iterator[Any]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


class _Steps:
    """inside: a call is under way, and whatever it calls belongs to it."""

    def __init__(self, recorder: Recorder, base: Any) -> None:
        self.inside = False
        self._recorder = recorder
        self._base = base
        self._before = recorder.guard(self._begin)
        self._after = recorder.guard(self._end)
        self._elsewhere = recorder.guard(self._say_elsewhere)
        self._inputs: List[int] = []
        self._wrapped_classes: Set[Any] = {base}
        self._labels: Any = weakref.WeakKeyDictionary()  # of estimators, which compare as themselves
        self._classes: Dict[str, int] = Counter()

    def wrap(self, cls: Any) -> None:
        """Have the calls of an estimator's class recorded, and of the mixins that it is made of."""
        for one in cls.__mro__[:-1]:
            if one not in self._wrapped_classes:
                self._wrapped_classes.add(one)
                for name in METHODS:
                    method = vars(one).get(name)
                    if callable(method):
                        setattr(one, name, self._wrapped(name, method))

    def _wrapped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def called(estimator: Any, *arguments: Any, **options: Any) -> Any:
            if self.inside or not self._recorder.active:
                return method(estimator, *arguments, **options)
            if multiprocessing.parent_process() is not None:
                self._elsewhere()
                return method(estimator, *arguments, **options)
            self.inside = True
            try:
                self._before(estimator, name, arguments, options)
                result = method(estimator, *arguments, **options)
            finally:
                self.inside = False
            self._after(estimator, name, result)
            return result

        return called

    def _say_elsewhere(self) -> None:
        self._recorder.note("scikit-learn: what processes of joblib do is not recorded")
        self._recorder.flush()
        self._recorder.active = False

    def _begin(self, estimator: Any, name: str, arguments: Tuple[Any, ...], options: Dict[str, Any]) -> None:
        names = ("X", "y", "sample_weight")
        given = {**dict(zip(names, arguments)), **options}
        self._inputs = [
            self._recorder.row("data", "batch." + place, "constant", bits) for place, bits in _all_bits(given.items())
        ]
        if "X" in given and not self._inputs:
            self._recorder.note("scikit-learn: an X of {} is not recorded".format(type(given["X"]).__name__))
        self._inputs.extend(self._recorder.latest("data", "generator.numpy"))

    def _end(self, estimator: Any, name: str, result: Any) -> None:
        kind = type(estimator).__name__
        operator = "{}.{}".format(kind, name)
        label = "weight:{}.".format(self._label(estimator))
        fitted = [(label + place, value) for place, value in self._fitted(estimator, 0)]
        before = tuple(self._inputs)
        if METHODS[name]:
            goes_on = name == "partial_fit" or getattr(estimator, "warm_start", False)
            found = list(_all_bits(fitted))
            for place, bits in found:
                inputs = (*before, *(self._recorder.latest("update", place) if goes_on else ()))
                last = place == found[-1][0]
                self._recorder.row("update", place, operator, bits, inputs, module=kind, sample=last)
        if result is not estimator and result is not None:
            inputs = (*before, *self._recorder.latest("forward", *(place for place, _ in fitted)))
            for place, bits in _all_bits([("output", result)]):
                self._recorder.row("forward", place, operator, bits, inputs, module=kind, sample=True)
        self._recorder.end_step()

    def _label(self, estimator: Any) -> str:
        label: Any = self._labels.get(estimator)
        if label is None:
            kind = type(estimator).__name__
            label = "{}#{}".format(kind, self._classes[kind]) if self._classes[kind] else kind
            self._classes[kind] += 1
            self._labels[estimator] = label
        return str(label)

    def _fitted(self, estimator: Any, depth: int) -> Iterator[Tuple[str, Any]]:
        """What an estimator learnt, by name, its own estimators' too."""
        for name, value in vars(estimator).items():
            if name.endswith("_") and not name.startswith("_") and not name.endswith(("__", "_time_")):
                yield from self._within(name, value, depth)
            elif name == "steps":  # of a Pipeline, whose fitted estimators stand in its parameters
                for step, part in value:
                    yield from self._within(step, part, depth)

    def _within(self, name: str, value: Any, depth: int) -> Iterator[Tuple[str, Any]]:
        if isinstance(value, self._base):
            if depth < _DEPTH:
                for inner, one in self._fitted(value, depth + 1):
                    yield "{}.{}".format(name, inner), one
        elif isinstance(value, (list, tuple)) and not all(isinstance(one, (bool, int, float, str)) for one in value):
            for place, one in enumerate(value):
                yield from self._within("{}.{}".format(name, place), one, depth)
        elif type(value).__name__ == "Tree" and type(value).__module__.startswith("sklearn."):
            state = value.__getstate__()
            nodes = state["nodes"]
            for field in nodes.dtype.names:  # the whole records have bytes that nobody sets between their fields
                yield "{}.{}".format(name, field), nodes[field]
            yield name + ".values", state["values"]
        else:
            yield name, value


def _all_bits(named: Any) -> Iterator[Tuple[str, Any]]:
    """Those of the values that have bits, with them; a sparse matrix has three arrays."""
    count = 0
    for name, value in named:
        if hasattr(value, "indptr") and hasattr(value, "indices"):
            parts = [(name + "." + part, getattr(value, part)) for part in ("data", "indices", "indptr")]
        else:
            parts = [(name, value)]
        for place, part in parts:
            try:
                bits = arrays.bits(part)
            except (TypeError, ValueError):  # a function, None, lists of several lengths
                continue
            count += 1
            if count > _MOST:
                return
            yield place, bits
