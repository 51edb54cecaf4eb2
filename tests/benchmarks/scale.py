"""Time and memory of `audit diff` and `audit fleet report` over so many reports: `python3 develop.py scale [N ...]`.

Full reports of 1.9 MB are written first (10,000 take 19 GB). Memory is the sum of the proportional set sizes of the
command and its reading processes, sampled. The plot goes to docs/scale.svg.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from fixtures import many  # noqa: E402

SIZES = (100, 300, 1000, 3000, 10000)
LIMITS = {1000: (8.0, 500.0), 10000: (60.0, 1000.0)}
"""Reports: seconds and megabytes in which they must be compared on two CPUs."""


COMMANDS = {"diff": "#0072b2", "fleet report": "#009e73"}
"""What is measured, and its colour."""


class Point(NamedTuple):
    command: str
    reports: int
    seconds: float
    megabytes: float


def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, points = Path(name) / "nodes", []
        for size in sorted(sizes):
            for done in many.write(folder, size):
                if done % 500 == 0:
                    print(f"\r{done} reports written", end="", file=sys.stderr)
            limit = LIMITS.get(size)
            asked = f"   asked: {limit[0]:.0f} s, {limit[1]:.0f} MB" if limit else ""
            for command in COMMANDS:
                point = measure(command, folder, size)
                points.append(point)
                taken = f"{point.seconds:6.2f} s   {point.megabytes:5.0f} MB{asked}"
                print(f"\r{size:6,} reports   {command:12}   {taken}", flush=True)
    for command in COMMANDS:
        pairs = [(p.reports, p.seconds) for p in points if p.command == command]
        print(f"{command}: time grows as N to the {slope(pairs):.2f}")
    (ROOT / "docs" / "scale.svg").write_text(plot(points), "utf-8")


def measure(command: str, folder: Path, size: int) -> Point:
    began, peak = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-m", "audit", *command.split(), str(folder), "--quiet"], cwd=ROOT)
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    assert process.returncode == 1, "a broken node was not found"
    return Point(command, size, seconds, peak / 1e6)


def _memory(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        pass
    return total


def slope(pairs: list[tuple[int, float]]) -> float:
    """The exponent of the power law through the pairs, by least squares over their logarithms."""
    x, y = [math.log(n) for n, _ in pairs], [math.log(value) for _, value in pairs]
    middle, level = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - middle) ** 2 for one in x)
    return sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / spread if spread else 1.0


def plot(points: list[Point]) -> str:
    """Two panels over the number of reports, all axes logarithmic, with what was asked as rings."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 300" font-family="sans-serif" font-size="12">',
        "<title>Time and memory of audit diff and audit fleet report over the number of reports</title>",
        '<rect width="760" height="300" fill="white"/>',
    ]
    time_points = {name: [(p.reports, p.seconds) for p in points if p.command == name] for name in COMMANDS}
    memory_points = {name: [(p.reports, p.megabytes) for p in points if p.command == name] for name in COMMANDS}
    parts += _panel(60, "seconds", time_points, [(n, limit[0]) for n, limit in LIMITS.items()])
    parts += _panel(440, "megabytes", memory_points, [(n, limit[1]) for n, limit in LIMITS.items()])
    parts += [
        f'<text x="{60 + 110 * at}" y="292" fill="{color}">audit {name}</text>'
        for at, (name, color) in enumerate(COMMANDS.items())
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    left: int, title: str, curves: dict[str, list[tuple[int, float]]], asked: list[tuple[int, float]]
) -> list[str]:
    points = [point for curve in curves.values() for point in curve]
    values = [value for _, value in (*points, *asked)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = 2, math.ceil(math.log10(max(n for n, _ in points)))

    def place(n: float, value: float) -> tuple[float, float]:
        x = left + 280 * (math.log10(n) - first) / max(1, last - first)
        return x, 250 - 200 * (math.log10(value) - low) / max(1, high - low)

    parts = [f'<text x="{left}" y="30" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        _, y = place(100, 10**power)
        parts.append(f'<line x1="{left}" y1="{y:.0f}" x2="{left + 280}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{10**power:g}</text>')
    for power in range(first, last + 1):
        x, _ = place(10**power, 10**low)
        parts.append(f'<text x="{x:.0f}" y="270" text-anchor="middle">{10**power:,} reports</text>')
    for name, curve in curves.items():
        color = COMMANDS[name]
        line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for n, value in curve:
            x, y = place(n, value)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>')
    for n, value in curve:  # the curves lie close together: only the last has numbers
        x, y = place(n, value)
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle" fill="{color}">{value:.3g}</text>')
    for n, value in asked:
        x, y = place(n, value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="#d55e00" stroke-width="2"/>')
    return [*parts, f'<text x="{left + 60}" y="30" fill="#d55e00">rings: what was asked</text>']


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or list(SIZES))
