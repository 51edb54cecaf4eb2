"""Recordings of a program that exists in this file only: its training is known, so where two of them part is, too.

A network of two layers whose rows, names and inputs are those of `probes/program`. A `Twist` is what another machine
does otherwise: values from one step on, named by row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from audit.compare.side import Measured
from probes.digest import Tensor, tensor
from probes.sketch import observe
from probes.trace import Definition, Step, assembled
from reports.report import Auditor, Battery, Fact, Job, Operator, Outcome, Report, Target, Trace

PARAMETERS = ("layers.0.weight", "layers.1.weight")


@dataclass(frozen=True)
class Twist:
    """row: the first row that is other, from step on; everything that comes of it is, too. far: by how much; 0: by the
    last digit."""

    row: str
    step: int = 0
    far: float = 0.0


@dataclass
class _Recording:
    """The rows of one process, as they come."""

    twists: tuple[Twist, ...]
    definitions: dict[Definition, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    touched: dict[str, float] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        self.before, self.names = self.names, {}
        self.steps.append(Step([], []))

    def row(self, phase: str, name: str, inputs: tuple[str, ...] = (), **more: Any) -> None:
        """A row whose values are a function of its name, the step, and what was twisted before it."""
        step = len(self.steps) - 1
        positions = tuple(
            self.names[one] if one in self.names else -(self.before[one] + 1)
            for one in inputs
            if one in self.names or one in self.before
        )
        far = [one.far for one in self.twists if one.row == name and step >= one.step]
        far += [self.touched[one] for one in inputs if one in self.touched]
        if far:
            self.touched[name] = sum(far)
        bits = _bits(name, step, sum(far) if far else None, more.pop("dtype", "f4"))
        given: dict[str, Any] = {"operator": phase, "components": (), "module": "", "source": "", **more}
        definition = Definition(phase, name, inputs=positions, dtype=bits.dtype, shape=bits.shape, **given)
        self.names[name] = len(self.steps[-1].definitions)
        self.steps[-1].definitions.append(self.definitions.setdefault(definition, len(self.definitions)))
        self.steps[-1].digests.append(bits.digest())
        if step == 0:
            self.values.append({"step": step, "row": self.names[name], **observe(bits)})


def _bits(name: str, step: int, far: float | None, dtype: str) -> Tensor:
    seed = int.from_bytes(hashlib.blake2b(f"{name} {step}".encode(), digest_size=4).digest(), "little")
    if dtype == "i8":
        return tensor([(seed + n) % 100 + (int(far or 1) if far is not None else 0) for n in range(4)])
    import numpy as np

    values = np.random.default_rng(seed).standard_normal(12).astype(np.float32)
    if far is not None:
        values = np.nextafter(values, np.float32(9)) if far == 0 else values + np.float32(far)
    return tensor(values)


def trace(
    *twists: Twist,
    steps: int = 3,
    operators: range = range(0),
    generators: bool = True,
    evaluation: int | None = None,
    ranks: bool = False,
) -> Trace:
    """The trace of a program of so many steps. operators: the steps whose operators are recorded; evaluation: the step
    before which it evaluates; ranks: its gradients are the mean of those of all ranks."""
    made = _Recording(twists)
    for step in range(steps):
        made.begin()
        if step == 0:
            if operators:
                made.row("setup", "aten::stack", operator="aten::stack", source="train.py:8")
                for n in range(len(PARAMETERS)):
                    made.row(
                        "setup", "aten::normal_" + (f"#{n}" if n else ""), operator="aten::normal_",
                        components=("aten", "libm"), source="train.py:9",
                    )  # fmt: skip
            for n, name in enumerate(PARAMETERS):
                drawn = ("aten::normal_" + (f"#{n}" if n else ""),)
                made.row("data", f"weight:{name}", drawn if operators else ())
        if step == evaluation:
            made.row("evaluation", "evaluation.batch")
            made.row("evaluation", "evaluation.output", ("evaluation.batch",))
        if generators:
            made.row("data", "generator.torch", dtype="i8")
            made.row("data", "generator.python", dtype="i8")
        made.row("data", "batch.0")
        made.row("data", "batch.1", dtype="i8")
        weights = tuple(f"weight:{name}" for name in PARAMETERS)
        if step in operators:
            made.row("forward", "aten::addmm", ("batch.0", weights[0]), **_call("layers.0", "train.py:21", "mkl"))
            made.row("forward", "aten::gelu", ("aten::addmm",), **_call("layers.1", "train.py:22", "onednn", "aten"))
            made.row("forward", "aten::addmm#1", ("aten::gelu", weights[1]), **_call("layers.1", "train.py:23", "mkl"))
        last = ("aten::addmm#1",) if step in operators else ("batch.0", *weights)
        made.row("forward", "output", last, module="Net")
        made.row("loss", "loss", ("output", "batch.1"))
        if ranks:
            made.row("backward", "c10d::allreduce_", ("loss",), operator="c10d::allreduce_ f4", source="train.py:31")
        for name in PARAMETERS[::-1]:
            given = ("c10d::allreduce_",) if ranks else ()
            made.row("backward", f"grad:{name}", (*given, "loss", f"weight:{name}"))
        for name in PARAMETERS:
            made.row("update", f"weight:{name}", (f"grad:{name}", f"weight:{name}"))
    phases = dict.fromkeys(one.phase for one in made.definitions)
    return msgspec.convert(assembled(list(made.definitions), list(phases), made.steps, made.values), Trace)


def _call(module: str, source: str, *components: str) -> dict[str, Any]:
    operator = {"train.py:22": "aten::gelu"}.get(source, "aten::addmm")
    return {"operator": operator, "components": components, "module": module, "source": source}


def program(*twists: Twist, name: str = "program", losses: list[float] | None = None, **how: Any) -> Job:
    """A recorded program, run once; with `facts` of it."""
    facts = {key: Fact(value) for key, value in how.pop("facts", {}).items()}
    more = {key: how.pop(key) for key in ("notes", "scores", "repeats", "runs") if key in how}
    recorded = trace(*twists, **how)
    found = losses or [2.0 / (step + 1) for step in range(recorded.steps)]
    way = f"{'operators' if how.get('operators') else 'steps'} {how.get('operators', '')}"
    configuration = hashlib.blake2b(way.encode(), digest_size=8).hexdigest()
    outcome = Outcome(loss_first=found[0], loss_last=found[-1], losses=found)
    given = {"runs": 1, "seconds": [4.0], "facts": facts, **more}
    return Job(name, configuration=configuration, trace=recorded, outcome=outcome, **given)


def machine(label: str, *jobs: Job, battery: list[Operator] | None = None, **facts: Any) -> Measured:
    """A machine that recorded these; facts: machine facts, "__" for "."."""
    found = {name.replace("__", "."): Fact(value) for name, value in facts.items()}
    measured = Battery(1, [1.0], operators=battery) if battery is not None else None
    target = Target("host", facts=found, jobs=list(jobs), battery=measured)
    report = Report("audit-report", 1, label, label, "", Auditor(), [target])
    return Measured(label, f"{label}.json", report, target)
