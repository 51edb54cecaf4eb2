"""A STAND-IN FOR GPUS: where this is on PYTHONPATH, torch claims the GPUs of STAND_IN_GPUS ("H100,H100,T4"), and what
it is to compute on them it computes on the CPU. Of what GPU WRONG gives for rsqrt in single precision, bit BIT of two
elements is flipped: while there is a file ONCE, which it removes.

TF32 is imitated in matrix products: inputs of single precision on a GPU are rounded to 10 bits of mantissa first, where
torch's flag says so or NVIDIA_TF32_OVERRIDE, which goes ahead of it. Where FORKS is set (`serve.py`) the process may
fork, which no process can that has begun CUDA."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

PRODUCTS = os.environ["STAND_IN_GPUS"].split(",")
MULTIPLY = ("matmul", "linear")


class Finder:
    """Finds torch once, as all other finders do, and changes it when it has been imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != "torch":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec: Any = importlib.util.find_spec("torch")
        execute = spec.loader.exec_module

        def changed(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = changed
        return spec


def change(torch: Any) -> None:
    if "FORKS" not in os.environ:
        os.register_at_fork(before=os.abort)  # CUDA that has begun does not survive a fork
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(len(PRODUCTS)))))
    visible = [int(one) for one in named.split(",") if one]
    once = Path(os.environ.get("ONCE", ""))
    wrong = visible == [int(os.environ.get("WRONG", "-1"))]
    fork_rng = torch.random.fork_rng

    def deterministic(mode: bool, warn_only: bool = False) -> None:  # imports no compiler
        torch.set_deterministic_debug_mode("warn" if warn_only else "error")

    torch.version.cuda = "12.8"
    torch.cuda.is_available = lambda: bool(visible)
    torch.cuda.device_count = lambda: len(visible)
    torch.cuda.is_initialized = lambda: True
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_name = lambda index: PRODUCTS[visible[index]]
    torch.cuda.get_device_properties = lambda index: SimpleNamespace(
        name=PRODUCTS[visible[index]], major=9, minor=0, multi_processor_count=132
    )
    torch.cuda.manual_seed = torch.default_generator.manual_seed
    torch.use_deterministic_algorithms = deterministic
    torch.random.fork_rng = lambda devices: fork_rng(devices=[])

    class OnTheCpu(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            places = ["cpu" if isinstance(one, str) and one == "cuda" else one for one in args]
            options = {name: "cpu" if name == "device" else one for name, one in (kwargs or {}).items()}
            there = (kwargs or {}).get("device") == "cuda" or any(getattr(one, "on_gpu", False) for one in args)
            if there and getattr(function, "__name__", "") in MULTIPLY and in_tf32(torch):
                places = [*(rounded(torch, one) for one in places[:2]), *places[2:]]
            given = function(*places, **options)
            if there and isinstance(given, torch.Tensor):
                given.on_gpu = True
            if wrong and function is torch.rsqrt and given.dtype == torch.float32 and once.is_file():
                once.unlink()
                given[5:7] = (given[5:7].view(torch.int32) ^ 1 << int(os.environ["BIT"])).view(torch.float32)
            return given

    OnTheCpu().__enter__()


def in_tf32(torch: Any) -> bool:
    asked = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return os.environ.get("NVIDIA_TF32_OVERRIDE", "1" if asked else "0") == "1"


def rounded(torch: Any, one: Any) -> Any:
    """A tensor whose numbers are the nearest that TF32 has, ties to even; its gradient is that of the tensor."""
    if not isinstance(one, torch.Tensor) or one.dtype != torch.float32:
        return one
    bits = one.detach().view(torch.int32)
    near = ((bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF).view(torch.float32)
    return one + (near - one.detach())  # exact: the difference is of the 13 bits that are left out


sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
