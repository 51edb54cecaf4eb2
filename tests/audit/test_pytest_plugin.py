"""The pytest plugin, in runs of pytest of their own, against a real baseline of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit.cli import main

TESTS = "def test_passes():\n    pass\n"

# The entry point loads the plugin where audit is installed with it; here it is named, so that it is loaded once.
PYTEST = [sys.executable, "-m", "pytest", "-p", "audit.pytest_plugin", "-p", "no:cacheprovider"]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of this Python on this machine."""
    folder = tmp_path_factory.mktemp("baseline")
    report, made = folder / "here.json", folder / "base.json"
    python = ["--python", sys.executable]
    assert main(["run", "--job", "operators", "--repeat", "1", "--quiet", *python, "-o", str(report)]) == 0
    assert main(["baseline", str(report), "-o", str(made), "--quiet"]) == 0
    return made


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [*PYTEST, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_verdict_stands_in_the_header(baseline: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--audit-baseline", str(baseline), "--audit-fail")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\naudit check passed" in done.stdout


def test_drift_is_said_and_fails_only_if_asked(baseline: Path, tmp_path: Path) -> None:
    said = run(tmp_path, "--audit-baseline", str(baseline), OPENBLAS_NUM_THREADS="1")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "\naudit check FAILED (1 error): results-changed variables.OPENBLAS_NUM_THREADS" in said.stdout
    failed = run(tmp_path, "--audit-baseline", str(baseline), "--audit-fail", OPENBLAS_NUM_THREADS="1")
    assert failed.returncode == pytest.ExitCode.TESTS_FAILED
    assert "= audit check =" in failed.stdout
    assert "1 passed" in failed.stdout
    assert "unset OPENBLAS_NUM_THREADS" in failed.stdout


def test_a_module_of_the_tests_is_not_taken_for_audit(baseline: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('wrong numpy')\n")
    done = run(tmp_path, "--audit-baseline", str(baseline))
    assert "\naudit check passed" in done.stdout


def test_what_cannot_be_checked_is_said_and_refused_if_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "--audit-baseline", "none.json")
    assert done.returncode == 0
    assert "audit check: not done: " in done.stdout
    assert "none.json" in done.stdout
    done = run(tmp_path, "--audit-baseline", "none.json", "--audit-fail")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    done = run(tmp_path, "--audit-fail")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--audit-fail needs --audit-baseline FILE" in done.stderr


def test_a_run_without_the_option_loads_nothing_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    assert not {'msgspec', 'reports', 'probes', 'numpy', 'audit.cli'} & set(sys.modules)\n"
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audit" not in done.stdout.replace(str(tmp_path), "").replace("plugins: ", "")
