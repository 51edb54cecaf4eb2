"""Facts of what a program is given and how that is drawn."""

from __future__ import annotations

import pytest

from fixtures.environments import frameworks
from tests.probes.program.conftest import Program

pytestmark = pytest.mark.torch

TEXT = """
import random, sys
import numpy, torch
from torch.utils.data import DataLoader, TensorDataset

def main(workers):
    random.seed(4)
    numpy.random.seed(5)
    torch.manual_seed(6)
    data = TensorDataset(torch.arange(22.0).reshape(11, 2), torch.arange(11.0))
    loader = DataLoader(data, batch_size=3, shuffle=True, drop_last=True, num_workers=workers)
    model = torch.nn.Linear(2, 1).to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for number, (x, y) in enumerate(loader):
        with torch.autocast("cpu", enabled=workers > 0):
            loss = (model(x.to(torch.bfloat16))[:, 0] - y).square().mean()
        loss.backward()
        if number == 1:
            optimizer.step()
            optimizer.zero_grad()

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""


def test_how_batches_are_drawn_seeds_precision_and_passes(program: Program) -> None:
    ran = program(TEXT, "2", interpreter=frameworks())
    assert ran.done.stderr == ""
    facts = {name: fact["value"] for name, fact in ran.collected.facts.items()}
    assert list(facts.pop("program.sources")) == ["prog.py"]
    assert facts == {
        "program.batch": {"0": [3, 2]},
        "program.loader": {"sampler": "RandomSampler", "batch_size": 3, "drop_last": True},
        "program.passes": 2,
        "program.precision": {"parameters": ["bf2"], "autocast": "bf2"},
        "program.seeds": {"python": 4, "numpy": 5, "torch": 6},
        "program.workers": 2,
        "program.world_size": 1,
    }


def test_without_workers_and_autocast(program: Program) -> None:
    facts = program(TEXT, "0", interpreter=frameworks()).collected.facts
    assert facts["program.workers"]["value"] == 0
    assert facts["program.precision"]["value"]["autocast"] is None


@pytest.mark.parametrize(
    ("loader", "drawn"),
    [
        ("DataLoader(data, batch_size=None)", {"sampler": "SequentialSampler", "batch_size": None, "drop_last": False}),
        (
            "DataLoader(data, batch_sampler=[[0, 1], [2]])",
            {"sampler": "list", "batch_size": None, "drop_last": False},
        ),
        ("data", None),
    ],
)
def test_other_loaders(program: Program, loader: str, drawn: object) -> None:
    text = f"""
    import torch
    from torch.utils.data import DataLoader
    data = [torch.ones(2), torch.zeros(2), torch.ones(2)]
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in {loader}:
        model(x).sum().backward()
        optimizer.step()
    """
    facts = program(text, interpreter=frameworks()).collected.facts
    assert facts.get("program.loader", {}).get("value") == drawn
    assert facts["program.passes"]["value"] == 1
