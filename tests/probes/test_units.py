"""GPUs: which there are, what the process that asks them tells, and when one is lost. All GPUs here are simulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from audit.compare import cores
from probes import rounds
from probes.facts import Absent

ROOT = Path(__file__).parent.parent.parent


def child(script: str, *arguments: str, **variables: str) -> Any:
    """What a script prints, as a process of its own: it forks."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=60, env={**environment, **variables},
    )  # fmt: skip
    return json.loads(done.stdout)


VISIBLE = """
import json, os, sys, time
from probes import units

def tell(load, commands, emit, say):
    emit({"products": ["H100", "H100"], "machine": 8})

units._tell = tell
found = units.gpus(lambda name, emit: True, time.monotonic() + 20)
seen = []
for unit in found.all:
    unit.take()
    seen.append([unit.number, unit.product, os.environ["CUDA_VISIBLE_DEVICES"]])
print(json.dumps([found.kind, found.machine, seen, os.environ.get("CUDA_DEVICE_ORDER"), "torch" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("visible", "found", "order"),
    [
        ({}, [[0, "H100", "0"], [1, "H100", "1"]], "PCI_BUS_ID"),
        ({"CUDA_VISIBLE_DEVICES": "5, 3"}, [[3, "H100", "3"], [5, "H100", "5"]], None),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, [[0, "H100", "GPU-a"], [1, "H100", "GPU-b"]], None),
        ({"CUDA_VISIBLE_DEVICES": "1,GPU-b"}, [[0, "H100", "1"], [1, "H100", "GPU-b"]], None),
        ({"CUDA_VISIBLE_DEVICES": "1,0,-1,2"}, [[0, "H100", "0"], [1, "H100", "1"]], None),  # up to the first wrong one
    ],
)
def test_the_gpus_that_a_program_would_see(visible: dict[str, str], found: list[Any], order: str | None) -> None:
    assert child(VISIBLE, **visible) == ["GPU", 8, found, order, False]


SILENT = """
import json, time
from probes import units
from probes.facts import Absent

units._tell = lambda load, commands, emit, say: time.sleep(100)
try:
    units.gpus(lambda name, emit: True, time.monotonic() + 0.2)
except Absent as error:
    print(json.dumps(str(error)))
"""


def test_a_driver_that_hangs_is_said() -> None:
    assert child(SILENT) == "no GPU can be screened: PyTorch gave no answer about them before the time limit"


SCREEN = """
import base64, json, os, struct, sys
from functools import partial
from probes import rounds, screen, units

def serve(work, load, commands, emit, say):
    flips = json.loads(sys.argv[1]).get(os.environ["CUDA_VISIBLE_DEVICES"], [0, 0])
    for command in map(json.loads, commands):
        if "show" in command:
            given = struct.pack("<2I", 7, 7 ^ flips[command["second"]])
            value = {"dtype": "f4", "values": base64.b64encode(given).decode()}
            emit({"values": dict.fromkeys(command["show"], value)})
            continue
        if flips == "dies" and "cuda.exp.f32" not in work.skip:
            say("cuda.exp.f32")
            os.abort()
        digests = [{"cuda.exp.f32": str(flip)} for flip in ([0, 0] if flips == "dies" else flips)]
        emit({"digests": digests[0], "second": digests[1] if work.twice else None, "wrong": [],
              "components": {"cuda.exp.f32": ["cuda"]}, "job": "", "absent": {}})

def gpus(load, deadline):
    products = sys.argv[2].split(",")
    take = partial(os.environ.__setitem__, "CUDA_VISIBLE_DEVICES")
    every = [units.Unit(number, product, partial(take, str(number))) for number, product in enumerate(products)]
    return units.Units("GPU", every, len(every))

rounds.serve, units.gpus = serve, gpus
request = {"device": "cuda", "cores": None, "rounds": 2, "first": 0, "job": "operators", "seconds": 30.0, "at_once": 4}
records = []
screen.run(request, records.append, lambda name, emit: True)
print(json.dumps(records))
"""


def screened(gives: dict[str, Any], products: str = "H100,H100,H100,T4") -> tuple[dict[str, Any], list[cores.Round]]:
    """What is told where some GPUs give a result with these bits flipped, and when asked again with those; or die."""
    records = child(SCREEN, json.dumps(gives), products)
    about = next((record["screen"] for record in records if "screen" in record), {})
    told = [record["round"] for record in records if "round" in record]
    return about, msgspec.convert(told, list[cores.Round], str_keys=True)


def test_gpus_are_asked_product_by_product() -> None:
    about, runs = screened({"3": [5, 5]})  # of another product: other bits by design
    assert (about["products"], about["machine_cores"]) == ({"H100": [0, 1, 2], "T4": [3]}, 4)
    assert [(one.number, one.again, one.product, one.cores, one.twice) for one in runs] == [
        (0, 0, "H100", [0, 1, 2], False), (0, 0, "T4", [3], True),
        (1, 0, "H100", [0, 1, 2], False), (1, 0, "T4", [3], True),
    ]  # fmt: skip
    assert (cores.findings(runs), cores.whole(runs)) == ([], 2)


def test_one_that_differs_is_retested_with_others_of_its_product() -> None:
    _, runs = screened({"1": [8, 8]})
    assert [one.cores for one in runs if one.again] == [[0, 1, 2], [0, 1, 2]]
    (found,) = cores.findings(runs)
    assert (found.kind, found.cores, found.operators[0].mask) == ("wrong", [1], "0x00000008")


def test_one_that_is_alone_and_gives_two_results() -> None:
    _, runs = screened({"3": [0, 4]})
    assert [one.cores for one in runs if one.again] == [[3], [3]]
    (found,) = cores.findings(runs)
    assert (found.kind, found.cores, found.evidence) == ("intermittent", [3], "itself")
    assert (found.operators[0].mask, found.again, found.retests) == ("0x00000004", 2, 2)


def test_one_whose_process_dies() -> None:
    _, runs = screened({"1": "dies"})
    (found,) = cores.findings(runs)
    assert (found.kind, found.cores, found.reason, found.at) == ("died", [1], "SIGABRT", "cuda.exp.f32")


def test_the_operator_is_not_blamed_where_there_is_one_gpu() -> None:
    about, runs = screened({"0": "dies"}, "T4")
    assert about == {}
    assert [(one.cores, one.died) for one in runs] == [([], {0: ("SIGABRT", "cuda.exp.f32")})] * 3


def test_the_operator_is_blamed_where_all_gpus_die_of_it() -> None:
    about, runs = screened({"0": "dies", "1": "dies"}, "T4,T4")
    assert about["absent"] == {"cuda.exp.f32": "SIGABRT on every GPU"}
    assert [(one.cores, one.died) for one in runs] == [([0, 1], {})] * 2


def test_a_gpu_without_memory_or_that_is_lost_gave_no_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(synchronize=lost)))
    with pytest.raises(Absent, match="no memory was left on the GPU"):
        rounds._still_there("OutOfMemoryError (tensors, line 67)")
    with pytest.raises(RuntimeError):
        rounds._still_there("RuntimeError (cuda, line 12)")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(synchronize=lambda: None)))
    rounds._still_there("RuntimeError (cuda, line 12)")
