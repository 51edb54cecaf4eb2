"""`audit screen` as the health check of a real Slurm: the node with a wrong core, and only it, is drained."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import slurm as cluster
from tests.wrong_core import WRONG, WrongCore, missing

ROOT = Path(__file__).parent.parent.parent
CHECKED = "HealthCheckProgram={program}\nHealthCheckInterval=10\nHealthCheckNodeState=ANY\n"
"""Besides what every cluster of the tests has."""

pytestmark = pytest.mark.slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: Callable[[str], None]) -> Iterator[cluster.Slurm]:
    """Three nodes; to those of n2 one core is wrong: A TEST DOUBLE."""
    why = cluster.missing() or missing()
    if why:
        lacking(why)
    folder = Path(tempfile.mkdtemp(prefix="audit-slurm-"))
    folder.chmod(0o755)  # munge is another user
    program = folder / "health.sh"
    options = f"--python {sys.executable} --rounds 1 --job operators"
    program.write_text(
        f"#!/bin/sh\n[ -e {folder}/begin ] || exit 0\n"
        f"export PATH={cluster._path()} PYTHONPATH={ROOT} SLURM_CONF={folder}/slurm.conf\n"
        f"export AUDIT='{sys.executable} -m audit' AUDIT_OPTIONS='{options}'\n"
        f'[ "$SLURMD_NODENAME" = n2 ] && export {WrongCore(tmp_path)("exp", FAULT="flip", BIT=3)}\n'
        f"exec {ROOT}/recipes/slurm/screen.sh\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(cluster, "CONFIGURATION", cluster.CONFIGURATION + CHECKED.format(program=program))
    try:
        with cluster.Slurm(folder) as one:
            (folder / "begin").touch()  # before, no node would ever be idle
            yield one
    finally:
        shutil.rmtree(folder)


def test_a_node_with_a_wrong_core_is_drained(slurm: cluster.Slurm) -> None:
    def reasons() -> str:
        return slurm.ask("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %t %E")

    deadline = time.monotonic() + 90
    while "audit screen" not in reasons() and time.monotonic() < deadline:
        time.sleep(0.5)
    states = {line.split()[0]: line.split(maxsplit=2)[1:] for line in reasons().splitlines()}
    state, reason = states.pop("n2")
    assert state.startswith("drain")
    assert re.fullmatch(
        rf"audit screen WRONG core {WRONG}: \w+\.exp xor 0x8 \(\+15\), again in 2 of 2 re-tests", reason
    )
    assert {node: reason for node, (_, reason) in states.items()} == {"n1": "none", "n3": "none"}


def test_the_recipe_is_a_script_that_shells_accept() -> None:
    subprocess.run(["sh", "-n", str(ROOT / "recipes" / "slurm" / "screen.sh")], check=True)
