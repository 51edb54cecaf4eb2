"""Answers requests as children do, each in a fork of this process, which has imported torch under the stand-in: so one
takes a moment and not seconds. Lines of JSON: {"request", "variables"} in, records out. Of the battery only a few
operators are run."""

from __future__ import annotations

import json
import os
import sys

import torch  # noqa: F401

from probes import battery, child

FEW = ("cuda.matmul.f32.17x31x13", "cuda.matmul.f64.17x31x13", "cuda.linear.f32.160x128x96", "cuda.exp.f32",
       "cuda.linear_backward.f32.160x128x96", "cuda.add.f32", "mkl.matmul.f32.128x300x96")  # fmt: skip


def emit(record: dict[str, object]) -> None:
    print(json.dumps(record), flush=True)


battery.COMPONENTS, battery.NAMES = ("mkl", "cuda"), ()
skip = [one.name for one, _ in battery.load({}, lambda name: True) if one.name not in FEW]
for line in sys.stdin:
    asked = json.loads(line)
    if not os.fork():
        for name, value in asked["variables"].items():
            os.environ[name] = value
            if not value:
                del os.environ[name]
        child.serve({**asked["request"], "skip": skip}, emit)
        os._exit(0)
    os.wait()
