"""How fast tensors are digested, beside copies of them and BLAKE2b, in one run: `python3 tests/benchmarks/digest.py`.

GB/s of the tensors' bytes, the best of many calls of one process, for each number of threads. A fresh copy (`clone`)
also pays for its new memory, which `copy_` into the same memory does not. Timings are never assertions.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

SECONDS = 0.5
"""How long each thing is called again and again."""


def fastest(function: Callable[[], Any]) -> float:
    function()
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


def measure() -> None:
    import torch

    from probes.device_digest import digests, digests_numpy

    encoder = torch.nn.TransformerEncoderLayer(320, 8, 1280, batch_first=True)
    transformer = torch.nn.TransformerEncoder(encoder, 8, enable_nested_tensor=False)
    convolutions = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.Conv2d(32, 64, 3), torch.nn.BatchNorm2d(64)),
        *(torch.nn.Conv2d(64, 128, 3), torch.nn.BatchNorm2d(128), torch.nn.Linear(128, 10)),
    )
    cases = {
        "one of 40 MB": [torch.randn(10_000_000)],
        "a transformer": list(transformer.parameters()),
        "a small CNN": list(convolutions.parameters()),
    }
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        for name, made in cases.items():
            tensors = [tensor.detach() for tensor in made]
            space = [torch.empty_like(tensor) for tensor in tensors]
            size = sum(tensor.nbytes for tensor in tensors)

            def copied(tensors: Any = tensors, space: Any = space) -> None:
                for one, other in zip(space, tensors, strict=True):
                    one.copy_(other)

            timed = {
                "digests": lambda tensors=tensors: digests(tensors),
                "digests_numpy": lambda tensors=tensors: digests_numpy([tensor.numpy() for tensor in tensors]),
                "copy_": copied,
                "clone": lambda tensors=tensors: [tensor.clone() for tensor in tensors],
                "BLAKE2b": lambda tensors=tensors: [hashlib.blake2b(tensor.numpy()).digest() for tensor in tensors],
            }
            print(f"{name}: {len(tensors)} tensors, {size / 1e6:.1f} MB, {threads} threads")
            for what, function in timed.items():
                seconds = fastest(function)
                print(f"    {what:14} {size / seconds / 1e9:6.1f} GB/s {1e6 * seconds / len(tensors):9.1f} µs a tensor")


if __name__ == "__main__":
    from fixtures.environments import frameworks

    if "torch" in sys.argv:
        measure()
    else:
        os.execv(frameworks(), [frameworks(), __file__, "torch"])
