"""Settings of what a GPU computes: values follow from the other side's facts by lists of words, calls ask torch in the
one way that it has, and where no GPU is there is nothing to set."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from audit.causes import settings
from audit.causes.attribute import Symptom, explain
from audit.causes.extensions import LEVELS
from audit.causes.machines import possible
from audit.causes.settings import BY_NAME
from audit.compare.side import Measured
from probes import calls
from reports.catalogue import catalogue
from reports.comparison import FactDifference
from reports.report import Auditor, Fact, Report, Target

FLAGS = {
    "torch.version": "2.13.0",
    "torch.deterministic": "off",
    "cuda.matmul_precision": "ieee",
    "cuda.conv_precision": "tf32",
    "cuda.tf32_override": "none",
    "cuda.cublas_workspace": "default",
    "cuda.cudnn_benchmark": False,
}
"""What torch for CUDA tells wherever it is."""

GPU = {**FLAGS, "cuda.device": "NVIDIA H100 80GB HBM3"}
OWN = {
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "cuda_matmul_precision",
    "cuda_conv_precision",
    "torch_deterministic",
    "cudnn_benchmark",
}


def side(facts: dict[str, Any], **more: object) -> Measured:
    found = {**facts, **{name.replace("__", "."): value for name, value in more.items()}}
    target = Target("host", facts={name: Fact(value) for name, value in found.items()})  # type: ignore[arg-type]
    return Measured("a", "a.json", Report("audit-report", 1, "a", "d", "", Auditor(), [target]), target)


@pytest.mark.parametrize(
    ("fact", "there", "expected"),
    [
        ("cuda.tf32_override", "0", {"NVIDIA_TF32_OVERRIDE": "0"}),
        ("cuda.tf32_override", "1", {"NVIDIA_TF32_OVERRIDE": "1"}),
        ("cuda.tf32_override", "yes", {}),
        ("cuda.tf32_override", "0; rm", {}),
        ("cuda.tf32_override", 0, {}),
        ("cuda.cublas_workspace", ":16:8", {"CUBLAS_WORKSPACE_CONFIG": ":16:8"}),
        ("cuda.cublas_workspace", ":4096:2:16:8", {"CUBLAS_WORKSPACE_CONFIG": ":4096:2:16:8"}),
        ("cuda.cublas_workspace", ":16", {}),
        ("cuda.cublas_workspace", ":0:8", {}),
        ("cuda.cublas_workspace", ":16:8\n", {}),
        ("cuda.cublas_workspace", ":16:8 $(x)", {}),
        ("cuda.matmul_precision", "tf32", {"cuda_matmul_precision": "tf32"}),
        ("cuda.matmul_precision", "bf16", {}),
        ("cuda.matmul_precision", ["tf32"], {}),
        ("cuda.conv_precision", "ieee", {"cuda_conv_precision": "ieee"}),
        ("cuda.conv_precision", '"; x', {}),
        ("torch.deterministic", "on", {"torch_deterministic": "error"}),
        ("torch.deterministic", "warn", {"torch_deterministic": "warn"}),
        ("torch.deterministic", "error", {}),
        ("cuda.cudnn_benchmark", True, {"cudnn_benchmark": "True"}),
        ("cuda.cudnn_benchmark", "True", {}),
        ("cuda.cudnn_benchmark", 1, {}),
    ],
)
def test_values_follow_from_what_is_in_effect_there(fact: str, there: object, expected: dict[str, str]) -> None:
    assert settings.derive(side(GPU), side({**GPU, fact: there}), ["cuda"]) == expected


def test_what_is_not_set_there_is_no_value() -> None:
    """A variable of one's own is taken out instead; a mode that a program asks for no call takes back."""
    here = side({**GPU, "cuda.tf32_override": "0", "cuda.cublas_workspace": ":16:8", "torch.deterministic": "on"})
    assert settings.derive(here, side(GPU), ["cuda"]) == {}


def test_the_side_that_can_be_told_by_a_variable_is_found() -> None:
    told = side({**GPU, "cuda.tf32_override": "0"})
    for pair in ((told, side(GPU)), (side(GPU), told)):
        here, values = settings.either(*pair, ["cuda"])
        assert (here.fact("cuda.tf32_override"), values) == ("none", {"NVIDIA_TF32_OVERRIDE": "0"})


