"""`audit screen --device cuda`. No GPU is at hand: what stands in for some is tests/stand_in_gpus, or simulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_screen_cores import values

from audit import screening
from audit.compare import cores
from audit.compare.cores import Round
from fixtures import environments
from reports import codec, render
from reports.screening import Finding, Screening

Golden = Callable[[str, str], None]

ROOT = Path(__file__).parent.parent.parent
STAND_IN = ROOT / "tests" / "stand_in_gpus"

MASK = 0x8
OPERATOR = "cuda.matmul.f32.17x31x13"


def screen(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "screen", "--quiet", "--device", "cuda", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=120, env={**os.environ, **variables},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


# A stand-in for GPUs


@pytest.mark.torch
def test_a_planted_wrong_gpu_is_found_and_only_it(tmp_path: Path) -> None:
    """Of the two that CUDA_VISIBLE_DEVICES names. It is wrong once: so two are enough to tell which."""
    file, once = tmp_path / "screen.json", tmp_path / "once"
    once.touch()
    done = screen(
        *("--python", environments.frameworks(), "--rounds", "1", "--job", "operators", "--limit", "100"),
        *("--format", "json", "-o", str(file)),
        PYTHONPATH=str(STAND_IN), STAND_IN_GPUS="T4,H100,H100,H100", CUDA_VISIBLE_DEVICES="1,3", OMP_NUM_THREADS="1",
        WRONG="3", BIT="3", ONCE=str(once),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(file.read_text())
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["cores"], finding["evidence"]) == ("intermittent", [3], "it changed")
    assert (finding["unlike"], finding["runs"], finding["again"], finding["retests"]) == (1, 3, 0, 2)
    (operator,) = finding["operators"]
    assert (operator["operator"], operator["mask"], operator["differing"]) == ("cuda.rsqrt.f32", "0x00000008", 2)
    assert (answer["unit"], answer["cores"], answer["rounds"]) == ("gpu", [1, 3], 1)
    assert answer["products"] == {"H100": [1, 3]}
    assert answer["operators"] > 100
    text = render.screening(codec.read_any(str(file), False)[0])
    assert text.startswith("GPU 3 IS INTERMITTENT. In PyTorch on the GPU (CUDA): cuda.rsqrt.f32 differs in bits 0x8;")


@pytest.mark.torch
def test_torch_that_sees_no_gpu_is_one_line() -> None:
    done = screen("--python", environments.frameworks())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "audit screen: no GPU can be screened with this Python: this build of torch is without CUDA\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no GPU can be screened with this Python: torch is not installed"),
        (
            ["--cores", "0"],
            "--cores chooses cores; which GPUs are screened CUDA_VISIBLE_DEVICES says, as for any program",
        ),
        (["--job", "numpy"], "--job numpy runs on cores; with --device cuda: auto, torch or operators"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], words: str) -> None:
    done = screen("--python", sys.executable, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"audit screen: {words}\n")


# Simulated GPUs


def run(number: int, product: str, given: Mapping[int, str], again: int = 0, twice: bool = False) -> Round:
    """A round in which GPUs gave these digests, each other digest by another bit. Twice: the second is ~0's."""
    kinds = ["right", *sorted(set(given.values()) - {"right"})]
    bits = {kind: values([1, 4 ^ (MASK << at - 1 if at else 0)], "f8") for at, kind in enumerate(kinds)}
    return Round(
        number,
        again,
        [gpu for gpu in given if gpu >= 0],
        138,
        product,
        twice,
        digests={OPERATOR: dict(given)} if again or len(set(given.values())) > 1 else {},
        components={OPERATOR: ["cuda"]},
        values={OPERATOR: {gpu: bits[kind] for gpu, kind in given.items()}},
    )


def alone(first: str, second: str, gpu: int = 0, number: int = 0, again: int = 0) -> Round:
    return run(number, "Tesla T4", {gpu: first, ~gpu: second}, again, twice=True)


def named(found: list[Finding]) -> list[tuple[str, list[int], str]]:
    return [(one.kind, one.cores, one.evidence) for one in found]


H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"


