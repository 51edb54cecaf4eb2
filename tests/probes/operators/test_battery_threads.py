"""Operators not tagged `threaded` run on the calling thread alone: worker threads get no CPU time from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import importlib, os, sys, time
sys.path.insert(0, sys.argv[1])
import numpy
from threadpoolctl import threadpool_limits

def worker_time():
    total = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open("/proc/self/task/" + task + "/schedstat") as file:
                total += int(file.read().split()[0])
    return total

def used_by(operators):
    # Workers spin for a while after their work, and their time is booked when they stop.
    before = worker_time()
    for operator in operators:
        operator.function()
    time.sleep(0.02)
    after = worker_time()
    while after != before:
        time.sleep(0.2)
        if worker_time() == after:
            return True
        after = worker_time()
    return False

threadpool_limits(int(sys.argv[2]))
used_by([type("Start", (), {"function": lambda: numpy.ones((600, 600)) @ numpy.ones((600, 600))})])
components = ("fpu", "numpy", "random", "blas")
operators = [o for c in components for o in importlib.import_module("probes.operators." + c).operators()]
tagged, untagged = ([o for o in operators if o.threaded == flag] for flag in (True, False))
print(*(o.name for o in tagged if used_by([o])))
print(*(o.name for o in untagged if used_by([o])) if used_by(untagged) else ())
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no CPU time of threads here")
@pytest.mark.parametrize("threads", [2, 8])
def test_only_tagged_operators_use_several_threads(threads: int) -> None:
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", CHILD, root, str(threads)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    tagged, untagged = (line.split() for line in lines)
    assert {"blas.matmul.f32.32x507x64", "blas.gemv_t.f32.1000x1000", "blas.cholesky.f64.200"} <= set(tagged)
    assert not untagged
