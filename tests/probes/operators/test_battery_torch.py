"""PyTorch's operators in fresh processes: each setting moves operators of its own component and of no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import environments
from probes.battery import result
from probes.facts import Absent, Wrong
from probes.operators import cuda, tensors

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
NAMES = ("aten", "onednn", "mkl")
VARIABLES = ("ATEN_", "ONEDNN_", "DNNL_", "MKL_", "OMP_", "GLIBC_TUNABLES")
TINY = {"f16"}  # has so few exponents that numbers near zero are nothing unusual

avx512 = pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to switch off")

BATTERY = """
import importlib, json, sys
import numpy, torch
from probes.digest import tensor
before = torch.random.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
records = []
def small(result):
    if not hasattr(result, "dtype") or not (result.is_floating_point() or result.is_complex()):
        return False
    real = torch.view_as_real(result) if result.is_complex() else result
    return bool(((real.abs() > 0) & (real.abs() < torch.finfo(real.dtype).tiny)).any())
for component in sys.argv[1].split():
    module = importlib.import_module("probes.operators." + component)
    for operator in module.on("cpu") if component == "cuda" else module.operators():
        result = operator.function()
        record = {field: getattr(operator, field) for field in operator._fields if field != "function"}
        again = tensor(operator.function())
        records.append(dict(record, digest=tensor(result).digest().hex(), repeats=tensor(result) == again,
                            dtype=again.dtype, small=small(result)))
after = torch.random.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
left = bool((before[0] == after[0]).all()) and before[1:] == after[1:]
heavy = [name for name in ("sympy", "torch._dynamo", "torch._inductor") if name in sys.modules]
print(json.dumps({"records": records, "left": left, "heavy": heavy}))
"""


def child(code: str, *arguments: str, **variables: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    environment.update({"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}, **variables)
    command = [environments.frameworks(), "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def battery(**variables: str) -> dict[str, Any]:
    return {one["name"]: one for one in child(BATTERY, " ".join(NAMES), **variables)["records"]}


@pytest.fixture(scope="module")
def told() -> Any:
    return child(BATTERY, " ".join(NAMES), MKL_NUM_THREADS="2")


@pytest.fixture(scope="module")
def base(told: Any) -> dict[str, Any]:
    return {one["name"]: one for one in told["records"]}


def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    assert list(one) == list(other)
    return {name for name in one if one[name]["digest"] != other[name]["digest"]}


def assert_only(base: dict[str, Any], names: set[str], component: str) -> None:
    """Some of the component moved, and all that moved passes through it; controls never move."""
    assert [name for name in names if base[name]["component"] == component]
    through = {name: (base[name]["component"], *base[name]["through"]) for name in names}
    assert {name: labels for name, labels in through.items() if component not in labels} == {}
    assert [name for name in names if base[name]["control"]] == []


@pytest.mark.torch
def test_operators_are_named_and_repeat(told: Any, base: dict[str, Any]) -> None:
    assert [name for name, times in Counter(one["name"] for one in told["records"]).items() if times > 1] == []
    assert all(name.startswith(one["component"] + ".") for name, one in base.items())
    counts = Counter(one["component"] for one in base.values())
    assert (counts["aten"] >= 200, counts["onednn"] >= 40, counts["mkl"] >= 100) == (True, True, True)
    assert [name for name, one in base.items() if not one["repeats"]] == []
    assert [name for name, one in base.items() if one["small"] and TINY.isdisjoint(name.split("."))] == []
    assert {one["dtype"] for one in base.values()} == {"f4", "f8", "bf2", "f2", "c8", "c16", "i8", "text"}
    assert not [name for name, one in base.items() if one["control"] and one["threaded"]]


@pytest.mark.torch
def test_the_process_is_left_as_it_was_and_imports_no_compiler(told: Any) -> None:
    assert told["left"] is True
    assert told["heavy"] == []


@pytest.mark.torch
def test_two_processes_agree(base: dict[str, Any]) -> None:
    assert moved(base, battery(MKL_NUM_THREADS="2")) == set()


@pytest.mark.torch
@avx512
@pytest.mark.parametrize(
    ("variable", "value", "component", "some"),
    [
        ("ATEN_CPU_CAPABILITY", "avx2", "aten", {"aten.softmax.f32.40x96", "aten.attention_backward.f64.4x64x16"}),
        ("ATEN_CPU_CAPABILITY", "default", "aten", {"aten.stream.normal.f32", "aten.optimizer.adamw.foreach"}),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "onednn", {"onednn.conv2d.f32.2x3x16x16", "onednn.gelu.bf16"}),
        (
            "MKL_CBWR",
            "COMPATIBLE",
            "mkl",
            {"mkl.matmul.f32.64x64x64", "mkl.tree.gemv.f64", "aten.attention.f32.4x16x16"},
        ),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F", "libm", {"aten.stream.normal.f64"}),
    ],
)
def test_a_setting_moves_its_component_alone(
    base: dict[str, Any], variable: str, value: str, component: str, some: set[str]
) -> None:
    names = moved(base, battery(MKL_NUM_THREADS="2", **{variable: value}))
    assert some <= names
    if component == "libm":  # an operator of its own is in libm.py
        assert [name for name in names if "libm" not in base[name]["through"]] == []
    else:
        assert_only(base, names, component)


@pytest.mark.torch
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU")
def test_threads_move_only_what_says_threaded(base: dict[str, Any]) -> None:
    names = moved(base, battery(MKL_NUM_THREADS="1"))
    assert {"aten.layer_norm_backward.f32.160x256", "mkl.dot.f64.30011"} <= names
    assert [name for name in sorted(names) if not base[name]["threaded"]] == []


THREADS = """
import importlib, json, os, sys, time
import numpy, torch

