"""OpenBLAS since 0.3.34 divides its sums for some processors, whatever code path it takes (numpy's since 2.5).

They are AMD's Zen 4 and 5. On any other this cannot be seen, and these tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_machines import audit, qemu

from audit.causes import settings
from audit.inputs import one
from fixtures import environments

pytestmark = pytest.mark.fresh


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter with such a numpy."""
    found = sorted(Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python"))
    if not found:
        pytest.skip("no Python 3.12 here, for which there is such a numpy")
    return environments.numpy("2.5.5", str(found[-1]))


@pytest.fixture(scope="module")
def here(python: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of this machine as it is."""
    path = str(tmp_path_factory.mktemp("here") / "here.json")
    audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "--label", "here", "-o", path, "--python", python)
    if not settings.has_blocks_of_its_own(one(path)[0]):
        pytest.skip("OpenBLAS has no blocks of its own for this processor")
    return path


def test_the_cache_that_openblas_was_told_is_named_and_proven(python: str, here: str, tmp_path: Path) -> None:
    there = str(tmp_path / "there.json")
    audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "-o", there, "--via", "env OPENBLAS_L2_SIZE=512",
          "--label", "there", "--python", python)  # fmt: skip
    found = json.loads(audit("diff", here, there, "--format", "json", status=1).stdout)
    (cause,) = found["causes"]
    assert (cause["root"], cause["components"]) == ("variables.OPENBLAS_L2_SIZE", ["blas"])
    assert "blas.kernel_blocks" in cause["facts"]
    tree = reproduced(there, python, tmp_path)
    assert tree["settings"] == {"OPENBLAS_L2_SIZE": "512"}


@qemu
@pytest.mark.emulated
@pytest.mark.usefixtures("here")
def test_an_older_code_path_alone_would_end_the_process(python: str, tmp_path: Path) -> None:
    """So it is proven together with the cache that keeps its own blocks."""
    there = str(tmp_path / "haswell.json")
    audit(
        "run",
        "--quiet",
        "--job",
        "numpy",
        "--repeat",
        "1",
        "-o",
        there,
        "--via",
        "qemu-x86_64-static -cpu Haswell",
        "--label",
        "haswell",
        "--python",
        python,
        status=3,
    )  # the emulator sorts wrongly
    tree = reproduced(there, python, tmp_path)
    assert tree["settings"].keys() >= {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
    assert tree["settings"]["OPENBLAS_L2_SIZE"] == "512"


def reproduced(there: str, python: str, folder: Path) -> dict[str, Any]:
    saved = str(folder / "proof.json")
    audit("reproduce", there, "--quiet", "--python", python, "--save", saved)
    tree: dict[str, Any] = json.loads(Path(saved).read_text())
    assert tree["reproduced"] is True
    assert set(tree["necessary"]) == set(tree["settings"])
    return tree
