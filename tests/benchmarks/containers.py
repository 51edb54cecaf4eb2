"""What a container target costs besides the host's part, beside the engine's own command, in one run. Prints medians;
the ratios hold on a busy machine, where seconds do not. `DOCKER_HOST=... python tests/benchmarks/containers.py [IMAGE]`
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
    engine, alone, both = (statistics.median(one[name] for one in rounds) for name in commands)
    for name, value in zip(commands, (engine, alone, both), strict=True):
        print(f"{name:60} {value:6.3f} s")
    over = both - alone - engine
    print(f"{'the container target over docker run':60} {over:6.3f} s   {(both - alone) / engine:.2f} times")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "audit-bookworm")
