"""Steps of programs that train with PyTorch by their own loop: exact rows, and the program's own bits untouched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest

import probes
from fixtures import environments
from probes.program import lay
from tests.probes.program.conftest import Program, Ran

pytestmark = pytest.mark.torch

DIGESTS = """
    import json, sys
    sys.path.insert(0, {root!r})
    from probes.device_digest import digests
    told = {{}}
    def tell(name, *tensors):
        told[name] = [one.hex() for one in digests([tensor.detach() for tensor in tensors])]
"""
"""The program digests its own tensors by hand, with the code of this tree."""


def by_hand(program: Program, text: str, **options: object) -> tuple[Ran, dict[str, list[str]]]:
    """A run of a program that calls `tell`, and what it told."""

    root = str(Path(probes.__file__).parent.parent)
    whole = dedent(DIGESTS).format(root=root) + dedent(text) + "\nprint(json.dumps(told))\n"
    ran = program(whole, interpreter=environments.frameworks(), **options)
    assert ran.done.returncode == 0, ran.done.stderr
    return ran, json.loads(ran.done.stdout)


MLP = """
    import torch
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    tell("initial", *model.parameters())
    for step in range(4):
        x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
        tell(f"generator{step}", torch.get_rng_state())
        optimizer.zero_grad()
        output = model(x)
        loss = torch.nn.functional.cross_entropy(output, y)
        loss.backward()
        tell(f"pass{step}", x, output, loss)
        tell(f"gradients{step}", *[parameter.grad for parameter in model.parameters()])
        optimizer.step()
        tell(f"weights{step}", *model.parameters())
