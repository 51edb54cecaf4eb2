"""All set-up in one command: `python3 develop.py run` audits this machine, `python3 develop.py test` passes the tests.

Contract: the standard library only, and nothing on the machine but Python 3.10 or newer. It makes `.venv` beside this
file, installs the locked packages with their hashes, and then does what was asked. Commands after the first start at
once: the environment is made again only when the lock changed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")

COMMANDS = {
    "run": [["audit", "run"]],
    "test": [["pytest", "-n", "auto", "--dist", "loadfile"]],
    "format": [["ruff", "format", "."], ["ruff", "check", "--fix", "."]],
    "lint": [["ruff", "format", "--check", "."], ["ruff", "check", "."]],
    "types": [["mypy"]],
    "check": [["audit", "check", "--baseline", ".ci/audit-baseline.json", "--policy", ".ci/audit.toml"]],
    "benchmark": [["python", "tests/benchmarks/peers.py"]],
    "mutation": [["python", "tests/mutation/run.py"]],
    "scale": [["python", "tests/benchmarks/scale.py"]],
    "corpus": [["python", "-m", "fixtures.corpus"]],
    "lock": [],
}


def main(arguments: list[str]) -> int:
    """Set up, then run the named command with the further arguments; its exit status."""
    if sys.version_info < (3, 10):
        print("develop.py: needs Python 3.10 or newer; this is " + sys.version.split()[0], file=sys.stderr)
        return 2
    if not arguments or arguments[0] not in COMMANDS:
        print("usage: python3 develop.py " + "|".join(COMMANDS) + " [ARGUMENT ...]", file=sys.stderr)
        return 2
    name, *more = arguments
    set_up()
    if name == "lock":
        return lock()
    for command in COMMANDS[name]:
        status = subprocess.run([str(BIN / command[0]), *command[1:], *more], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


def set_up() -> None:
    """Make the environment, or make it again if the lock is another one. A half-made one is never kept."""
    stamp = VENV / "lock-digest"
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Setting up .venv (once; about a minute)", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    venv.create(VENV, with_pip=True)
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
    stamp.write_text(wanted)


def lock() -> int:
    """Write the lock anew: every package with its hashes, for every Python and platform, and no index address."""
    subprocess.run([str(BIN / "python"), "-m", "pip", "--quiet", "install", "uv"], check=True)
    command = [str(BIN / "uv"), "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"]
    options = ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--python-version", "3.10"]
    return subprocess.run([*command, *options, "--quiet", "-o", str(LOCK)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
