"""`audit.record`, `audit.watch`, `audit.score`: what a program says of itself, where it is recorded and where not."""

from __future__ import annotations

import base64
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.environments import frameworks
from probes.device_digest import digests_numpy
from probes.digest import tensor
from probes.program import lay
from tests.probes.program.conftest import Program

ROOT = Path(__file__).parent.parent.parent.parent
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]

LOOP = """
    import audit
    for step in range(4):
        audit.record("loss", 1.0 / (step + 1), step=step)
        audit.record("weights", [1.0, float(step)], step=step)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_outside_of_audit_run_it_does_nothing_and_imports_nothing(
    interpreter: Callable[[str], str], version: str
) -> None:
    text = (
        "import sys\nbefore = set(sys.modules)\n"
        "import audit\naudit.record('a', object(), 1)\naudit.watch(1, 2)\naudit.score('a', 'b', stderr='c')\n"
        "print(sorted(set(sys.modules) - before), audit.__version__)"
    )
    done = subprocess.run(
        [interpreter(version), "-S", "-c", text], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['__future__', 'audit'] 0.1.0\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_without_a_framework_has_the_steps_that_it_says(
    program: Program, interpreter: Callable[[str], str], version: str
) -> None:
    ran = program(LOOP, interpreter=interpreter(version))
    assert (ran.done.stdout, ran.done.stderr) == ("", "")
    assert ran.collected.notes == []
    trace = ran.job()["trace"]
    assert (trace["steps"], trace["phases"], trace["sequence"]) == (4, ["record"], {})
    for step in range(4):
        assert ran.names(step) == ["record:loss", "record:weights"]
        assert ran.digest(step, "record", "record:loss") == tensor(1.0 / (step + 1)).digest().hex()
        assert ran.digest(step, "record", "record:weights") == tensor([1.0, float(step)]).digest().hex()
    assert ran.job()["facts"]


def test_it_ends_the_program_after_the_steps_that_were_asked_for(program: Program) -> None:
    ran = program(LOOP + "    print('not reached')", wanted=lay.Wanted(steps=2))
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "", "")
    assert ran.job()["trace"]["steps"] == 2


def test_where_the_package_is_not_installed_the_laid_file_is_the_api(
    program: Program, interpreter: Callable[[str], str]
) -> None:
    text = "import audit\nprint(audit.__file__)\naudit.score('accuracy', 0.5)\naudit.record('x', 1, step=0)"
    ran = program(text, interpreter=interpreter("3.10"))
    assert ran.done.stdout == f"{ran.folder / 'modules' / 'audit.py'}\n"
    assert ran.job()["scores"] == [{"name": "accuracy", "value": 0.5, "stderr": None}]
    assert list(ran.collected.facts["program.sources"]["value"]) == ["prog.py"]


def test_an_installed_package_is_the_one_that_is_imported(program: Program, interpreter: Callable[[str], str]) -> None:
    text = "import audit\nprint(audit.__file__)\naudit.record('x', 1, step=0)"
    ran = program(text, interpreter=interpreter("3.10"), PYTHONPATH=str(ROOT))
    assert ran.done.stdout == f"{ROOT / 'audit' / '__init__.py'}\n"
    assert ran.names(0) == ["record:x"]


def test_another_module_of_that_name_is_not_hidden(
    program: Program, interpreter: Callable[[str], str], tmp_path: Path
) -> None:
    """As Debian's python3-audit has one."""
    (tmp_path / "audit.py").write_text("theirs = 'theirs'\n")
    ran = program("import audit\nprint(audit.theirs)", interpreter=interpreter("3.10"), PYTHONPATH=str(tmp_path))
    assert ran.done.stdout == "theirs\n"


