"""Every job runs once for all tests that only look."""

from __future__ import annotations

import functools

import job_traces as traces
import pytest

from probes import jobs


@functools.cache
def _ran(name: str) -> tuple[traces.Record, traces.Record]:
    return traces.run(jobs.load(name))


@pytest.fixture(params=jobs.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ran(name: str) -> tuple[traces.Record, traces.Record]:
    return _ran(name)
