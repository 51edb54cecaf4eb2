"""What is said to decide a dispatched operator is what moves it: all that the battery dispatches, by experiment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import environments
from probes.dispatched import components
from probes.operators import COMPONENTS

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

CHILD = """
import hashlib, importlib, json
import numpy, torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from probes.digest import tensor
from probes.dispatched import components
calls = []
def bits(one):
    return tensor(one).digest().hex() if isinstance(one, torch.Tensor) and not one.is_sparse else repr(one)
class Seen(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = hashlib.blake2b(repr([bits(one) for one in tree_leaves((args, kwargs))]).encode()).hexdigest()
        output = func(*args, **(kwargs or {}))
        found = [one for one in tree_leaves(output) if isinstance(one, torch.Tensor)]
        if func._schema.name == "aten::mkldnn_rnn_layer":
            del found[3]  # its workspace, parts of which nobody writes
        if found:
            name, dtype = str(func._schema.name), tensor(found[0].flatten()[:1]).dtype
            calls.append([name, dtype, inputs, [bits(one) for one in found], components(name, dtype, "cpu")])
        return output
for component in ("aten", "onednn", "mkl"):
    for operator in importlib.import_module("probes.operators." + component).operators():
        if ".tree." not in operator.name:
            calls.append(operator.name)
            with Seen():
                operator.function()
print(json.dumps(calls))
"""


def dispatched(**variables: str) -> dict[tuple[str, int], Any]:
    """Every call of the battery's: its name, type, inputs, outputs and components, by operator and number."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment.update({"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}, **variables)
    command = [environments.frameworks(), "-W", "ignore", "-c", CHILD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls: dict[tuple[str, int], Any] = {}
    operator, number = "", 0
    for one in json.loads(done.stdout):
        if isinstance(one, str):
            operator, number = one, 0
        else:
            calls[operator, number] = one
            number += 1
    return calls


@pytest.fixture(scope="module")
def base() -> dict[tuple[str, int], Any]:
    return dispatched()


@pytest.mark.torch
def test_all_kinds_of_operators_are_dispatched(base: dict[tuple[str, int], Any]) -> None:
    names = {call[0] for call in base.values()}
    assert len(names) >= 120
    assert {"aten::addmm", "aten::convolution_backward", "aten::_softmax", "aten::mkldnn_rnn_layer"} <= names
    assert {label for call in base.values() for label in call[4]} == {"aten", "onednn", "mkl", "libm"}


@pytest.mark.torch
@pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to switch off")
@pytest.mark.parametrize(
    ("variable", "value", "component", "least"),
    [
        ("ATEN_CPU_CAPABILITY", "default", "aten", 60),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "onednn", 5),
        ("MKL_CBWR", "COMPATIBLE", "mkl", 20),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F", "libm", 1),
    ],
)
def test_what_a_setting_moves_names_its_component(
    base: dict[tuple[str, int], Any], variable: str, value: str, component: str, least: int
) -> None:
    """Of the calls with equal inputs, those with other outputs; what fresh memory holds is nobody's doing."""
    there = dispatched(**{variable: value})
    moved = [
        (tuple(one[:2]), tuple(one[4]))
        for key, one in base.items()
        if key in there and there[key][:3] == one[:3] and there[key][3] != one[3] and "empty" not in one[0]
    ]
    assert sorted({call for call in moved if component not in call[1]}) == []
    assert len({call for call, _ in moved}) >= least


@pytest.mark.parametrize(
    ("operator", "dtype", "device", "expected"),
    [
        ("aten::addmm", "f4", "cpu", ("mkl",)),
        ("aten::addmm.out", "f8", "cpu", ("mkl",)),
        ("aten::addmm", "bf2", "cpu", ("onednn", "mkl", "aten")),
        ("aten::mm", "c8", "cpu", ("mkl",)),
        ("aten::bmm", "f4", "cpu", ("mkl", "aten")),
        ("aten::convolution", "f4", "cpu", ("onednn", "mkl", "aten")),
        ("aten::convolution_backward", "f8", "cpu", ("mkl", "aten")),
        ("aten::mkldnn_rnn_layer", "f4", "cpu", ("onednn",)),
        ("mkldnn::_linear_pointwise", "f4", "cpu", ("onednn",)),
        ("aten::gelu", "f4", "cpu", ("onednn", "aten")),
        ("aten::gelu", "f8", "cpu", ("aten",)),
        ("aten::exp_", "f4", "cpu", ("mkl",)),
        ("aten::_foreach_sqrt_", "f4", "cpu", ("mkl",)),
        ("aten::exp", "bf2", "cpu", ("aten",)),
        ("aten::sigmoid_", "f8", "cpu", ("aten", "libm")),
        ("aten::pow.Tensor_Scalar", "f4", "cpu", ("aten", "mkl", "libm")),
        ("aten::_to_copy", "bf2", "cpu", ()),
        ("aten::_foreach_addcdiv_.ScalarList", "f4", "cpu", ("aten",)),
        ("aten::_linalg_svd", "f4", "cpu", ("mkl",)),
        ("aten::linalg_vector_norm", "f4", "cpu", ("aten",)),
        ("aten::_fft_r2c", "c8", "cpu", ("mkl",)),
        ("aten::normal_", "f8", "cpu", ("aten", "libm")),
        ("aten::randperm", "i8", "cpu", ("aten",)),
        ("aten::bernoulli_.float", "b1", "cpu", ("aten", "mkl")),
        ("aten::sum.dim_IntList", "i8", "cpu", ()),
        ("aten::eq.Tensor", "b1", "cpu", ()),
        ("aten::view_copy", "f4", "cpu", ()),
        ("aten::slice.Tensor", "bf2", "cuda:0", ()),
        ("aten::mm", "bf2", "cuda:1", ("cuda",)),
        ("aten::normal_", "f4", "cuda", ("cuda",)),
        ("prims::mul", "f4", "cpu", ("aten",)),
        ("aten::mm", "f4", "mps:0", ()),
        ("torchvision::roi_align", "f4", "cpu", ()),
        ("torchvision::roi_align", "f4", "cuda", ()),
        ("_c10d_functional::all_reduce", "f4", "cuda", ()),
        ("aten::an_operator_of_tomorrow", "f4", "cpu", ("aten",)),
    ],
)
def test_the_table(operator: str, dtype: str, device: str, expected: tuple[str, ...]) -> None:
    assert components(operator, dtype, device) == expected
    assert set(expected) <= set(COMPONENTS)


def test_a_torch_without_mkl_calls_another_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    without = SimpleNamespace(backends=SimpleNamespace(mkl=SimpleNamespace(is_available=lambda: False)))
    monkeypatch.setitem(sys.modules, "torch", without)
    assert components("aten::mm", "f4", "cpu") == ("blas",)
    assert components("aten::bmm", "f4", "cpu") == ("blas", "aten")
    # Its exp is a loop of its own then, and so are its transforms.
    assert components("aten::exp", "f4", "cpu") == ("aten",)
    assert components("aten::_fft_r2c", "c8", "cpu") == ("aten",)
    assert components("aten::pow", "f4", "cpu") == ("aten", "libm")
