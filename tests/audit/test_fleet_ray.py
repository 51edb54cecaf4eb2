"""`audit fleet ray` on a real Ray cluster of three nodes, which are processes of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import environments
from reports import codec
from tests.ray_cluster import NAMES, ODD

pytestmark = pytest.mark.ray

CLUSTER = Path(__file__).parent.parent / "ray_cluster.py"


@pytest.fixture(scope="module")
def python() -> str:
    return environments.ray()


@pytest.fixture(scope="module")
def address(python: str) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="ray-")  # a short name: sockets are in it
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    cluster = subprocess.Popen(
        [python, str(CLUSTER)],
        env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert cluster.stdout
    try:
        yield next(line.strip() for line in cluster.stdout if line.startswith("127.") or line[0].isdigit())
    finally:
        cluster.communicate(timeout=60)
        shutil.rmtree(folder)


class Fleet:
    def __init__(self, python: str, address: str, folder: Path) -> None:
        self.python = python
        self.address = address
        self.folder = folder
        self.out = folder / "nodes"

    def script(self, **of: str) -> str:
        """A Python that does something else on the nodes named, before or instead of being the interpreter."""
        cases = "".join(f"{name}) {what} ;;\n" for name, what in of.items())
        path = self.folder / "python3"
        path.write_text(f'#!/bin/sh\ncase "$NODE" in\n{cases}esac\nexec "{self.python}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    def command(self, *options: str) -> list[str]:
        audit = [sys.executable, "-m", "audit", "fleet", "ray", "-o", str(self.out), "--address", self.address]
        return [*audit, "--python", self.python, *options]

    def run(self, *options: str) -> Any:
        return subprocess.run(self.command(*options), capture_output=True, text=True, timeout=600, check=False)

    def reports(self) -> list[str]:
        paths = [path for path in sorted(self.out.glob("*.json")) if path.name != "failed.json"]
        return [codec.read(str(path))[0].label for path in paths]

    @property
    def failed(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.out / "failed.json").read_text())
        return found


@pytest.fixture
def fleet(python: str, address: str, tmp_path: Path) -> Fleet:
    return Fleet(python, address, tmp_path)


FACTS = ("--job", "none", "--retest", "0")


def left(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode == 0


def test_one_node_whose_kernel_is_another_is_named_with_the_root(fleet: Fleet) -> None:
    done = fleet.run("--job", "operators", "--repeat", "1", "--retest", "1", "--format", "json")
    assert done.returncode == 1, done.stderr
    (one,) = json.loads(done.stdout)["classes"]
    (outlier,) = one["outliers"]
    assert outlier["labels"] == [ODD]
    assert outlier["verdict"] == "confirmed"
    assert outlier["root"] == "variables.OPENBLAS_CORETYPE"
    assert fleet.reports() == list(NAMES)
    (target,) = codec.read(str(fleet.out / f"{NAMES[0]}.json"))[0].targets
    assert (target.via, target.chosen) == ("ray", "that of Ray's workers")
    assert target.facts["variables.OMP_NUM_THREADS"].value is None  # which Ray gives to a task
    assert not left("audit.fleet.ray")  # the driver's source is its argument


def test_what_befalls_a_node_costs_its_own_report(fleet: Fleet) -> None:
    python = fleet.script(r1="sleep 1236", r2="kill -9 $$")
    done = fleet.run("--node-python", python, "--limit", "3", "--wait", "9", *FACTS)
    assert done.returncode == 3, done.stderr
    assert fleet.reports() == ["r3"]
    assert fleet.failed == {"r1": "no progress for 8 s", "r2": "SIGKILL"}
    assert not left("sleep 1236")


def test_a_worker_that_dies_takes_what_it_started_with_it(fleet: Fleet) -> None:
    python = fleet.script(r1="exit", r2="( sleep 1; kill -9 $PPID ) & ", r3="exit")
    done = fleet.run("--node-python", python, "--job", "python", "--retest", "0")
    assert done.returncode == 3, done.stderr
    assert fleet.failed == {"r1": "exit status 0", "r2": "Ray's worker there died", "r3": "exit status 0"}
    assert "r2: Ray's worker there died\n" in done.stderr
    time.sleep(2)  # until it tells what it is at, and cannot
    assert not left(f"^{fleet.python} -c")


def test_a_node_without_a_python(fleet: Fleet) -> None:
    done = fleet.run("--node-python", "/no/where/python3", *FACTS)
    assert done.returncode == 3
    assert fleet.failed == dict.fromkeys(NAMES, "it has no python3")


def test_ctrl_c_ends_the_tasks_and_keeps_what_arrived(fleet: Fleet) -> None:
    python = fleet.script(r1="sleep 1237", r2="sleep 1237")
    process = subprocess.Popen(
        fleet.command("--node-python", python, *FACTS), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (fleet.out / "r3.json").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (3, ""), errors
    assert "interrupted; 1 of 3 reports kept" in errors
    assert not left("sleep 1237")
    assert not left("audit.fleet.ray")


def test_an_interpreter_without_ray_and_a_cluster_that_is_not_there(fleet: Fleet, python: str) -> None:
    fleet.python = sys.executable
    done = fleet.run(*FACTS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"audit fleet: {sys.executable}: it has no ray; name the interpreter of your Ray cluster with --python\n"
    )
    fleet.python, fleet.address = python, "127.0.0.1:1"
    done = fleet.run(*FACTS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "audit fleet: no Ray cluster answers at 127.0.0.1:1: Connection refused\n"
    assert not fleet.out.exists()


def test_a_dry_run_shows_the_tasks(fleet: Fleet) -> None:
    done = fleet.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(NAMES)
    assert not fleet.out.exists()
