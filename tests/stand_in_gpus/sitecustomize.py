"""A STAND-IN FOR GPUS: where this is on PYTHONPATH, torch claims the GPUs of STAND_IN_GPUS ("H100,H100,T4"), and what
it is to compute on them it computes on the CPU. Of what GPU WRONG gives for rsqrt in single precision, bit BIT of two
elements is flipped: while there is a file ONCE, which it removes."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PRODUCTS = os.environ["STAND_IN_GPUS"].split(",")


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
    os.register_at_fork(before=os.abort)  # CUDA that has begun does not survive a fork
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(len(PRODUCTS)))))
    visible = [int(one) for one in named.split(",") if one]
    once = Path(os.environ.get("ONCE", ""))
    wrong = visible == [int(os.environ.get("WRONG", "-1"))]
    fork_rng = torch.random.fork_rng
    torch.version.cuda = "12.8"
    torch.cuda.is_available = lambda: bool(visible)
    torch.cuda.device_count = lambda: len(visible)
    torch.cuda.get_device_name = lambda index: PRODUCTS[visible[index]]
    torch.cuda.manual_seed = torch.default_generator.manual_seed
    torch.use_deterministic_algorithms = lambda mode: torch.set_deterministic_debug_mode(2)  # imports no compiler
    torch.random.fork_rng = lambda devices: fork_rng(devices=[])

    class OnTheCpu(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            places = ["cpu" if isinstance(one, str) and one == "cuda" else one for one in args]
            options = {name: "cpu" if name == "device" else one for name, one in (kwargs or {}).items()}
            given = function(*places, **options)
            if wrong and function is torch.rsqrt and given.dtype == torch.float32 and once.is_file():
                once.unlink()
                given[5:7] = (given[5:7].view(torch.int32) ^ 1 << int(os.environ["BIT"])).view(torch.float32)
            return given

    OnTheCpu().__enter__()


sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