def test_what_is_possible_on_a_gpu() -> None:
    assert settings.others(side(GPU), "cuda") == [
        {"torch_deterministic": "error"},
        {"cuda_matmul_precision": "tf32"},
        {"cuda_conv_precision": "ieee"},
        {"NVIDIA_TF32_OVERRIDE": "0"},
        {"NVIDIA_TF32_OVERRIDE": "1"},
        {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
        {"CUBLAS_WORKSPACE_CONFIG": ":16:8"},
        {"cudnn_benchmark": "True"},
    ]
    mine = possible(side(GPU, variables__NVIDIA_TF32_OVERRIDE="0", torch__deterministic="on"))
    assert mine.kept == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert not {"NVIDIA_TF32_OVERRIDE", "torch_deterministic"} & {name for one in mine.alone for name in one.values}


def test_none_of_it_is_a_machine_or_a_pin() -> None:
    """A GPU is no other one with a setting, so nothing here stands for another machine."""
    found = possible(side(GPU))
    assert (found.levels, found.threads) == ([], {})
    assert not any(settings.level(side(GPU), left) for left in LEVELS.values())
    assert not any(BY_NAME[name].stands_for("1") or BY_NAME[name].under for name in OWN)


@pytest.mark.parametrize("facts", [FLAGS, {}], ids=["torch for CUDA", "no torch"])
def test_without_a_gpu_there_is_nothing_to_set(facts: dict[str, Any]) -> None:
    here = side(facts)
    assert {name for name in OWN if BY_NAME[name].values(here)} == set()
    there = {**GPU, "cuda.matmul_precision": "tf32", "cuda.conv_precision": "ieee", "cuda.tf32_override": "0"}
    there |= {"cuda.cublas_workspace": ":16:8", "cuda.cudnn_benchmark": True}
    assert settings.derive(here, side(there), ["cuda", "aten"]) == {}


def test_deterministic_algorithms_are_a_cpus_too() -> None:
    there = side({**FLAGS, "torch.deterministic": "on"})
    assert settings.derive(side(FLAGS), there, ["aten"]) == {"torch_deterministic": "error"}
    assert settings.derive(side({}), there, ["aten"]) == {}


# Where it is laid

WORKSPACE = "variables.CUBLAS_WORKSPACE_CONFIG"


@pytest.mark.parametrize(
    ("differing", "control", "root", "alternatives"),
    [
        (["variables.NVIDIA_TF32_OVERRIDE", "cuda.tf32_override"], False, "variables.NVIDIA_TF32_OVERRIDE", []),
        (["cuda.tf32_override"], False, "cuda.tf32_override", []),  # the program itself has set it
        (["variables.NVIDIA_TF32_OVERRIDE"], False, None, []),  # no process that computed had it
        (["cuda.matmul_precision"], False, "cuda.matmul_precision", []),
        (["cuda.matmul_precision"], True, None, []),
        ([WORKSPACE, "cuda.cublas_workspace"], False, WORKSPACE, []),
        # Who asks for deterministic algorithms sets it besides, or has it set.
        (["torch.deterministic", "cuda.cublas_workspace"], False, "torch.deterministic", []),
        (
            ["torch.deterministic", WORKSPACE, "cuda.cublas_workspace"],
            False, "torch.deterministic", [WORKSPACE],
        ),
        (["cuda.cudnn_benchmark"], False, "cuda.cudnn_benchmark", []),
        (["cuda.cudnn_benchmark"], True, None, []),
    ],
)  # fmt: skip
def test_what_differs_on_a_gpu_has_its_root(
    differing: list[str], control: bool, root: str | None, alternatives: list[str]
) -> None:
    rows = catalogue()
    differences = []
    for name in differing:
        row = rows.row(name)
        assert row
        works = [] if name.startswith("variables.") else ["operators"]
        differences.append(FactDifference(name, row.kind, list(row.components), ["a", "b"], works))
    symptom = Symptom("cuda.conv2d.f32", ("cuda",), control=control)
    (one,) = explain([symptom], ["cuda"], differences, [side(GPU), side(GPU)], rows)
    assert (one.root, one.components, one.alternatives) == (root, ["cuda"], alternatives)


# Calls


class Strict:
    """A place of torch's that has some attributes and takes no other."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.__dict__:
            raise AttributeError(name)
        self.__dict__[name] = value


def torch(new: bool) -> tuple[Any, list[object]]:
    """A stand-in for torch 2.9, or an older one, and what it is asked for."""
    asked: list[object] = []
    flag = {"fp32_precision": "none"} if new else {"allow_tf32": None}
    cudnn = Strict(benchmark=False, **({"conv": Strict(**flag)} if new else flag))
    backends = Strict(cuda=Strict(matmul=Strict(**flag)), cudnn=cudnn, **({"fp32_precision": "none"} if new else {}))
    return SimpleNamespace(
        backends=backends, use_deterministic_algorithms=lambda mode, warn_only: asked.append((mode, warn_only))
    ), asked


@pytest.mark.parametrize(("precision", "old"), [("tf32", True), ("ieee", False)])
def test_precision_is_asked_for_in_the_one_way_that_torch_has(
    precision: str, old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"cuda_matmul_precision": precision, "cuda_conv_precision": precision}
    for new, expected in ((True, precision), (False, old)):
        stand_in, _ = torch(new)
        monkeypatch.setitem(sys.modules, "torch", stand_in)
        calls.before_work(values)
        backends, name = stand_in.backends, "fp32_precision" if new else "allow_tf32"
        assert getattr(backends.cuda.matmul, name) == expected
        assert getattr(backends.cudnn.conv if new else backends.cudnn, name) == expected


@pytest.mark.parametrize(("value", "warn"), [("error", False), ("warn", True), (True, False)])
def test_modes_are_asked_for(value: object, warn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in, asked = torch(True)
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is as before afterwards
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    calls.before_work({"cudnn_benchmark": "True"})
    assert (asked, stand_in.backends.cudnn.benchmark) == ([], True)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    calls.before_work({"torch_deterministic": value, "cudnn_benchmark": "False"})
    assert (asked, stand_in.backends.cudnn.benchmark) == ([(True, warn)], False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    calls.before_work({"torch_deterministic": value})
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
