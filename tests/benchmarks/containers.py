"""What a container target costs beside the engine's own command: besides the host's part, and with it and with audit's
own start. Prints medians, and what came of the best of each; the ratios hold on a busy machine, where seconds do not.
`DOCKER_HOST=... python tests/benchmarks/containers.py [IMAGE]`
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 5


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return time.perf_counter() - began


def main(image: str) -> None:
    """Each round measures all three, so that what else the machine does falls on all of them."""
    with tempfile.TemporaryDirectory() as folder:
        audit = [sys.executable, "-m", "audit", "run", "--quiet", "--job", "none", "-o", f"{folder}/x.json"]
        commands = {
            "docker run --rm IMAGE true": ["docker", "run", "--rm", "--network", "none", image, "true"],
            "audit run --job none (the host alone)": audit,
            "audit run --job none --container IMAGE": [*audit, "--container", image],
        }
        rounds = [{name: seconds(command) for name, command in commands.items()} for _ in range(RUNS + 1)][1:]
    medians, best = ([pick(one[name] for one in rounds) for name in commands] for pick in (statistics.median, min))
    print(f"{'':60} {'median':>8} {'best':>8}")
    for name, *values in zip(commands, medians, best, strict=True):
        told(name, *values)
    (engine, alone, both), (engine_best, alone_best, both_best) = medians, best
    told("the container target over docker run", both - alone - engine, both_best - alone_best - engine_best)
    told("the whole run, host and all, over docker run", both - engine, both_best - engine_best)


def told(name: str, median: float, best: float) -> None:
    print(f"{name:60} {median:6.3f} s {best:6.3f} s")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "audit-bookworm")
