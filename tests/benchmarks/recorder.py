"""What recording costs a training step, beside DebugMode with tensor hashes: `python3 tests/benchmarks/recorder.py`.

Each way of running is a fresh process of the environment with the frameworks; the ways take turns, and of each the best
process counts, by its median step. Timings are never assertions; run it on a quiet machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = 3
STEPS = {"transformer": 8, "cnn": 40}
FIRST = {"transformer": 2, "cnn": 10}
"""Steps before the ones that count."""

WAYS = ("alone", "steps", "operators", "DebugMode")


def train(model_name: str, debug: bool) -> None:
    """The audited program: it knows nothing of any recorder. Prints the seconds of its steps."""
    import torch

    torch.manual_seed(0)
    if model_name == "transformer":
        layer = torch.nn.TransformerEncoderLayer(320, 8, 1280, dropout=0.1, batch_first=True)
        parts = [torch.nn.Embedding(1000, 320), torch.nn.TransformerEncoder(layer, 8), torch.nn.Linear(320, 1000)]
        x, y = torch.randint(0, 1000, (16, 128)), torch.randint(0, 1000, (16, 128))
    else:
        parts = []
        for inner, outer in ((3, 32), (32, 64), (64, 128)):
            parts += [torch.nn.Conv2d(inner, outer, 3, padding=1), torch.nn.BatchNorm2d(outer), torch.nn.ReLU()]
            parts.append(torch.nn.MaxPool2d(2))
        parts += [torch.nn.Flatten(), torch.nn.Linear(2048, 10)]
        x, y = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    model = torch.nn.Sequential(*parts)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        output = model(x)
        torch.nn.functional.cross_entropy(output.flatten(0, -2), y.flatten()).backward()
        optimizer.step()

    seconds = []
    for _ in range(STEPS[model_name]):
        began = time.perf_counter()
        if debug:
            from torch.utils._debug_mode import DebugMode

            with DebugMode(), DebugMode.log_tensor_hashes(hash_fn="norm"):
                step()
        else:
            step()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


def measure(model: str, way: str) -> tuple[float, float]:
    """Seconds of the median step of one process, and megabytes of its recording."""
    from fixtures import environments
    from probes.program import collect, lay

    with tempfile.TemporaryDirectory() as folder:
        variables = {}
        if way in ("steps", "operators"):
            window = (FIRST[model], STEPS[model]) if way == "operators" else None
            variables = lay.lay(folder, _sources(), lay.Wanted(None, way, window))
        words = [environments.frameworks(), __file__, "train", model, str(int(way == "DebugMode"))]
        done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        seconds = json.loads(done.stdout.splitlines()[-1])[FIRST[model] :]
        found = collect.collect(folder) if variables else None
        if found and (found.notes or not found.jobs):
            raise SystemExit(f"it was not recorded: {found.notes}")
        return statistics.median(seconds), len(json.dumps(found.jobs)) / 1e6 if found else 0.0


def _sources() -> dict[str, str]:
    found = {}
    for path in (ROOT / "probes").rglob("*.py"):
        parts = ["probes", *path.relative_to(ROOT / "probes").with_suffix("").parts]
        found[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    return found


def main(models: list[str]) -> None:
    for model in models:
        best: dict[str, tuple[float, float]] = {}
        for _ in range(ROUNDS):
            for way in WAYS:
                best[way] = min(best.get(way, (float("inf"), 0.0)), measure(model, way))
        alone = best["alone"][0]
        print(f"{model}: a step takes {alone * 1e3:.1f} ms alone, on {os.cpu_count()} CPUs")
        for way in WAYS[1:]:
            taken, size = best[way]
            more = f"   {taken / alone:5.2f} times   {(taken / alone - 1) * 100:+6.1f}%"
            beside = f"   {taken / best['DebugMode'][0]:.2f} of DebugMode's" if way == "operators" else ""
            told = f"   {size:.2f} MB" if size else ""
            print(f"    {way:10} {taken * 1e3:8.1f} ms{more}{beside}{told}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(sys.argv[2], sys.argv[3] == "1")
    else:
        main(sys.argv[1:] or list(STEPS))
