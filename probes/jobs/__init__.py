"""The reference jobs: one seeded training a framework, traced call by call.

Contract of a file here: it is named after its framework and gives

    job() -> Job    raises Absent with a reason where the framework is not installed (importing the file may, too); for
                    a job on another device, "torch-cuda", it is given the device
    operators()     every call of one training step as operators of the battery, at its own shapes (`replay.py`)

A job trains for real and must learn under every setting and on every machine: loss below 0.05 and every example right.
First values come from `probes/inputs.py`, so that all machines start from equal bits. Every library call is one row of
the trace. A change of anything that a job computes is a new `version`.
"""

import hashlib
import importlib
import json
from typing import Any, Callable, Dict, NamedTuple, Tuple

from ..facts import Absent

NAMES = ("python", "numpy", "torch", "jax")
"""Every job that runs on the CPU, in the order in which they run."""

ON_CUDA = {"torch": "torch-cuda"}
"""The same trainings on a GPU: jobs of their own, as a GPU gives other bits by design."""

LIBRARIES: Dict[str, Tuple[str, ...]] = {
    "python": (),
    "numpy": ("numpy",),
    "torch": ("numpy", "torch"),
    "jax": ("numpy", "jax"),
}
"""What a job's framework consists of, in the order in which it is imported."""

Outcome = Dict[str, Any]
"""What the training came to: loss_first, loss_last, losses (floats, one a step), correct and examples (right answers in
the last step's forward pass, of how many), learned (loss_last below 0.05 and all correct)."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) every few steps."""

PROGRESS_STEPS = 10


class Job(NamedTuple):
    """A reference job. `run(trace, progress)` trains; `trace` is a `probes.trace.Trace` or has its methods.

    Name, version and the digest of `configuration` (plain values) say which job it is: others are not comparable.
    """

    name: str
    version: int
    configuration: Dict[str, Any]
    run: Callable[[Any, Progress], Outcome]


def load(name: str) -> Job:
    """The job called `name`. Raises Absent where there is no such job or its framework is not installed."""
    if name not in (*NAMES, *ON_CUDA.values()):
        raise Absent("these probes have no job {}".format(name))
    framework, _, device = name.partition("-")
    module = importlib.import_module("." + framework, __package__)
    job: Job = module.job(device) if device else module.job()
    return job


def libraries(name: str) -> Tuple[str, ...]:
    """The libraries of the job called `name`, in the order in which they are imported."""
    return LIBRARIES.get(name.partition("-")[0], ())


def configuration_digest(job: Job) -> str:
    """The 64-bit digest of a job's configuration, hexadecimal."""
    plain = json.dumps(job.configuration, sort_keys=True).encode("ascii")
    return hashlib.blake2b(plain, digest_size=8).hexdigest()
