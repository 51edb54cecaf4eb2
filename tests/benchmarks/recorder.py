"""What recording costs a training step, beside DebugMode with tensor hashes: `python3 tests/benchmarks/recorder.py`.

Each way of running is a process of the environment with the frameworks. All of them live at once and take turns, step
by step, so what else the machine does in a minute falls on all alike: what counts is the median of the differences
between a step and that of the program alone in the same turn. Where a process lies in memory makes it faster or slower
for all its life, so all are started anew in ROUNDS, and the median of these is told. The program alone runs twice: its
difference from itself is what cannot be told apart here, and its mean is what others are held against. Timings are
never assertions; run it on a quiet machine.
"""

from __future__ import annotations

import contextlib
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

ROUNDS = 5
STEPS = {"transformer": 7, "cnn": 80}
FIRST = {"transformer": 2, "cnn": 20}
"""Steps of a round before the ones that count."""

PAUSE = 0.005
"""Seconds between two steps, in which the threads of the last one stop to wait for work."""

WAYS = ("alone", "again", "steps", "operators", "DebugMode", "DebugMode, inputs too")
"""DebugMode hashes what operators give, or also what they are given, without which it cannot tell where two runs part:
it says of no input which operator it is from."""


def train(model_name: str, way: str) -> None:
    """The audited program, which knows of no recorder: a step for every line that it reads. Prints the seconds."""
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

    for _ in sys.stdin:
        began = time.perf_counter()
        if way.startswith("DebugMode"):
            from torch.utils._debug_mode import DebugMode

            with DebugMode(), DebugMode.log_tensor_hashes(hash_fn="norm", hash_inputs=way != "DebugMode"):
                step()
        else:
            step()
        print(time.perf_counter() - began, flush=True)


class Running:
    """One way of running, alive."""

    def __init__(self, model: str, way: str, folder: str) -> None:
        from fixtures import environments
        from probes.program import lay

        variables = {}
        if way in ("steps", "operators"):
            window = (FIRST[model], STEPS[model]) if way == "operators" else None
            variables = lay.lay(folder, _sources(), lay.Wanted(None, way, window))
        self._recorded = folder if variables else None
        words = [environments.frameworks(), __file__, "train", model, way]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, env={**os.environ, **variables}, stdin=pipe, stdout=pipe, text=True)

    def step(self) -> float:
        """Its seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> float:
        """Megabytes of the recording."""
        from probes.program import collect

        self._process.communicate()
        if self._recorded is None:
            return 0.0
        found = collect.collect(self._recorded)
        if found.notes or not found.jobs:
            raise SystemExit(f"it was not recorded: {found.notes}")
        return len(json.dumps(found.jobs)) / 1e6


def _sources() -> dict[str, str]:
    found = {}
    for path in (ROOT / "probes").rglob("*.py"):
        parts = ["probes", *path.relative_to(ROOT / "probes").with_suffix("").parts]
        found[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    return found


def main(models: list[str]) -> None:
    for model in models:
        rounds, sizes = [], dict.fromkeys(WAYS, 0.0)
        for number in range(ROUNDS):
            print(f"{model}, round {number + 1} of {ROUNDS}", file=sys.stderr)
            taken, sizes = measured(model)
            rounds.append({way: seconds[FIRST[model] :] for way, seconds in taken.items()})
        tell(model, rounds, sizes)


def measured(model: str) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The seconds of all steps of one round, and the megabytes of its recordings."""
    with contextlib.ExitStack() as folders:
        running = {way: Running(model, way, folders.enter_context(tempfile.TemporaryDirectory())) for way in WAYS}
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(STEPS[model]):
            for way in WAYS:
                taken[way].append(running[way].step())
                time.sleep(PAUSE)
        return taken, {way: running[way].end() for way in WAYS}


def tell(model: str, rounds: list[dict[str, list[float]]], sizes: dict[str, float]) -> None:
    """Print what the ways cost, by the seconds of their steps."""
    step = statistics.median(seconds for taken in rounds for seconds in (*taken["alone"], *taken["again"]))
    more = {way: statistics.median(_more(taken, way) for taken in rounds) for way in WAYS[1:]}
    apart = max(abs(_more(taken, "again")) for taken in rounds)
    print(
        f"{model}: a step takes {step * 1e3:.1f} ms alone, on {os.cpu_count()} CPUs; apart by {apart * 1e3:.1f} at most"
    )
    for way in WAYS[1:]:
        beside = f"   {more[way] / more['DebugMode']:.2f} of DebugMode's" if way == "operators" else ""
        beside += f", {more[way] / more[WAYS[-1]]:.2f} with inputs" if way == "operators" else ""
        told = f"   {sizes[way]:.2f} MB" if sizes[way] else ""
        print(
            f"    {way:21} {more[way] * 1e3:+8.1f} ms a step {more[way] / step * 100:+7.1f}%{beside}{told}", flush=True
        )


def _more(taken: dict[str, list[float]], way: str) -> float:
    """How much longer a step takes than one of the program alone."""
    if way == "again":
        return _median_difference(taken[way], taken["alone"])
    usual = [(one + other) / 2 for one, other in zip(taken["alone"], taken["again"], strict=True)]
    return _median_difference(taken[way], usual)


def _median_difference(seconds: list[float], alone: list[float]) -> float:
    return statistics.median(one - other for one, other in zip(seconds, alone, strict=True))


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(sys.argv[2], sys.argv[3])
    else:
        main(sys.argv[1:] or list(STEPS))
