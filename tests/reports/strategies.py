"""Hypothesis strategies: any report and any comparison that the types allow, with the worst of texts in them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from fixtures.hostile import CONTROLS, MARKUP
from reports.comparison import Comparison
from reports.fleet import Fleet
from reports.report import Operator, Report, Row, StepValue, Trace
from reports.reproduction import Reproduction

WORDS = [
    "",
    " ",
    "a",
    "b",
    "host",
    "numpy",
    "python",
    "operators",
    "blas",
    "libm",
    "cpu.model",
    "blas.kernel",
    "0",
    "f4",
]
BITS = st.sampled_from(
    [bytes(8), b"\1" + bytes(7), bytes([255] * 8), b"\0\0\xc0\x7f\0\0\x80\x7f", b"\0\0\0\x80\1\0\0\0"]
)
"""Eight bytes: zeros, ones, a NaN beside an infinity, a negative zero beside the smallest denormal."""


def texts(surrogates: bool = False) -> st.SearchStrategy[str]:
    """Words that mean something here, spite, and any text. surrogates: lone ones too, which JSON can escape."""
    characters = st.characters() if surrogates else st.characters(exclude_categories=["Cs"])
    pieces = st.one_of(
        st.sampled_from([*WORDS, MARKUP, CONTROLS, "x" * 120, "\u597d" * 60]), st.text(characters, max_size=12)
    )
    return st.one_of(st.sampled_from(WORDS), pieces, st.lists(pieces, max_size=3).map("".join))


INTEGERS = st.one_of(st.integers(-3, 12), st.sampled_from([10**6, 2**53, 2**63, 2**64 - 1, -(2**63)]))
FLOATS = st.one_of(
    st.sampled_from([0.0, 1.0, 0.25, 1e-9, 1e300, -1.5]), st.floats(allow_nan=False, allow_infinity=False)
)


def of(kind: Any, given: dict[Any, st.SearchStrategy[Any]], text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any value of a type that msgspec knows. given: what is used for some types instead."""
    if isinstance(kind, inspect.Type):
        found = kind
    elif kind in given:
        return given[kind]
    else:
        found = inspect.type_info(kind)
    if isinstance(found, inspect.StructType):
        if kind is not found.cls and found.cls in given:
            return given[found.cls]
        fields = {field.name: of(field.type, given, text) for field in found.fields}
        return st.fixed_dictionaries(fields).map(lambda values: found.cls(**values))
    if isinstance(found, inspect.UnionType):
        return st.one_of([of(one, given, text) for one in found.types])
    if isinstance(found, inspect.ListType):
        return st.lists(of(found.item_type, given, text), max_size=3)
    if isinstance(found, inspect.DictType):
        return st.dictionaries(of(found.key_type, given, text), of(found.value_type, given, text), max_size=3)
    if isinstance(found, inspect.LiteralType):
        return st.sampled_from(found.values)
    simple = {
        inspect.StrType: text,
        inspect.IntType: INTEGERS,
        inspect.FloatType: FLOATS,
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
    }
    return simple[type(found)]


def comparisons() -> st.SearchStrategy[Comparison]:
    """Any comparison whose types fit, however little its lists fit each other."""
    numbers = st.integers(1, 1)
    anything: st.SearchStrategy[Comparison] = of(Comparison, {}, texts())
    return st.builds(msgspec.structs.replace, anything, version=numbers, exit=st.sampled_from([0, 1, 3]))


SHAPES = st.one_of(st.just([]), st.lists(st.integers(0, 9), max_size=3), st.just([2]), st.just([2**53]))


def reproductions() -> st.SearchStrategy[Reproduction]:
    return of(Reproduction, {}, texts())


def fleets() -> st.SearchStrategy[Fleet]:
    return of(Fleet, {}, texts())


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """A trace that holds together, of few different digests, so that two of them part anywhere or nowhere."""
    rows = draw(st.lists(of(Row, {}, texts()), min_size=1, max_size=3))
    rows = [msgspec.structs.replace(row, shape=draw(SHAPES), inputs=draw(st.lists(st.integers(-4, 3)))) for row in rows]
    steps = draw(st.integers(0, 3))
    sequence, digests = {}, []
    for step in range(steps):
        order = draw(st.one_of(st.none(), st.lists(st.integers(0, len(rows) - 1), max_size=4)))
        if order is not None:
            sequence[str(step)] = order
        length = len(rows) if order is None else len(order)
        digests.append(base64.b64encode(b"".join(draw(BITS) for _ in range(length))).decode())
    kept = draw(st.lists(of(StepValue, {}, texts()), max_size=3))
    values = draw(BITS.map(base64.b64encode)).decode()
    kept = [
        msgspec.structs.replace(
            one, step=draw(st.integers(0, 3)), row=draw(st.integers(0, 3)), shape=[2], values=values
        )
        for one in kept
    ]
    tree = [draw(st.sampled_from(["00" * 16, "11" * 16])) for _ in range(steps)]
    digest = draw(st.sampled_from(["ab" * 8, "cd" * 8]))
    return Trace(steps, draw(st.lists(texts(), max_size=2)), rows, tree, digests, kept, sequence, digest)


@st.composite
def operators(draw: st.DrawFn, surrogates: bool) -> Operator:
    """An operator whose result has a shape; what was kept of it may still be anything."""
    found = draw(of(Operator, {}, texts(surrogates)))
    if found.result is None:
        return found
    shape, values = draw(SHAPES), base64.b64encode(draw(BITS)).decode()
    result = msgspec.structs.replace(found.result, shape=shape)
    if draw(st.booleans()):
        result = msgspec.structs.replace(result, values=values, dtype="f4", shape=[2])
    return msgspec.structs.replace(found, result=result)


@st.composite
def reports(draw: st.DrawFn, surrogates: bool = False) -> Report:
    """Any report that the codec accepts."""
    given: dict[Any, st.SearchStrategy[Any]] = {Trace: traces(), Operator: operators(surrogates)}
    found = draw(of(Report, given, texts(surrogates)))
    targets = []
    for target in found.targets:
        battery = target.battery
        if battery:
            battery = msgspec.structs.replace(battery, operators=_named_once(battery.operators))
        jobs = [
            job if _repeats_fit(job) else msgspec.structs.replace(job, repeats=[]) for job in _named_once(target.jobs)
        ]
        targets.append(msgspec.structs.replace(target, battery=battery, jobs=jobs))
    if targets:
        targets[0] = msgspec.structs.replace(targets[0], name="host")  # so that two reports have one in common
    return msgspec.structs.replace(found, version=1, targets=_named_once(targets))


def _named_once(items: list[Any]) -> list[Any]:
    return list({item.name.encode("utf-8", "replace"): item for item in items}.values())


def _repeats_fit(job: Any) -> bool:
    from reports.misfits import misfits
    from reports.report import Auditor, Target

    return not any(misfits(Report("audit-report", 1, "", "", "", Auditor(), [Target("host", jobs=[job])])))
