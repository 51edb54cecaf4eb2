"""Every job runs once for all tests that only look: here, or in the interpreter that has its framework."""

from __future__ import annotations

import functools
import json

import job_traces
import pytest

from fixtures import environments
from probes import jobs

HERE = ("python", "numpy")


@functools.cache
def _looked(name: str) -> job_traces.Record:
    if name in HERE:
        found: job_traces.Record = json.loads(json.dumps(job_traces.look(name)))
        return found
    seen: job_traces.Record = job_traces.elsewhere(environments.frameworks(), "job_traces.py", name)
    return seen


@pytest.fixture(params=[pytest.param(name, marks=[] if name in HERE else pytest.mark.torch) for name in jobs.NAMES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def looked(name: str) -> job_traces.Record:
    """What `job_traces.look` gives."""
    return _looked(name)