"""

NAMES = ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_every_row_of_a_plain_loop_is_what_the_program_has_there(program: Program) -> None:
    ran, told = by_hand(program, MLP)
    assert ran.done.stderr == ""
    assert ran.collected.notes == []
    assert ran.job()["trace"]["steps"] == 4
    assert ran.job()["trace"]["phases"] == ["data", "forward", "loss", "backward", "update"]
    for step in range(4):
        assert [ran.digest(step, "data", "generator.torch")] == told[f"generator{step}"]
        rows = [("data", "batch.0"), ("forward", "output"), ("loss", "loss")]
        assert [ran.digest(step, *row) for row in rows] == told[f"pass{step}"]
        assert [ran.digest(step, "backward", f"grad:{name}") for name in NAMES] == told[f"gradients{step}"]
        assert [ran.digest(step, "update", f"weight:{name}") for name in NAMES] == told[f"weights{step}"]
    assert [ran.digest(0, "data", f"weight:{name}") for name in NAMES] == told["initial"]
    weights = [f"weight:{name}" for name in NAMES]
    assert ran.names(0, "data") == ["generator.torch", *weights, "batch.0"]
    assert ran.names(2, "data") == ["generator.torch", "batch.0"]
    assert ran.names(2, "update") == weights
    assert ran.inputs(0, "forward", "output") == [*weights, "batch.0", "generator.torch"]  # dropout draws from it
    assert ran.inputs(2, "forward", "output") == [*[f"before {one}" for one in weights], "batch.0", "generator.torch"]
    assert ran.inputs(2, "loss", "loss") == ["output", "batch.0"]
    assert ran.inputs(2, "backward", "grad:2.bias") == ["loss", "before weight:2.bias"]
    assert ran.inputs(2, "update", "weight:2.bias") == ["grad:2.bias", "before weight:2.bias"]
    facts = {name: fact["value"] for name, fact in ran.collected.facts.items()}
    assert facts["program.batch"] == {"0": [16, 4]}
    assert facts["program.precision"] == {"parameters": ["f4"], "autocast": None}
    assert facts["program.seeds"] == {"torch": 3}
    assert (facts["program.workers"], facts["program.world_size"]) == (0, 1)
    assert list(facts["program.sources"]) == ["prog.py"]
    assert len(ran.job()["outcome"]["losses"]) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", value["digest"]) for value in ran.job()["trace"]["values"])


def test_values_are_the_tensors_elements(program: Program) -> None:
    ran, told = by_hand(
        program,
        """
        import base64, torch
        torch.manual_seed(0)
        model = torch.nn.Linear(40, 20)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        weight = model.weight.detach().flatten()
        sampled = torch.stack([weight[k * 800 // 256] for k in range(256)])
        told["weight"] = base64.b64encode(sampled.numpy().tobytes()).decode()
        loss = model(torch.randn(7, 40)).sum()
        told["loss"] = base64.b64encode(loss.detach().numpy().tobytes()).decode()
        loss.backward()
        optimizer.step()
        told["resizable"] = [parameter.untyped_storage().resizable() for parameter in model.parameters()]
        """,
    )
    assert told["resizable"] == [True, True]
    values = {value["row"]: value for value in ran.job()["trace"]["values"]}
    position = ran.names(0).index("weight:weight")
    assert values[position]["values"] == told["weight"]
    assert values[position]["shape"] == [20, 40]
    assert values[position]["digest"] == ran.digest(0, "data", "weight:weight")
    assert values[ran.names(0).index("loss")]["values"] == told["loss"]


CASES = {
    # Without an optimizer first: there is none so far in these.
    "inference": """
        del optimizer
        with torch.inference_mode():
            for _ in range(2):
                model(torch.randn(3, 4))
    """,
    "no optimizer": """
        for step in range(2):
            loss = model(torch.randn(3, 4)).sum()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
    """,
    "accumulation": """
        for step in range(2):
            for _ in range(2):
                (model(torch.randn(3, 4)).pow(2).mean() / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
    """,
    "closure": """
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
        x = torch.randn(3, 4)
        def closure():
            optimizer.zero_grad()
            loss = model(x).pow(2).mean()
            loss.backward()
            return loss
        for step in range(2):
            optimizer.step(closure)
    """,
    "criterion": """
        criterion = torch.nn.CrossEntropyLoss()
        for step in range(2):
            optimizer.zero_grad()
            criterion(model(torch.randn(3, 4)), torch.tensor([0, 1, 0])).backward()
            optimizer.step()
    """,
    "checkpoint": """
        from torch.utils.checkpoint import checkpoint
        class Sequential(torch.nn.Sequential):
            def forward(self, x):
                return checkpoint(super().forward, x, use_reentrant=True)
        model = Sequential(*model)
        for step in range(2):
            model(torch.randn(3, 4, requires_grad=True)).sum().backward()
            optimizer.step()
    """,
    "whole checkpoint": """
        import warnings
        warnings.simplefilter("ignore")
        for step in range(2):
            checkpoint(model, torch.randn(3, 4, requires_grad=True), use_reentrant=True).sum().backward()
            optimizer.step()
            with torch.no_grad():
                checkpoint(model, torch.randn(3, 4), use_reentrant=True)
    """,
    "changed weights": """
        for step in range(2):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
            with torch.no_grad():
                model[2].bias.clamp_(-0.1, 0.1)
    """,
    "two models": """
        other = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
        for step in range(2):
            other(model(torch.randn(3, 4)).relu()).sum().backward()
            optimizer.step()
    """,
    "two optimizers": """
        first = torch.optim.SGD(model[0].parameters(), lr=0.1)
        second = torch.optim.Adam(model[2].parameters(), lr=0.1)
        model(torch.randn(3, 4)).sum().backward()
        first.step()
        second.step()
    """,
    "scaler": """
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for step in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(torch.randn(3, 4)).sum()
            if step == 1:
                loss = loss * float("inf")
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "functional": """
        call = torch.func.functional_call
        for step in range(2):
            torch.func.grad(lambda x: call(model, dict(model.named_parameters()), (x,)).sum())(torch.randn(3, 4))
            torch.jit.trace(model, torch.randn(3, 4), check_trace=False)
            torch.nn.functional.linear(torch.randn(3, 4), model[0].weight).sum().backward()
            optimizer.step()
    """,
    "evaluation": """
        for step in range(2):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
            with torch.no_grad():
                for _ in range(3):
                    model(torch.randn(5, 4))
    """,
}
"""Each makes two steps of a model of its own, one after the other in one program."""

PASS = ["batch.0", "output", "loss"]
EXPECTED = {
    "inference": (["W", "batch.0", "output"], ["batch.0", "output"]),
    "no optimizer": (["W", *PASS, "G"], ["W", *PASS, "G"]),
    "accumulation": (
        ["W", *PASS, "batch.0#1", "output#1", "loss#1", "G", "W"],
        [*PASS, "batch.0#1", "output#1", "loss#1", "G", "W"],
    ),
    # The optimizer changes the weights between the passes of its step.
    "closure": (
        ["W", *PASS, "W#1", "output#1", "loss#1", "W#2", "output#2", "loss#2", "G", "W"],
        [*PASS, "W", "output#1", "loss#1", "W#1", "output#2", "loss#2", "G", "W"],
    ),
    "criterion": (
        ["W", "batch.0", "output", "batch.1", "loss", "G", "W"],
        ["batch.0", "output", "batch.1", "loss", "G", "W"],
    ),
    "checkpoint": (["W", *PASS, "G", "W"], [*PASS, "G", "W"]),
    "whole checkpoint": (["W", *PASS, "G", "W", "E"], [*PASS, "G", "W", "E"]),
    "changed weights": (["W", *PASS, "G", "W"], ["weight:2.bias", *PASS, "G", "W"]),
    "two models": (
        ["W", "batch.0", "output", "L", "input.0", "output#1", "loss", "G", "LG", "W", "L"],
        ["batch.0", "output", "input.0", "output#1", "loss", "G", "LG", "W", "L"],
    ),
    "two optimizers": (
        ["W", *PASS, "grad:0.weight", "grad:0.bias", "weight:0.weight", "weight:0.bias"],
        ["grad:2.weight", "grad:2.bias", "weight:2.weight", "weight:2.bias"],
    ),
    # The scaler skips the second step: its pass is in the next one.
    "scaler": (["W", *PASS, "G", "W"], [*PASS, "batch.0#1", "output#1", "loss#1", "G", "W"]),
    # Neither a transform's tensors nor a tracer's are values; the rest is seen.
    "functional": (["loss", "F", "U"], ["loss", "F", "U"]),
    "evaluation": (["W", *PASS, "G", "W", "E"], [*PASS, "G", "W", "E"]),
}


def _spelled(words: list[str], prefix: str) -> list[str]:
    linear = ["Linear.weight", "Linear.bias"]
    short = {
        "W": [f"weight:{prefix}{name}" for name in NAMES],
        "G": [f"grad:{prefix}{name}" for name in NAMES],
        "L": [f"weight:{name}" for name in linear],
        "LG": [f"grad:{name}" for name in linear],
        "U": [f"weight:group0.param{n}" for n in range(4)],
        "F": ["grad:group0.param0"],
        "E": ["evaluation.batch", "evaluation.output"],
    }
    found = []
    for word in words:
        letter, _, again = word.partition("#")
        if letter in short:
            found += [one + (f"#{again}" if again else "") for one in short[letter]]
        else:
            kind, colon, name = word.partition(":")
            found.append(f"{kind}:{prefix}{name}" if colon else word)
    return found


def test_what_is_a_step_and_what_is_in_it(program: Program) -> None:
    begin = dedent(
        """
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        {} = torch.optim.SGD(model.parameters(), lr=0.1)
        """
    )
    parts = ["import torch\ntorch.manual_seed(3)\n"]
    for n, (name, text) in enumerate(CASES.items()):
        parts.append((begin if n > 1 else begin.rpartition("{}")[0]).replace("{}", "optimizer"))
        parts.append(dedent(text).replace("del optimizer\n", "") + f"tell({name!r}, *model.parameters())\n")
    ran, told = by_hand(program, "".join(parts))
    assert ran.done.stderr == ""
    assert ran.job()["trace"]["steps"] == 2 * len(CASES)
    assert len(ran.collected.notes) == 1
    assert ran.collected.notes[0].startswith("a model is trained that was never called as a module")
    roots = 0
    for n, name in enumerate(CASES):
        prefix = "" if not roots else "Sequential." if roots == 0 else f"Sequential#{roots}."
        for step, words in zip((2 * n, 2 * n + 1), EXPECTED[name], strict=True):
            assert [one for one in ran.names(step) if one != "generator.torch"] == _spelled(words, prefix), (name, step)
        if name not in ("inference", "no optimizer", "changed weights", "two optimizers", "functional"):
            weights = [ran.digest(2 * n + 1, "update", f"weight:{prefix}{one}") for one in NAMES]
            assert weights == told[name], name
        roots += name != "functional"
    assert ran.inputs(2 * list(CASES).index("two models"), "forward", "input.0") == ["output", "batch.0"]
    assert ran.collected.facts["program.precision"]["value"] == {"parameters": ["f4"], "autocast": None}


WEIGHTS = """
    import hashlib
    print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
    import random, numpy
    print(random.random(), numpy.random.rand(), torch.rand(1).item())
"""

CNN = """
    import random, numpy, torch
    random.seed(1); numpy.random.seed(2); torch.manual_seed(3)
    images, labels = torch.randn(64, 1, 12, 12), torch.randint(0, 5, (64,))
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Dropout(0.2), torch.nn.Flatten(), torch.nn.Linear(200, 5),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    data = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True, num_workers=2)
    for epoch in range(2):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            model(images)
"""


def test_a_recorded_program_computes_what_it_computes_alone(program: Program) -> None:
    """In both modes, to the last bit, random generators included; its loader's batches have names and labels."""
    text = dedent(CNN) + dedent(WEIGHTS)
    python = environments.frameworks()
    runs = {
        "alone": program(text, words=["/usr/bin/env", "-u", "PYTHONPATH", python, "prog.py"]),
        "steps": program(text, interpreter=python),
        "operators": program(text, interpreter=python, wanted=lay.Wanted(trace="operators", window=(0, 3))),
        "middle": program(text, interpreter=python, wanted=lay.Wanted(trace="operators", window=(2, 4))),
    }
    for name, ran in runs.items():
        assert ran.done.stdout == runs["alone"].done.stdout, name
        assert ran.done.stderr == runs["alone"].done.stderr, name
    assert runs["alone"].collected.jobs == []
    for name in ("steps", "operators", "middle"):
        ran = runs[name]
        assert ran.job()["trace"]["steps"] == 8
        seeds = ["generator.torch", "generator.python", "generator.numpy"]
        if name == "steps":
            assert ran.names(1, "data") == [*seeds, "batch.0", "batch.1"]
            assert ran.names(4)[:2] == seeds[:2]
            assert ran.names(3)[-2:] == ["evaluation.batch", "evaluation.output"]
        assert ran.collected.facts["program.workers"]["value"] == 2
        assert ran.collected.facts["program.seeds"]["value"] == {"python": 1, "numpy": 2, "torch": 3}
    last = {runs[name].digest(7, "update", "weight:6.bias") for name in ("steps", "operators", "middle")}
    assert len(last) == 1
    assert runs["steps"].collected.notes == ["DataLoader workers: of their work, the batches are recorded"]


def test_steps_end_the_program(program: Program) -> None:
    text = "import atexit\natexit.register(print, 'left')\n" + dedent(CNN) + "\nprint('not reached')"
    ran = program(text, interpreter=environments.frameworks(), wanted=lay.Wanted(steps=3))
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "left\n", "")
    assert ran.job()["trace"]["steps"] == 3
    assert ran.job()["facts"]


def test_a_program_that_trains_nothing_says_so(program: Program) -> None:
    ran = program("import torch\nprint(torch.ones(3).sum().item())", interpreter=environments.frameworks())
    assert ran.done.stdout == "3.0\n"
    assert ran.collected.jobs == []
    assert list(ran.folder.glob("recording-*")) == []


def test_types_that_numpy_does_not_know_are_digested(program: Program) -> None:
    ran, told = by_hand(
        program,
        """
        import torch, audit
        torch.manual_seed(0)
        model = torch.nn.Sequential()
        model.add_module("submodule", torch.nn.Linear(8, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            coarse = torch.randn(16, 8).to(torch.float8_e4m3fn)
            audit.record("coarse", coarse)
            tell(f"coarse{step}", coarse)
            model(coarse.to(torch.float32)).sum().backward()
            optimizer.step()
        """,
        wanted=lay.Wanted(None, "operators", (0, 2)),
    )
    assert ran.collected.notes == []
    assert ran.job()["trace"]["steps"] == 2
    weights = ["weight:submodule.weight", "weight:submodule.bias"]
    assert [name for name in ran.names(1, "update") if name.startswith("weight")] == weights
    for step in range(2):
        rows = [(row, digest) for row, digest in ran.rows(step) if row["tensor"] == "record:coarse"]
        assert [digest for _, digest in rows] == told[f"coarse{step}"]
        assert rows[0][0]["dtype"] == "float8_e4m3fn"
