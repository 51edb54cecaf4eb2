"""A whole session in one child: what it sends, and the halves of a machine."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.targets.prefix import PrefixTarget
from audit.targets.talk import Talk
from probes import session, whole


def asked(**more: Any) -> session.Request:
    return {"work": "report", "jobs": ["none"], "repeat": 1, "limit": 60.0, "half": None, **more}


def answer(request: session.Request) -> list[session.Record]:
    return list(PrefixTarget([], sys.executable).beside(request, lambda talk: None))


def target(request: session.Request) -> dict[str, Any]:
    return next(record["target"] for record in answer(request) if "target" in record)


def test_it_is_what_a_session_of_several_children_gives() -> None:
    sent = target(asked(jobs=["python"]))
    captured = session.capture(session.plan(["python"], 1), PrefixTarget([], sys.executable).launch, lambda *_: None)
    assert sent["jobs"][0]["trace"]["digest"] == captured["jobs"][0]["trace"]["digest"]
    results = [
        {
            one["name"]: one.get("result", {}).get("digest")
            for one in part["battery"]["operators"]
            if not one.get("hazard")
        }
        for part in (sent, captured)
    ]
    assert results[0] == results[1]
    assert sent["facts"].keys() == captured["facts"].keys()
    assert "incomplete" not in sent


def test_it_says_what_it_is_at() -> None:
    records = answer(asked(jobs=["python"]))
    said = [record["doing"] for record in records if "doing" in record]
    assert list(dict.fromkeys(said)) == ["operators, run 1 of 1", "job python, run 1 of 1"]
    assert "end" in records[-1]


@pytest.mark.parametrize("half", [1, 2])
def test_a_half_of_the_cpus(half: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    facts = target(asked(half=half))["facts"]
    assert facts["limits.affinity"]["value"] == len(whole.half(allowed, half))


@given(st.lists(st.integers(0, 255), min_size=2, max_size=64, unique=True), st.integers(1, 4), st.integers(1, 8))
def test_halves_are_of_different_cores(cpus: Sequence[int], packages: int, cores: int) -> None:
    """Numbered as Linux does it: the second threads of all cores behind the first."""
    place = {cpu: (cpu % packages, cpu // packages % cores) for cpu in cpus}
    found = []

    def number(path: str) -> int:
        _, cpu, name = path.rsplit("/", 2)
        return place[int(cpu)][name == "core_id"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "_number", number)
        found = [whole.half(sorted(cpus), which, "/{}/{}") for which in (1, 2)]
    assert sorted(found[0] + found[1]) == sorted(cpus)
    apart = len(set(place.values())) > 1
    counts = [len({place[cpu] if apart else cpu for cpu in one}) for one in found]
    assert counts[0] - counts[1] in (0, 1)
    assert not apart or not {place[cpu] for cpu in found[0]} & {place[cpu] for cpu in found[1]}


def test_one_cpu_is_both_halves() -> None:
    assert whole.half([5], 1) == whole.half([5], 2) == [5]


def ended(by: Callable[[Talk], None]) -> Talk:
    """The talk with a child that something ends while a job runs."""
    talks: list[Talk] = []
    for record in PrefixTarget([], sys.executable).beside(asked(jobs=["python"]), talks.append):
        if record.get("doing", "").startswith("job"):
            by(talks[0])
    return talks[0]


def test_another_thread_ends_it() -> None:
    with pytest.raises(session.Died, match="enough"):
        ended(lambda talk: talk.stop("enough"))


def test_a_signal_ends_it_and_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKER", mark := secrets.token_hex(8))
    with pytest.raises(session.Died, match="SIGTERM"):
        ended(lambda talk: os.kill(talk.process.pid, signal.SIGTERM))  # type: ignore[attr-defined]
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if _has(path, mark)]


def _has(path: Path, mark: str) -> bool:
    try:
        return mark.encode() in path.read_bytes()
    except OSError:
        return False
