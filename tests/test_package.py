"""The wheel, and the environment that a new user makes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.fresh
def test_only_the_three_packages_reach_the_wheel(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"audit", "probes", "reports"}
    assert {"reports/catalogue.json", "reports/schema.json", "audit/cli.py", "probes/bootstrap.py"} <= set(names)
    pages = {f"reports/render/html/{name}" for name in ("page.html", "blocks.html", "page.css", "page.js")}
    assert {*pages, "reports/render/plot.css"} <= set(names)
    assert [name for name in names if name.endswith("LICENSE")]


def test_every_locked_package_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    packages = [line for line in lock.splitlines() if line and not line.startswith((" ", "#", "--"))]
    assert len(packages) > 20
    for block in lock.split("\n" + "\n"):
        assert "://" not in block
    for position, line in enumerate(lock.splitlines()):
        if line in packages:
            assert lock.splitlines()[position + 1].strip().startswith("--hash=sha256:"), line


def test_set_up_refuses_an_old_python(interpreter: object) -> None:
    assert callable(interpreter)
    old = interpreter("3.8")
    done = subprocess.run([old, str(ROOT / "develop.py"), "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs Python 3.10 or newer" in done.stderr
    assert "Traceback" not in done.stderr
