"""Golden files: whole outputs, committed in `golden` beside the tests and compared whole. `pytest --update-golden`
writes them anew; then read the difference."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; then read the diff")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function that compares a text with the golden file of that name."""
    update = request.config.getoption("--update-golden", default=False)

    def compare(name: str, text: str) -> None:
        file = request.path.parent / "golden" / name
        if update:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), f"{name} is not as committed; see --update-golden"

    return compare


@pytest.fixture
def interpreter() -> Callable[[str], str]:
    """A function that finds a Python of a version ("3.13", "3.8.18") under pyenv or on the path, or skips the test."""

    def find(version: str) -> str:
        installed = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python"))
        if installed:
            return str(installed[-1])
        named = shutil.which(f"python{version}")
        # A shim of pyenv's has the name and may still have no such version behind it.
        if named and subprocess.run([named, "-c", ""], capture_output=True, check=False).returncode == 0:
            return named
        pytest.skip(f"no Python {version} here")

    return find
