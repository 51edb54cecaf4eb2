"""What tests need of the machine, and golden files: whole outputs, committed in `golden` beside the tests and compared
whole. `pytest --update-golden` writes them anew; then read the difference."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probes.environment.variables import FORMS

if TYPE_CHECKING:
    from docker import DockerClient

RELEASES = ("bullseye", "bookworm", "trixie")
"""Debian's, each with an image audit-RELEASE that `.ci/run` makes."""


# A shell's `&` and `nohup` start what runs the tests with these ignored; audit would rightly respect that, and the
# tests of interruptions would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The machine's owner may have pinned what a library chooses; tests see what the machine chooses by itself.
for _name in FORMS:
    if _name.startswith(("ATEN_", "BLIS_", "DNNL_", "MKL_", "NPY_", "ONEDNN_", "OPENBLAS_")):
        os.environ.pop(_name, None)


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


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], None]:
    """A function for what the machine has not got: it skips the test, or fails it where AUDIT_REQUIRE_ENGINE is set,
    as on the machine that must have it."""
    return pytest.fail if os.environ.get("AUDIT_REQUIRE_ENGINE") else pytest.skip


@pytest.fixture(scope="session")
def engine(lacking: Callable[[str], None]) -> Iterator[DockerClient]:
    """A client of the engine that the environment names, which has the images of RELEASES."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py forgets a socket that could not be connected
        found = _engine()
        gc.collect()
    if isinstance(found, str):
        lacking(found)
    else:
        with contextlib.closing(found):
            yield found


def _engine() -> DockerClient | str:
    """A client, or why there is none."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        client = docker.from_env()
        for release in RELEASES:
            client.images.get(f"audit-{release}")
        return client
    except ImageNotFound as error:
        client.close()
        return f"the engine lacks an image that .ci/run makes: {error.explanation}"
    except (DockerException, OSError) as error:
        return f"no container engine answers: {str(error)[:200]}"
