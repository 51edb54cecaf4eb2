"""The numpy job: gradients, and what settings move."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from job_traces import Record, origins

from fixtures.record import MACHINES
from probes.digest import tensor
from probes.jobs import numpy as job_numpy
from probes.trace import Trace
from reports import codec

CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from probes import jobs
from probes.trace import Trace
trace = Trace()
outcome = jobs.load("numpy").run(trace, lambda done, steps: None)
print(json.dumps([trace.record(), outcome]))
"""


def child(**settings: str) -> tuple[Record, Record]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENBLAS", "NPY", "OMP"))}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parents[3])]
    done = subprocess.run(command, env={**environment, **settings}, capture_output=True, check=True)
    record, outcome = json.loads(done.stdout)
    assert outcome["learned"], settings
    return record, outcome


def openblas() -> Any:
    from threadpoolctl import threadpool_info

    return next((info for info in threadpool_info() if info["internal_api"] == "openblas"), None)


@pytest.fixture(scope="module")
def here() -> Record:
    return child()[0]


def test_gradients_are_those_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, against central differences."""
    monkeypatch.setattr(job_numpy, "_f32", numpy.float64)
    trace = Trace()
    trace.begin_step()
    calls = job_numpy._Calls(trace)
    tokens, answers = job_numpy._batch()
    weights = job_numpy.first_weights(job_numpy.PARAMETERS, "numpy_job").astype("f8")

    def loss(at: numpy.ndarray[Any, Any]) -> tuple[float, Any]:
        logits, saved = job_numpy._forward(calls, job_numpy._cut(at), tokens)
        return float(job_numpy._cross_entropy(calls, logits, answers, saved)), saved

    _, saved = loss(weights)
    gradients = job_numpy._backward(calls, job_numpy._cut(weights), tokens, answers, saved)
    start = 0
    for name, shape, _ in job_numpy.PARAMETERS:
        count = int(numpy.prod(shape))
        for at in range(0, count, max(1, count // 5)):
            change = numpy.zeros_like(weights)
            change[start + at] = 1e-6
            slope = (loss(weights + change)[0] - loss(weights - change)[0]) / 2e-6
            assert gradients[name].ravel()[at] == pytest.approx(slope, abs=1e-8), name
        start += count
    assert start == 9344


def test_settings_move_the_first_row_that_they_decide(here: Record) -> None:
    blas = openblas()
    if blas is None:
        pytest.skip("numpy has no OpenBLAS here")
    if blas["architecture"] == "SkylakeX":
        moved = origins(here, child(OPENBLAS_CORETYPE="Haswell")[0])
        assert [(step, phase) for step, phase, _ in moved] == [(0, "forward")] * len(moved)
        assert moved[0][2] == "block0.attention.query"
    moved = origins(here, child(OPENBLAS_CORETYPE="Nehalem")[0])
    assert moved
    assert moved[0][0] == 0


def test_threads_move_the_job_at_step_0(here: Record) -> None:
    blas = openblas()
    if blas is None or blas["num_threads"] < 2 or blas["architecture"] not in ("SkylakeX", "Haswell", "Zen"):
        pytest.skip("needs OpenBLAS with two threads on a kernel where they are known to matter")
    moved = origins(here, child(OPENBLAS_NUM_THREADS="1")[0])
    assert moved[0][0] == 0
    assert moved[0][2] == "block0.attention.keyvalue"


def test_simd_moves_the_power_at_step_0(here: Record) -> None:
    features = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if "X86_V4" not in features:
        pytest.skip("numpy finds no AVX-512 here")
    moved = origins(here, child(NPY_DISABLE_CPU_FEATURES="X86_V4")[0])
    assert moved == [(0, "forward", "block0.attention.norm.scale")]


@pytest.mark.parametrize("name", ["host~blas+numpy=cpu.model~haswell", "host~blas+numpy+libm=cpu.model~nehalem"])
def test_it_learned_on_another_cpu(here: Record, name: str) -> None:
    """As recorded; that such a CPU, emulated, gives these bits is seen in tests/audit/test_machines.py, or
    imitated in test_reproduce_live.py beside it."""
    (target,) = codec.read(str(MACHINES / f"{name}.json.gz"))[0].targets
    job = next(one for one in target.jobs if one.name == "numpy")
    assert job.outcome
    assert job.outcome.learned
    assert job.trace
    assert [row.tensor for row in job.trace.rows] == [row["tensor"] for row in here["rows"]]


def test_first_weights_are_pinned() -> None:
    assert tensor(job_numpy.first_weights(job_numpy.PARAMETERS, "numpy_job")).digest().hex() == "38b6c8f06c5257e3"


THREADS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from probes.jobs import numpy as job

def others():
    tasks = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
    return sum(int(open("/proc/self/task/" + task + "/schedstat").read().split()[0]) for task in tasks)

def used(operator):
    # Workers spin for a while after their work, and their time is booked when they stop.
    operator.function()
    time.sleep(0.2)
    before = others()
    for _ in range(5):
        operator.function()
    time.sleep(0.2)
    return others() != before

blas = [operator for operator in job.operators() if operator.component == "blas"]
print(*[operator.name for operator in blas if used(operator)])
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no CPU time of threads here")
def test_operators_tagged_threaded_are() -> None:
    """No untagged operator uses several threads; of the tagged, version and kernel decide which do."""
    blas = openblas()
    if blas is None or blas["num_threads"] < 2:
        pytest.skip("needs OpenBLAS with two threads")
    command = [sys.executable, "-c", THREADS, str(Path(__file__).parents[3])]
    used = set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert used <= {operator.name for operator in job_numpy.operators() if operator.threaded}
    assert "numpy_job.backward.block0.attention.keyvalue" in used
