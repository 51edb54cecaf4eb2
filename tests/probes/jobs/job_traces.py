"""What the tests of all jobs look at: a job's traces, one with a perturbed row, and its operators, as plain values.

As a script it is run by an interpreter that has the job's framework, and prints what there is to see.
"""

from __future__ import annotations

import base64
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from probes import jobs
from probes.digest import Tensor, tensor
from probes.jobs import Job
from probes.sketch import observe
from probes.trace import Trace

Record = dict[str, Any]

TARGETS = {
    name: [(0, "forward", "embed.sum"), (1, "backward", "block0.ffn.w1"), (3, "loss", loss), (7, "update", "weights")]
    for name, loss in {"python": "exp", "numpy": "exp", "torch": "log_softmax", "jax": "log_softmax"}.items()
}
"""Rows to perturb."""


class Perturbed(Trace):
    """Changes the result of one row by 1 ULP in one element."""

    def __init__(self, step: int, phase: str, name: str) -> None:
        super().__init__()
        self.target = (step, phase, name)

    def call(self, name: str, operator: str, components: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        if (len(self._steps) - 1, self._phase, name) != self.target:
            return super().call(name, operator, components, function, *arguments, **options)

        def perturbed(*arguments: Any, **options: Any) -> Any:
            return _other(function(*arguments, **options))

        return super().call(name, operator, components, perturbed, *arguments, **options)


def _other(result: Any) -> Any:
    if isinstance(result, list):
        return [*result[:-1], math.nextafter(result[-1], 9.0)]
    if hasattr(result, "untyped_storage"):
        result = result.clone()
        result.view(sys.modules["torch"].int32).view(-1)[-1] += 1
        return result
    bits = result.copy().view("i4")
    bits.ravel()[-1] += 1
    return bits.view("f4")


class Measured(Trace):
    """Keeps the smallest and the largest size of each row's floats: no zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, list[float]] = {}

    def _append(self, name: str, operator: str, components: Any, inputs: Any, result: Any, digest: bytes) -> None:
        super()._append(name, operator, components, inputs, result, digest)
        bits = tensor(result)
        if bits.dtype[0] == "f":
            low, high = sizes(bits)
            before = self.sizes.get(name, [low, high])
            self.sizes[name] = [min(before[0], low), max(before[1], high)]


def sizes(bits: Tensor) -> list[float]:
    """The smallest size, no zeros, and the largest; the largest is infinite where something is not finite."""
    import numpy

    found = numpy.abs(numpy.frombuffer(bits.data, bits.dtype).astype("f8"))
    largest = float(found.max()) if numpy.isfinite(found).all() else math.inf
    return [float(found[found > 0].min(initial=1)), largest]


def run(job: Job, trace: Trace | None = None) -> tuple[Record, Record]:
    """Record and outcome."""
    trace = trace or Trace()
    outcome = job.run(trace, lambda done, steps: None)
    return trace.record(), outcome


def look(name: str) -> Record:
    """All that there is to see of a job."""
    module = importlib.import_module("probes.jobs." + name)
    job, seen = jobs.load(name), []
    trace = Trace()
    outcome = job.run(trace, lambda done, steps: seen.append([done, steps]))
    measured = Measured()
    again, _ = run(job, measured)
    steps, module.STEPS = module.STEPS, 10
    perturbed = [run(job, Perturbed(*target))[0] for target in TARGETS[name]]
    module.STEPS = steps
    record = trace.record()
    return {
        "record": record,
        "outcome": outcome,
        "repeats": again == record,
        "progress": seen,
        "sizes": measured.sizes,
        "origins": [origins(one, record) for one in perturbed],
        "operators": [_operator(operator) for operator in module.operators()],
        "again": {one.name: tensor(one.function()).digest().hex() for one in reversed(module.operators())},
        "configuration": jobs.configuration_digest(job),
    }


def _operator(operator: Any) -> Record:
    bits = tensor(operator.function())
    seen = {"name": operator.name, "components": [operator.component, *operator.through], **observe(bits)}
    return {**seen, "threaded": operator.threaded, "sizes": sizes(bits)}


def elsewhere(python: str, script: str, *arguments: str, prefix: tuple[str, ...] = (), **variables: str) -> Any:
    """What a script beside this one prints in another interpreter, without variables that decide numbers."""
    barred = ("OPENBLAS", "NPY", "OMP", "MKL", "ATEN", "ONEDNN", "DNNL", "XLA", "JAX", "NPROC")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(barred)}
    folder = Path(__file__).parent
    environment.update({"PYTHONPATH": str(folder.parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}, **variables)
    # Threads that spin while they wait stop each other for minutes on a busy machine. It changes no bits.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command = [*prefix, python, str(folder / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(record: Record, step: int) -> list[tuple[Record, bytes]]:
    """Definition and digest of every row of a step."""
    data = base64.b64decode(record["digests"][step])
    numbers = record["sequence"].get(str(step), range(len(data) // 8))
    return [(record["rows"][number], data[8 * at : 8 * at + 8]) for at, number in enumerate(numbers)]


def origins(one: Record, two: Record) -> list[tuple[int, str, str]]:
    """Step, phase and tensor of all rows with equal inputs and unequal outputs, in the first step that differs."""
    before: set[int] = set()
    for step in range(one["steps"]):
        pairs = list(zip(rows(one, step), rows(two, step), strict=True))
        differing = {at for at, ((_, mine), (_, its)) in enumerate(pairs) if mine != its}
        if differing:
            bad = differing | {-(at + 1) for at in before}
            return [
                (step, row["phase"], row["tensor"])
                for at, ((row, _), _) in enumerate(pairs)
                if at in differing and not bad & set(row["inputs"])
            ]
        before = differing
    return []


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1]) if sys.argv[2:] != ["run"] else run(jobs.load(sys.argv[1]))))
