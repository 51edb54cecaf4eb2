"""Operators in a window of steps: what is dispatched, where its inputs are from, in which module, at which line."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from fixtures import environments
from probes.program import lay
from tests.probes.program.conftest import Program, Ran

pytestmark = pytest.mark.torch

MLP = """
    import torch
    torch.manual_seed(0)
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(4, 8)
            self.rest = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(8, 2))
            self.register_buffer("scale", torch.ones(2) * 2)
        def forward(self, x):
            return self.rest(self.first(x)) * self.scale
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen = []
    for step in range(4):
        x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
"""


def windowed(program: Program, text: str, begin: int, end: int) -> Ran:
    wanted = lay.Wanted(trace="operators", window=(begin, end))
    ran = program(text, interpreter=environments.frameworks(), wanted=wanted)
    assert ran.done.returncode == 0, ran.done.stderr
    return ran


def table(ran: Ran, step: int, phase: str) -> list[str]:
    """The rows of a phase, with the names of their inputs."""
    lines = []
    for row, _ in ran.rows(step):
        if row["phase"] == phase:
            inputs = ", ".join(ran.inputs(step, phase, row["tensor"]))
            where = f"{row.get('module', '')} {row.get('source', '')}".strip()
            lines.append(f"{row['tensor']} <- {inputs} | {row['operator']} {' '.join(row['components'])} | {where}")
    return lines


def leaves(ran: Ran, step: int, position: int) -> set[str]:
    """What the inputs of a row lead back to, within its step."""
    rows = ran.rows(step)
    found, open_ = set(), [position]
    while open_:
        row = rows[open_.pop()][0]
        if not row["inputs"]:
            found.add(f"{row['phase']} {row['tensor'].partition('#')[0]}")
        for one in row["inputs"]:
            if one >= 0:
                open_.append(one)
            else:
                found.add("before " + ran.rows(step - 1)[-one - 1][0]["tensor"])
    return found


def test_every_operator_and_where_its_inputs_are_from(program: Program, golden: Any) -> None:
    ran = windowed(program, MLP, 0, 2)
    assert ran.done.stderr == ""
    assert ran.collected.notes == []
    assert ran.job()["trace"]["phases"] == ["setup", "data", "forward", "loss", "backward", "update"]
    lines = []
    for step, phases in ((0, ["setup", "data", "forward", "loss", "backward"]), (1, ["data", "forward", "update"])):
        for phase in phases:
            lines += [f"step {step}, {phase}", *(f"    {line}" for line in table(ran, step, phase))]
    golden("window.txt", "\n".join(lines) + "\n")
    # Outside the window the steps go on.
    assert [name.partition(":")[0] for name in ran.names(3, "forward")] == ["output"]
    assert len(ran.names(3)) == 2 + 1 + 1 + 4 + 4
    assert ran.inputs(3, "backward", "grad:first.bias") == ["loss", "before weight:first.bias"]


def test_a_later_window_begins_with_what_the_step_before_left(program: Program) -> None:
    ran = windowed(program, MLP, 2, 3)
    names = ["first.weight", "first.bias", "rest.1.weight", "rest.1.bias"]
    assert not [row for row, _ in ran.rows(1) if row["tensor"].startswith("aten::")]
    assert not [row for row, _ in ran.rows(3) if row["tensor"].startswith("aten::")]
    position = ran.names(2).index("loss")
    assert leaves(ran, 2, position) == {
        *(f"before weight:{name}" for name in names),
        "data generator.torch",
        "forward buffer:scale",
    }
    states = [name for name in ran.names(2) if name.startswith("state:")]
    assert states == [f"state:{name}.{key}" for name in names for key in ("step", "exp_avg", "exp_avg_sq")]
    assert not [name for name in ran.names(2) if name.startswith("unseen")]
    sampled = {value["step"] for value in ran.job()["trace"]["values"]}
    assert sampled == {1, 2}
    data = [name for name in ran.names(2, "data") if "::" in name or name.startswith("batch.")]  # no report holds these
    assert len(data) == 3
    assert sum(value["step"] == 2 for value in ran.job()["trace"]["values"]) == len(ran.names(2)) - len(data)


GIVEN = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.stack([torch.tensor([3.25, 4.5]), torch.tensor([5.75, 6.0])])
    model(x).sum().backward()
    optimizer.step()
"""


def test_no_report_holds_what_a_program_gives_itself(program: Program) -> None:
    ran = windowed(program, GIVEN, 0, 1)
    names = ran.names(0)
    kept = {names[value["row"]] for value in ran.job()["trace"]["values"]}
    assert {"aten::lift_fresh", "aten::lift_fresh#1", "aten::stack", "batch.0"} <= {*names} - kept
    assert {"aten::uniform_", "aten::addmm", "loss"} <= kept


ODD = """
    import numpy, torch
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.checkpoint import checkpoint
    with FlopCounterMode(display=False) as flops:
        for step in range(3):
            x = torch.from_numpy(numpy.ones((2, 1, 8, 8), dtype=numpy.float32))
            cache = torch.empty(2, 3)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = checkpoint(model, x, use_reentrant=False)
            cache[:, :2] = out[:, 1:]
            cache[:, 2] = 1.0
            (cache.sum() + torch.zeros(3).uniform_(generator=torch.Generator().manual_seed(1)).sum()).backward()
            optimizer.step()
    with torch.no_grad():
        model.eval()
        print(model(x).sum().item(), flops.get_total_flops())
"""


def test_in_place_partial_random_list_and_mode(program: Program) -> None:
    """The program's own mode begins before the window and ends after it."""
    alone = program(ODD, words=["/usr/bin/env", "-u", "PYTHONPATH", environments.frameworks(), "prog.py"])
    ran = windowed(program, ODD, 1, 3)
    assert ran.done.stdout == alone.done.stdout
    assert alone.done.stdout
    # One row wrote a part of the cache and another the rest: its sum is from both.
    assert ran.inputs(1, "loss", "aten::sum") == ["aten::copy_", "aten::fill_"]
    assert ran.inputs(1, "loss", "aten::uniform_") == ["generator.torch"]
    lists = [name for name in ran.names(1, "update") if "_foreach_add_" in name]
    assert lists == [f"aten::_foreach_add_.{n}" for n in range(6)]
    assert ran.inputs(1, "update", "aten::_foreach_add_.5") == ["scalars", "before weight:3.bias", "grad:3.bias"]
    assert not [name for name in ran.names(1) if name.startswith("unseen")]
    # In the backward pass the checkpoint computes it again: the same module, and its gradient is of that module, too.
    backward = ("backward", "convolution"), ("backward", "convolution_backward.0")
    for phase, name in (("forward", "convolution"), *backward):
        (row,) = [row for row, _ in ran.rows(1) if (row["phase"], row["tensor"]) == (phase, f"aten::{name}")]
        assert (row["module"], row["dtype"]) == ("0", "bf2")


def test_an_operator_that_ends_the_process_leaves_what_came_before(program: Program) -> None:
    text = dedent(MLP) + "\nimport os\n"
    work = "    for n in range(600): loss + n\n    if step == 1: os.kill(os.getpid(), 9)\n"
    text = text.replace("    loss.backward()\n", work + "    loss.backward()\n")
    text = text.replace("import torch\n", "import os, torch\n", 1)
    wanted = lay.Wanted(trace="operators", window=(1, 2))
    ran = program(text, interpreter=environments.frameworks(), wanted=wanted)
    assert ran.done.returncode == -9
    assert ran.job()["trace"]["steps"] == 2
    assert "aten::add#400" in ran.names(1)
