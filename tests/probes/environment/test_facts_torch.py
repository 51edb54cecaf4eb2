"""PyTorch in effect, with oneDNN and MKL: each setting moves its own facts; and a GPU's, from a stand-in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT, Captured, Records

from fixtures import environments
from probes.environment import mkl, onednn
from probes.environment import torch as facet
from probes.facts import Absent, Facts

ROWS = {row["fact"]: row for row in json.loads((ROOT / "reports" / "catalogue.json").read_text("utf-8"))["facts"]}
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
WORK = "import numpy, torch; torch.nn.functional.conv2d(torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)); "
OWN = ("torch.", "aten.", "onednn.", "mkl.", "cuda.")

avx512 = pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to switch off")


def own(records: Records) -> dict[str, Any]:
    return {name: one.get("value", one.get("reason")) for name, one in records.items() if name.startswith(OWN)}


@pytest.fixture(scope="module")
def records(captured: Captured) -> Records:
    return captured("effect", before=WORK, python=environments.frameworks(), MKL_NUM_THREADS="2", MKL_CBWR=None)


@pytest.mark.torch
def test_every_fact_has_a_row_and_every_row_a_fact(records: Records) -> None:
    names = {name for name, row in ROWS.items() if row.get("only") == "torch" and name.startswith(OWN)}
    assert set(own(records)) == names
    libraries = [name for name in records if re.fullmatch(r"libraries\.libtorch\w*\.build_id", name)]
    assert "libraries.libtorch_cpu.build_id" in libraries


@pytest.mark.torch
@avx512
def test_what_is_in_effect_here(records: Records) -> None:
    found = own(records)
    for name in ("torch.build", "mkl.approximations"):
        assert re.fullmatch(r"[0-9a-f]{16}", found.pop(name))
    assert re.fullmatch(r"AVX512_CORE(_\w+)?", found.pop("onednn.isa"))
    for name in ("mkl.branch", "mkl.intel", "mkl.kernel", "mkl.vector_kernel", "torch.interop_threads"):
        assert found.pop(name) is not None
    assert found == {
        "torch.version": "2.13.0+cpu",
        "torch.threads": 2,
        "torch.parallel_backend": "OpenMP",
        "torch.default_dtype": "float32",
        "torch.deterministic": "off",
        "aten.capability": "AVX512",
        "onednn.version": "3.12.0",
        "onednn.enabled": True,
        "onednn.matmul_precision": "ieee",
        "onednn.conv_precision": "ieee",
        "mkl.version": "2024.2",
        "mkl.mode": "OFF",
        "mkl.threads": 2,
        "cuda.version": "this build of torch is without CUDA",
    }


@pytest.mark.torch
@avx512
@pytest.mark.parametrize(
    ("variables", "code", "moved"),
    [
        ({"ATEN_CPU_CAPABILITY": "default"}, "", {"aten.capability": "DEFAULT"}),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "", {"onednn.isa": "AVX2"}),
        ({"MKL_CBWR": "COMPATIBLE"}, "", {"mkl.mode": "COMPATIBLE", "mkl.kernel": 0, "mkl.vector_kernel": 2}),
        ({"MKL_CBWR": "AUTO,STRICT"}, "", {"mkl.mode": "AUTO,STRICT"}),
        ({"MKL_NUM_THREADS": "1"}, "", {"torch.threads": 1, "mkl.threads": 1}),
        (
            {},
            # After the first of these, torch's old functions raise (pytorch#179750).
            "torch.backends.fp32_precision = 'tf32'; torch.backends.mkldnn.conv.fp32_precision = 'bf16';"
            "torch.use_deterministic_algorithms(True, warn_only=True); torch.set_default_dtype(torch.float64);"
            "torch.set_num_threads(3)",
            {
                "onednn.matmul_precision": "tf32",
                "onednn.conv_precision": "bf16",
                "torch.deterministic": "warn",
                "torch.default_dtype": "float64",
                "torch.threads": 3,
                "mkl.threads": 3,
            },
        ),
        ({}, "torch.set_float32_matmul_precision('medium')", {"onednn.matmul_precision": "bf16"}),
    ],
    ids=["aten", "onednn", "mkl", "strict", "threads", "calls", "old call"],
)
def test_each_setting_moves_its_own_facts(
    variables: dict[str, str], code: str, moved: dict[str, Any], captured: Captured, records: Records
) -> None:
    usual: dict[str, str | None] = {"MKL_NUM_THREADS": "2", "MKL_CBWR": None}
    there = captured("effect", before=WORK + code, python=environments.frameworks(), **{**usual, **variables})
    before, after = own(records), own(there)
    assert {name for name in after if after[name] != before[name]} <= set(moved)
    assert {name: after[name] for name in moved} == moved


@pytest.mark.torch
def test_what_others_print_meanwhile_is_handed_on() -> None:
    code = WORK + "import os; os.write(1, b'before '); print('mine', end=' ')"
    capture = (
        "from probes.environment import onednn; import torch; told = onednn.told(torch);"
        "assert onednn.told(torch) is told; assert told.startswith('onednn_verbose,v1,info,'); print('after')"
    )
    command = [environments.frameworks(), "-c", f"{code}; {capture}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
    assert done.stdout == "before mine after\n"


@pytest.mark.torch
def test_a_variable_that_makes_onednn_print_is_left_alone(captured: Captured) -> None:
    quiet = "import os; os.dup2(2, 1); " + WORK
    code = "import os; kept = os.dup(1); " + quiet + "os.dup2(kept, 1)"
    found = captured("effect", before=code, python=environments.frameworks(), ONEDNN_VERBOSE="error")
    assert found["onednn.isa"] == {
        "status": "absent",
        "reason": "it is told on standard output: a variable asks for oneDNN's verbose mode",
    }


def test_without_torch_nothing_is_said(captured: Captured) -> None:
    assert own(captured("effect", before="import numpy")) == {}


@pytest.mark.parametrize(
    ("lines", "isa"),
    [
        ("onednn_verbose,v1,info,cpu,isa:Intel AVX2\n", "AVX2"),
        ("dnnl_verbose,info,cpu,isa:Intel AVX-512 with Intel DL Boost\n", "AVX512_CORE_VNNI"),
        ("onednn_verbose,v1,info,cpu,isa:Intel AVX10.2\nonednn_verbose,v1,info,gpu,runtime:none\n", "Intel AVX10.2"),
        ("onednn_verbose,v1,info,cpu,isa:$(rm)\n", "(not recorded)"),
    ],
)
def test_the_instruction_set_that_onednn_tells(lines: str, isa: str) -> None:
    assert onednn._isa(lines) == isa


def test_onednn_that_tells_nothing_is_absent() -> None:
    with pytest.raises(Absent, match="oneDNN did not tell"):
        onednn._isa("something else, isa:Intel AVX2\n")


@pytest.mark.parametrize(
    ("code", "word"),
    [(1, "OFF"), (3, "COMPATIBLE"), (0x1000A, "AVX2,STRICT"), (99, "branch 99"), (-1, "branch -1")],
)
def test_branches_of_mkl(code: int, word: str) -> None:
    assert mkl._branch(code) == word


# A GPU, which no test machine has: what torch would tell of one, in its new words and in its old ones


def stand_in(used: bool = True, new: bool = True) -> Any:
    def old(*_: Any) -> Any:
        raise RuntimeError("mix of the legacy and new APIs")

    matmul = SimpleNamespace(
        allow_fp16_reduced_precision_reduction=(True, False),
        allow_bf16_reduced_precision_reduction=True,
        **({"fp32_precision": "none"} if new else {"allow_tf32": False}),
    )
    conv = SimpleNamespace(**({"fp32_precision": "tf32"} if new else {}))
    backends = SimpleNamespace(
        cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2"),
        mkldnn=SimpleNamespace(is_available=lambda: False),
        cuda=SimpleNamespace(
            matmul=matmul,
            preferred_blas_library=lambda: "_BlasBackend.Cublas",
            preferred_linalg_library=lambda: "_LinalgBackend.Default",
            flash_sdp_enabled=lambda: True,
            mem_efficient_sdp_enabled=lambda: False,
            math_sdp_enabled=lambda: True,
        ),
        cudnn=SimpleNamespace(
            conv=conv, allow_tf32=True, enabled=True, benchmark=True, deterministic=False, version=lambda: 91002
        ),
    )
    if new:
        backends.fp32_precision = "ieee"
    device = SimpleNamespace(name="NVIDIA H100 80GB HBM3", major=9, minor=0, multi_processor_count=132)
    return SimpleNamespace(
        _C=None,
        __version__="2.9.0+cu128",
        __config__=SimpleNamespace(
            show=lambda: "built\n  - CPU capability usage: AVX2\nwith\n",
            parallel_info=lambda: "ATen parallel backend: native thread pool",
        ),
        backends=backends,
        version=SimpleNamespace(cuda="12.8"),
        get_num_threads=lambda: 4,
        get_num_interop_threads=lambda: 4,
        get_default_dtype=lambda: "torch.bfloat16",
        get_deterministic_debug_mode=lambda: 2,
        get_float32_matmul_precision=old if new else lambda: "medium",
        cuda=SimpleNamespace(
            is_initialized=lambda: used,
            current_device=lambda: 0,
            get_device_properties=lambda index: device,
            get_allocator_backend=lambda: "native",
            nccl=SimpleNamespace(version=lambda: (2, 27, 3)),
        ),
    )


def stood_in(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(facet, "_cublas", lambda: "12.8.3")
    facts = Facts()
    facet.capture(facts)
    return facts.records


def test_a_gpu_in_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    found = {name: one.get("value", one.get("reason")) for name, one in stood_in(stand_in(), monkeypatch).items()}
    assert {name for name in found if name.startswith("cuda.")} == {
        name for name, row in ROWS.items() if name.startswith("cuda.")
    }
    assert {name: value for name, value in found.items() if name.startswith("cuda.")} == {
        "cuda.version": "12.8",
        "cuda.matmul_precision": "ieee",
        "cuda.conv_precision": "tf32",
        "cuda.reduced_f16": "on, off",
        "cuda.reduced_bf16": "on",
        "cuda.f16_accumulation": "off",
        "cuda.cudnn_enabled": True,
        "cuda.cudnn_benchmark": True,
        "cuda.cudnn_deterministic": False,
        "cuda.attention": ["flash", "math"],
        "cuda.blas_library": "_BlasBackend.Cublas",
        "cuda.algebra_library": "_LinalgBackend.Default",
        "cuda.allocator": "native",
        "cuda.tf32_override": "0",
        "cuda.cublas_workspace": "default",
        "cuda.cudnn": "9.10.2",
        "cuda.cublas": "12.8.3",
        "cuda.nccl": "2.27.3",
        "cuda.device": "NVIDIA H100 80GB HBM3",
        "cuda.capability": "9.0",
        "cuda.multiprocessors": 132,
    }
    assert (found["torch.deterministic"], found["torch.default_dtype"]) == ("on", "bfloat16")
    assert (found["torch.parallel_backend"], found["onednn.enabled"]) == ("native thread pool", False)


def test_a_torch_with_the_old_functions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stood_in(stand_in(new=False), monkeypatch)
    assert found["cuda.matmul_precision"]["value"] == "ieee"
    assert found["cuda.conv_precision"]["value"] == "tf32"
    assert found["onednn.matmul_precision"]["value"] == "bf16"
    assert found["onednn.conv_precision"]["value"] == "ieee"


def test_cuda_is_not_started_to_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stood_in(stand_in(used=False), monkeypatch)
    asked = ("cudnn", "cublas", "nccl", "device", "capability", "multiprocessors")
    unused = {"status": "absent", "reason": "this process used no GPU"}
    assert [found["cuda." + name] for name in asked] == [unused] * len(asked)
    assert found["cuda.cudnn_benchmark"]["value"] is True


def test_a_build_is_the_same_on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = stand_in(), stand_in()
    other.__config__.show = lambda: "built\n  - CPU capability usage: NO AVX\nwith\n"
    assert facet._build(one) == facet._build(other)
    other.__config__.show = lambda: "built\n  - CPU capability usage: AVX2\nwithout\n"
    assert facet._build(one) != facet._build(other)


@pytest.mark.parametrize(("number", "version"), [(91002, "9.10.2"), (8902, "8.9.2"), (90100, "9.1.0")])
def test_versions_of_cudnn(number: int, version: str) -> None:
    assert facet._dotted(number) == version