def test_gpus_of_another_product_give_other_bits_by_design() -> None:
    runs = [run(0, H100, dict.fromkeys(range(3), "right")), run(0, A100, dict.fromkeys(range(3, 5), "other"))]
    assert cores.findings(runs) == []
    assert cores.whole(runs) == 1


def test_the_wrong_gpu_is_one_of_its_own_product() -> None:
    """It has the bits that all of the other product have."""
    runs = []
    for again in range(3):
        runs.append(run(0, H100, {0: "right", 1: "right", 2: "other"}, again))
        runs.append(run(0, A100, dict.fromkeys(range(3, 7), "other"), again))
    (found,) = cores.findings(runs)
    assert named([found]) == [("wrong", [2], "majority")]
    assert (found.unlike, found.runs, found.again, found.retests) == (3, 3, 2, 2)
    assert int(found.operators[0].mask, 16) == MASK


def test_a_gpu_that_is_alone_and_repeats_agrees() -> None:
    runs = [alone("right", "right"), alone("right", "right", number=1)]
    assert (cores.findings(runs), cores.whole(runs)) == ([], 2)


@pytest.mark.parametrize(("first", "second"), [("right", "wrong"), ("wrong", "right")])
def test_a_gpu_that_is_alone_and_does_not_repeat_is_intermittent(first: str, second: str) -> None:
    runs = [alone(first, second), alone("right", "right", again=1), alone("right", "wrong", again=2)]
    (found,) = cores.findings(runs)
    assert named([found]) == [("intermittent", [0], "itself")]
    assert (found.unlike, found.runs, found.again, found.retests) == (2, 3, 1, 2)
    (one,) = found.operators
    assert (int(one.mask, 16), one.differing, one.elements) == (MASK, 1, 2)


def test_a_gpu_that_is_alone_is_not_held_against_an_earlier_process() -> None:
    assert cores.findings([alone("right", "right"), alone("other", "other", again=1)]) == []


# What is said


def seen(runs: list[Round], products: dict[str, list[int]]) -> Screening:
    told = screening._Seen()
    told.rounds = runs
    gpus = sorted(gpu for mine in products.values() for gpu in mine)
    told.about = {"cores": gpus, "products": products, "machine_cores": 8, "at_once": len(gpus), "job": "torch-cuda"}
    options = screening.argparse.Namespace(
        limit=50.0, device="cuda", python=None, via=None, job="auto", cores=None, seed=0, rounds=None, against=None
    )
    return screening._screening(told, options, 45.04, {})


EIGHT = dict.fromkeys(range(8), "right")
MIXED = {H100: [0, 1, 2], "Tesla T4": [3]}

ANSWERS = {
    "agree": seen([run(number, H100, EIGHT) for number in range(9)], {H100: [*range(8)]}),
    "wrong": seen([run(0, H100, {**EIGHT, 3: "wrong"}, again) for again in range(3)], {H100: [*range(8)]}),
    "disagree": seen([run(0, H100, {0: "right", 1: "wrong"}, again) for again in range(3)], {H100: [0, 1]}),
    "mixed": seen([run(0, H100, dict.fromkeys(range(3), "right")), alone("right", "right", 3)], MIXED),
    "alone": seen([alone("right", "right")], {"Tesla T4": [0]}),
    "intermittent": seen([alone("right", "wrong"), alone("right", "right", again=1)], {"Tesla T4": [0]}),
}


@pytest.mark.parametrize("format", ["terminal", "line"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_as_committed(name: str, format: str, golden: Golden) -> None:
    text = render.screening(ANSWERS[name], format)
    golden(f"screen gpu {name}.{'txt' if format == 'terminal' else format}", text)
    assert "core" not in text.replace("CPU cores", "")
    assert "health" not in text


def test_exit_statuses() -> None:
    found = {name: one.exit for name, one in ANSWERS.items()}
    assert found == {"agree": 0, "wrong": 1, "disagree": 1, "mixed": 0, "alone": 0, "intermittent": 1}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_saved_answer_is_shown_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    path.write_text(render.screening(ANSWERS[name], "json"))
    assert codec.read_any(str(path), False)[0] == ANSWERS[name]