def worker_time():
    total = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open("/proc/self/task/" + task + "/schedstat") as file:
                total += int(file.read().split()[0])
    return total

def used_by(operators):
    # Workers spin for a while after their work, and their time is booked when they stop.
    before = worker_time()
    for operator in operators:
        operator.function()
    time.sleep(0.02)
    after = worker_time()
    while after != before:
        time.sleep(0.2)
        if worker_time() == after:
            return True
        after = worker_time()
    return False

torch.ones(600, 600) @ torch.ones(600, 600)
operators = [o for c in sys.argv[1].split() for o in importlib.import_module("probes.operators." + c).operators()]
calm = [o for o in operators if not o.threaded]
for operator in calm:
    operator.function()  # whatever starts threads at its first call
time.sleep(1)
found = [o.name for o in calm if used_by([o])] if used_by(calm) else []
print(json.dumps([name for name in found if used_by([o for o in calm if o.name == name])]))
"""


@pytest.mark.torch
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no schedstat")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU")
def test_untagged_operators_use_one_thread() -> None:
    assert child(THREADS, " ".join(NAMES), OMP_NUM_THREADS="2") == []


@pytest.mark.torch
def test_the_operators_of_a_gpu_compute_on_any_device() -> None:
    told = child(BATTERY, "cuda")
    records = told["records"]
    assert told["left"] is True
    assert len(records) >= 80
    assert all(one["name"].startswith("cuda.") and one["component"] == "cuda" for one in records)
    assert {name for name, times in Counter(one["name"] for one in records).items() if times > 1} == set()
    assert [one["name"] for one in records if not one["repeats"] or one["threaded"] or one["through"]] == []
    assert {one["name"] for one in records if one["hazard"]} == {
        *(f"cuda.attention_backward.{dtype}" for dtype in ("f32", "bf16", "f16")),
        "cuda.index_add.f32",
        "cuda.scatter_add.f32",
        "cuda.cumsum.f32",
    }


@pytest.mark.parametrize("component", [*NAMES, "cuda"])
def test_without_torch_there_are_none(component: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Absent, match=r"^torch is not installed$"):
        importlib.import_module("probes.operators." + component).operators()


def stand_in(version: str = "2.13.0+cpu", mkl: bool = True, cuda: str | None = None, gpus: bool = False) -> Any:
    """What the operators ask of torch before they compute anything."""
    return SimpleNamespace(
        __version__=version,
        backends=SimpleNamespace(mkl=SimpleNamespace(is_available=lambda: mkl)),
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(is_available=lambda: gpus),
    )


@pytest.mark.parametrize(
    ("torch", "component", "reason"),
    [
        (stand_in("2.1.2+cu118"), "aten", "torch 2.1: the probes need 2.2 or newer"),
        (stand_in("1.13.1"), "cuda", "torch 1.13: the probes need 2.2 or newer"),
        (stand_in(mkl=False), "mkl", "this build of torch calls no MKL"),
        (stand_in(), "cuda", "this build of torch is without CUDA"),
        (stand_in(cuda="12.8"), "cuda", "torch sees no GPU that it can use"),
    ],
)
def test_what_cannot_be_run_says_why(torch: Any, component: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(Absent) as raised:
        importlib.import_module("probes.operators." + component).operators()
    assert str(raised.value) == reason


def test_versions_that_are_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("2.2.0", "2.13.0a0+gitcf30153", "3.0.1"):
        monkeypatch.setitem(sys.modules, "torch", stand_in(version))
        assert tensors.framework() is sys.modules["torch"]


def test_a_gpu_has_every_operator_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in(cuda="12.8", gpus=True))
    assert [one.name for one in cuda.operators()] == [one.name for one in cuda.on("cpu")]


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (
            "\"LayerNormKernelImpl\" not implemented for 'Half'",
            "absent",
            "this torch has no kernel of it for this type",
        ),
        ("shapes cannot be multiplied", "failed", "RuntimeError (tensors, line {})"),
    ],
)
def test_a_type_for_which_an_older_torch_has_no_kernel_is_absent(
    said: str, status: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(given: tensors.Tensors) -> Any:
        raise RuntimeError(said)

    torch = stand_in()
    torch.float16 = "torch.float16"
    monkeypatch.setitem(sys.modules, "torch", torch)
    (operator,) = tensors.operators("aten", (tensors.Row("layer_norm.@", compute, ("f16",)),))
    found = result(operator, False)
    assert (found["status"], re.sub(r"line \d+", "line {}", found["reason"])) == (status, reason)


def test_a_result_that_is_far_off_is_the_emulators_mistake() -> None:
    numpy = pytest.importorskip("numpy")

    class Numbers(numpy.ndarray):  # type: ignore[name-defined,misc]
        def double(self) -> Any:
            return self.astype("f8")

    def numbers(*values: float) -> Any:
        return numpy.array(values, "f4").view(Numbers)

    result = numbers(1.0, 2.0)
    assert tensors.near(result, numbers(1.05, 1.95).double()) is result
    for values in ((1.2, 2.0), (float("nan"), 2.0)):
        with pytest.raises(Wrong, match="far from the result in double precision"):
            tensors.near(numbers(*values), result.double())
