"""The GitHub Action and the documentation of CI: the scripts run as a runner runs them, and every command is one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit.cli import main, parser

ROOT = Path(__file__).parent.parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
CI = (ROOT / "docs" / "ci.md").read_text("utf-8")
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """What a runner sets, in front of an environment where this package is installed already."""
    tools = tmp_path / "temp" / "audit" / "bin"
    tools.mkdir(parents=True)
    here = Path(sys.executable).parent
    for name in ("audit", "python"):
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(here / name))} "$@"\n')
        (tools / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    made = {
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(work),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    return {**os.environ, **made}


def check(runner: dict[str, str], **inputs: str) -> subprocess.CompletedProcess[str]:
    """The step that checks, with inputs over their defaults."""
    step = STEPS["Check"]
    given = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
    given.update(inputs)
    variables = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: given[found[1]], value)
        for name, value in step["env"].items()
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={**runner, **variables},
        cwd=runner["GITHUB_WORKSPACE"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_uses_no_other_action_no_secret_and_runs_no_text_of_an_input() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in STEPS.values():
        assert "uses" not in step
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
    assert "secrets." not in str(ACTION)
    assert "GITHUB_TOKEN" not in str(ACTION)
    assert set(ACTION["inputs"]) == set(re.findall(r"inputs\.(\w+)", str(STEPS["Check"]["env"])))


def test_the_action_says_drift_with_annotations_summary_and_status(runner: dict[str, str]) -> None:
    work = Path(runner["GITHUB_WORKSPACE"])
    report = str(work / "here.json")
    assert main(["run", "--job", "none", "--repeat", "1", "--quiet", "--python", sys.executable, "-o", report]) == 0
    assert main(["baseline", report, "-o", str(work / "audit-baseline.json"), "--quiet"]) == 0
    done = check(runner, python=sys.executable, args="--job none --report 'sarif=a b.sarif'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(runner["GITHUB_OUTPUT"]).read_text() == "status=0\n"
    drifted = check({**runner, "OPENBLAS_NUM_THREADS": "1"}, python=sys.executable, args="--job none")
    assert drifted.returncode == 1, drifted.stdout + drifted.stderr
    assert re.search(r"^::error file=audit-baseline.json,line=\d+,title=\S+ variables.OPENBLAS", drifted.stdout, re.M)
    assert "**FAILED:**" in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert (work / "a b.sarif").exists()
    assert Path(runner["GITHUB_OUTPUT"]).read_text().endswith("status=1\n")


def test_options_that_are_no_words_fail_and_are_not_dropped(runner: dict[str, str]) -> None:
    done = check(runner, args="--job 'none")
    assert done.returncode != 0
    assert "No closing quotation" in done.stderr
    assert not Path(runner["GITHUB_STEP_SUMMARY"]).exists()


def test_nothing_of_an_input_is_run(runner: dict[str, str], tmp_path: Path) -> None:
    spite = f"$(touch {tmp_path}/run) `touch {tmp_path}/run`; touch {tmp_path}/run"
    check(runner, baseline=spite, policy=spite, args=spite)
    assert not (tmp_path / "run").exists()


def test_every_command_of_the_documentation_is_one() -> None:
    text = CI.replace("\\\n", " ")
    commands = re.findall(r"(?<![\w/-])audit (?:run|check|baseline) [^\n)`]*", text)
    assert len(commands) >= 4
    for command in commands:
        words = [word for word in shlex.split(command)[1:] if word != "||"]
        parser().parse_args(words)
    for block in re.findall(r"```yaml\n(.*?)```", CI, re.DOTALL):
        assert yaml.safe_load(block)
    (gitlab,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(drift:.*?)```", CI, re.DOTALL))
    parser().parse_args(shlex.split(gitlab["drift"]["script"][-1])[1:])
    reports = gitlab["drift"]["artifacts"]["reports"]
    assert f"gitlab={reports['codequality']} " in gitlab["drift"]["script"][-1]
    assert f"junit={reports['junit']}" in gitlab["drift"]["script"][-1]
