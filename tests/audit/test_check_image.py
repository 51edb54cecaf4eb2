"""`audit check --container`: a baseline of one image holds that image, and names what another one is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures import record

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

HELD = "audit-bookworm"


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(record.ROOT)},
    )


def audit(folder: Path, *arguments: str, status: int) -> str:
    done = typed(folder, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def check(folder: Path, *arguments: str, status: int) -> dict[str, Any]:
    said = audit(folder, "check", "--baseline", "held.json", "--format", "json", *arguments, status=status)
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(scope="module")
def folder(engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With held.json, made of a report in which the image stands beside the host."""
    folder = tmp_path_factory.mktemp("held")
    audit(folder, "run", "--quiet", "--python", sys.executable, "--job", "operators", "--repeat", "1",
          "--container", HELD, "-o", "boxed.json", status=0)  # fmt: skip
    audit(folder, "baseline", f"boxed.json#{HELD}", "-o", "held.json", status=0)
    return folder


def test_the_same_image_passes(folder: Path, engine: DockerClient) -> None:
    found = check(folder, "--container", HELD, status=0)
    assert (found["verdict"], found["findings"], found["missing"]) == ("pass", [], {})
    assert found["held"][0] == found["held"][1] > 100
    assert found["operators"][0] == found["operators"][1] > 600
    assert (found["report"]["target"], found["notes"]) == (HELD, [])
    assert engine.api.containers(all=True, filters={"label": "reproducibility-auditor"}) == []


def test_without_operators_it_passes_and_says_what_was_not_run(folder: Path) -> None:
    found = check(folder, "--container", HELD, "--job", "none", status=0)
    assert found["operators"] == [0, 0]
    (note,) = found["notes"]
    assert note.endswith(" operators are held and were not run: without --job none they are")


def test_another_image_is_one_finding(folder: Path) -> None:
    found = check(folder, "--container", "audit-trixie", status=1)
    (one,) = (one for one in found["findings"] if one["severity"] == "error")
    assert (one["rule"], one["fact"]) == ("results-changed", "image.layers")
    assert one["because"].startswith("another image, os.release debian 12 -> debian 13; so blas.version 3.11.0 -> ")
    assert set(one["components"]) == {"blas", "libm", "numpy", "python"}
    assert len(one["operators"]) > 50
    assert {"os.release", "libc.version", "packages.numpy.version"} <= {change["fact"] for change in one["changes"]}
    assert one["accept"] == "audit baseline --container audit-trixie --update held.json"
    page = audit(folder, "check", "--baseline", "held.json", "--container", "audit-trixie", status=1)
    assert page.startswith("FAILED: ")
    assert max(map(len, page.splitlines()[:-1])) <= 100


def test_what_is_accepted_passes_afterwards(folder: Path, tmp_path: Path) -> None:
    held = (folder / "held.json").read_bytes()
    (tmp_path / "held.json").write_bytes(held)
    said = audit(tmp_path, "baseline", "--container", HELD, "--update", "held.json", status=0)
    assert said == "held.json: nothing changed\n"
    assert (tmp_path / "held.json").read_bytes() == held
    audit(tmp_path, "baseline", "--container", "audit-trixie", "--update", "held.json", status=0)
    assert check(tmp_path, "--container", "audit-trixie", status=0)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--container", "no-such-image"], "no image no-such-image"),
        (["--container", HELD, "--container", "audit-trixie"], "one image is checked at a time"),
        (["boxed.json", "--container", HELD], "a report and --container: check the one or the other"),
    ],
)
def test_what_cannot_be_checked_is_one_line(arguments: list[str], words: str, folder: Path) -> None:
    done = typed(folder, "check", "--baseline", "held.json", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