def test_arrays_scores_and_what_cannot_be_recorded(program: Program) -> None:
    text = """
    import numpy, audit
    x = numpy.arange(12.0, dtype="f4").reshape(3, 4)
    audit.record("x", x.T, step=7)
    audit.record("x", numpy.array(["zebra", "two"]), step=7)
    audit.record("y", object(), step=7)
    audit.record("large", numpy.arange(1000), step=7)
    audit.watch(object(), None)
    audit.score("accuracy", numpy.float32(0.5), stderr=numpy.float64(0.25))
    audit.score("accuracy", 1)
    print("end")
    """
    ran = program(text)
    assert (ran.done.stdout, ran.done.stderr) == ("end\n", "")
    x, large = np.arange(12.0, dtype="f4").reshape(3, 4).T, np.arange(1000)
    assert ran.digest(0, "record", "record:x") == digests_numpy([x])[0].hex()
    assert ran.names(0) == ["record:x", "record:x#1", "record:large"]
    assert ran.rows(0)[1][0]["dtype"] == "text"
    assert ran.collected.notes == [
        "audit.record: object has no bits to record",
        "audit.watch: object is no model of torch's",
    ]
    assert ran.job()["scores"] == [
        {"name": "accuracy", "value": 0.5, "stderr": 0.25},
        {"name": "accuracy", "value": 1.0, "stderr": None},
    ]
    values = {value["row"]: value for value in ran.job()["trace"]["values"]}
    assert (values[0]["dtype"], values[0]["shape"]) == ("f4", [4, 3])
    assert "text" not in values[1]
    assert "zebra" not in str(ran.job())
    assert values[2]["shape"] == [1000]
    assert values[2]["sketch"]
    assert large[0] == 0


def test_a_score_that_is_no_number_ends_the_recording_and_not_the_program(program: Program) -> None:
    ran = program(LOOP + "    audit.score('a', 'much')\n    audit.record('b', 1)\n    print('goes on')")
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "goes on\n", "")
    (note,) = ran.collected.notes
    assert note.startswith("the recorder stopped in step 3: ValueError")


@pytest.mark.torch
def test_a_model_that_is_never_called_and_an_optimizer_of_its_own_are_watched(program: Program) -> None:
    text = """
    import torch, audit
    class Own:
        def __init__(self, parameters):
            self.parameters = list(parameters)
        def step(self, rate=0.1):
            with torch.no_grad():
                for parameter in self.parameters:
                    parameter -= rate * parameter.grad
                    parameter.grad = None
            return "stepped"
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = Own(model.parameters())
    if WATCHED:
        audit.watch(model, optimizer)
    for step in range(3):
        x = torch.full((2, 3), float(step))
        torch.nn.functional.linear(x, model.weight, model.bias).square().mean().backward()
        audit.record("x", x, step=step)
        said = optimizer.step(rate=0.2)
    print(said, float(model.weight.detach().sum()))
    """
    alone = program(text.replace("WATCHED", "False"), interpreter=frameworks())
    ran = program(text.replace("WATCHED", "True"), interpreter=frameworks())
    assert ran.done.stderr == ""
    assert ran.done.stdout == alone.done.stdout
    assert ran.done.stdout.startswith("stepped ")
    assert ran.job()["trace"]["steps"] == 3
    assert ran.names(0) == [
        *("generator.torch", "weight:weight", "weight:bias", "loss", "record:x"),
        *("grad:weight", "grad:bias", "weight:weight", "weight:bias"),
    ]
    assert ran.inputs(1, "update", "weight:weight") == ["grad:weight", "before weight:weight"]
    for step in range(3):
        x = np.full((2, 3), float(step), "f4")
        assert ran.digest(step, "record", "record:x") == digests_numpy([x])[0].hex()


def test_a_program_that_only_gives_scores_has_them_as_its_step(program: Program) -> None:
    text = """
    import audit
    audit.score("accuracy", 0.5, stderr=0.1)
    audit.score("accuracy", 0.75)
    audit.score("loss", 2)
    """
    ran = program(text)
    assert (ran.job()["trace"]["steps"], ran.names(0)) == (1, ["score:accuracy", "score:loss"])
    assert ran.job()["trace"]["phases"] == ["record"]
    values = {value["row"]: value["values"] for value in ran.job()["trace"]["values"]}
    assert base64.b64decode(values[0]) == struct.pack("<d", 0.75)
    assert [score["value"] for score in ran.job()["scores"]] == [0.5, 0.75, 2.0]
    # In a program that has steps, scores are none of their rows: machines may differ in them by noise.
    other = program("import audit\naudit.score('accuracy', 1)\naudit.record('w', 2.0, step=0)\n")
    assert other.names(0) == ["record:w"]
