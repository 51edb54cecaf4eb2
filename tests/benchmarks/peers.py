"""How long the auditor takes, beside its peers, in one run: `python3 develop.py benchmark`.

Prints medians over fresh processes. Timings are never assertions; README quotes them. The peers come from the package
index into an environment of their own, `.venv/peers`, with numpy and enough other distributions to make 20.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from audit.targets import bundle
from audit.targets.prefix import PrefixTarget

ROOT = Path(__file__).parent.parent.parent
PEERS = ROOT / ".venv" / "peers"
RUNS = 9

FILLERS = [
    *("six", "toml", "attrs", "idna", "tabulate", "wheel", "click", "colorama", "iniconfig", "packaging"),
    *("pluggy", "pyyaml", "zipp", "tqdm", "certifi", "filelock", "fsspec"),
]
MORE = [
    *("cachetools", "charset-normalizer", "decorator", "distlib", "docutils", "isodate", "jmespath", "markdown"),
    *("networkx", "ply", "pyasn1", "pycparser", "pyparsing", "pytz", "soupsieve", "texttable", "tomlkit", "toolz"),
    *("urllib3", "webencodings"),
]

WATERMARK = (
    "import numpy, watermark\nprint(watermark.watermark(python=True, machine=True, packages='numpy', conda=True))"
)
SESSION = (
    "import numpy, session_info2\nprint(session_info2.session_info(os=True, cpu=True, gpu=True, dependencies=True))"
)


def median(command: Sequence[str], stdin: bytes = b"", runs: int = RUNS) -> tuple[float, bytes]:
    """Median seconds of fresh processes after one that is not counted, and the last output."""
    seconds = []
    for run in range(runs + 1):
        began = time.perf_counter()
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if run:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), done.stdout


def environment(folder: Path, packages: list[str]) -> str:
    """The interpreter of an environment with these packages, made on first use."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, *packages], check=True)
        (folder / "complete").touch()
    return str(python)


def distributions(python: str) -> int:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], stdout=subprocess.PIPE, check=True).stdout
    return len(json.loads(listed))


def facts(python: str) -> tuple[float, int]:
    """Seconds that all facts take besides the interpreter's start and numpy's import, and how many have a value."""
    script = bundle.script("audit-benchmark", {"work": "facts", "machine": True})
    whole, output = median([python, "-c", bundle.LOADER], script)
    bare, _ = median([python, "-c", "import numpy"])
    count = 0
    for line in output.splitlines():
        if line.startswith(b"audit-benchmark "):
            record = json.loads(line.split(b" ", 1)[1])
            for scope in ("machine", "effect"):
                count += sum("status" not in fact for fact in record.get(scope, {}).values())
    return whole - bare, count


def battery(python: str) -> float:
    """Seconds of one run of the battery besides imports, as the child that ran it measured them."""
    target = PrefixTarget([], python)
    return statistics.median([list(target.launch({"work": "operators"}))[-1]["end"] for _ in range(RUNS)])


def row(what: str, seconds: float, note: str = "") -> None:
    print(f"{what:<58} {seconds:>7.3f} s   {note}".rstrip(), flush=True)


def main() -> int:
    python = environment(PEERS / "few", ["numpy", *FILLERS])
    more = environment(PEERS / "many", ["numpy", *FILLERS, *MORE])
    peers = environment(PEERS / "peers", ["numpy", "watermark", "session-info2"])
    few, many = distributions(python), distributions(more)
    print(f"medians of {RUNS} fresh processes on {os.cpu_count()} CPUs\n")

    seconds, count = facts(python)
    row(f"all facts, {few} distributions (besides start and numpy)", seconds, f"{count} facts")
    again, _ = facts(more)
    row(f"  for each further distribution ({few} to {many})", (again - seconds) / (many - few))
    row("operator battery, one run (besides imports)", battery(python))
    audit = [sys.executable, "-m", "audit"]
    with tempfile.TemporaryDirectory() as folder:
        a, b = f"{folder}/a.json", f"{folder}/b.json"
        run = [*audit, "run", "--quiet", "--python", python, "--job", "numpy", "-o"]
        row("audit run --job numpy (facts, battery, job, all twice)", median([*run, a], runs=5)[0])
        everything = [*audit, "run", "--quiet", "--python", python]
        subprocess.run([*everything, "-o", a], check=True)
        subprocess.run([*everything, "-o", b, "--via", "env OPENBLAS_CORETYPE=Haswell"], check=True)
        row("audit diff of two full reports", median([*audit, "diff", a, b])[0])
        row("audit diff of two equal full reports", median([*audit, "diff", a, a])[0])
    row("audit --help", median([*audit, "--help"])[0])

    print("\npeers, whole processes")
    row("watermark", *_peer([peers, "-c", WATERMARK]))
    row("session_info2", *_peer([peers, "-c", SESSION]))
    try:
        torch = environment(PEERS / "torch", ["numpy", "torch==2.13.0"])
    except subprocess.CalledProcessError:
        print("torch collect_env: torch cannot be had here")
        return 0
    row("torch.utils.collect_env", *_peer([torch, "-m", "torch.utils.collect_env"]))
    return 0


def _peer(command: Sequence[str]) -> tuple[float, str]:
    seconds, output = median(command, runs=5)
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return seconds, f"{len(lines)} lines"


if __name__ == "__main__":
    sys.exit(main())
