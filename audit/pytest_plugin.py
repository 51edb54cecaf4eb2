"""`pytest --audit-baseline FILE`: the verdict of `audit check` in the header; with --audit-fail drift fails the run.

Every pytest of who installed this loads the file, so it imports nothing but pytest until the option is used; and the
check runs in a child, because what the tests import and set must not be what is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from reports.checked import Check

_CODE = (
    "import sys; sys.path[:] = [one for one in sys.path if one]; "
    "from audit.__main__ import main; sys.exit(main())"
)  # without the working folder, where an audit.py of the tests' own would be taken for this one


class _Answer(NamedTuple):
    """found: None where nothing could be checked, and reason says why."""

    found: Check | None
    reason: str = ""


_ANSWER = pytest.StashKey[_Answer]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("audit", "environment drift (reproducibility-auditor)")
    group.addoption("--audit-baseline", metavar="FILE", help="check this environment against a baseline")
    group.addoption("--audit-policy", metavar="FILE", help="the policy of that check (default: as audit check's)")
    group.addoption("--audit-fail", action="store_true", help="fail the run if the check does not pass")


def pytest_configure(config: pytest.Config) -> None:
    baseline = config.getoption("--audit-baseline")
    if not baseline:
        if config.getoption("--audit-fail"):
            raise pytest.UsageError("--audit-fail needs --audit-baseline FILE")
        return
    if hasattr(config, "workerinput"):
        return  # of pytest-xdist: the controller has checked the machine that all of them run on
    answer = _check(config, baseline)
    if answer.found is None and config.getoption("--audit-fail"):
        raise pytest.UsageError(f"audit check: {answer.reason}")
    config.stash[_ANSWER] = answer


def pytest_report_header(config: pytest.Config) -> str | None:
    answer = config.stash.get(_ANSWER, None)
    if answer is None:
        return None
    if answer.found is None:
        return f"audit check: not done: {answer.reason}"
    from reports import render

    return render.check(answer.found, "line").rstrip("\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The whole page, where it is why the run fails."""
    answer = config.stash.get(_ANSWER, None)
    if answer and answer.found and _fails(answer.found, config):
        from reports import render

        terminalreporter.section("audit check", sep="=", red=True)
        terminalreporter.write(render.check(answer.found))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    answer = session.config.stash.get(_ANSWER, None)
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if answer and answer.found and _fails(answer.found, session.config) and passed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _fails(found: Check, config: pytest.Config) -> bool:
    return bool(config.getoption("--audit-fail")) and found.verdict != "pass"


def _check(config: pytest.Config, baseline: str) -> _Answer:
    """What a child's `audit check` finds, of the Python that runs these tests."""
    import os
    import subprocess
    import sys

    import msgspec

    from reports.checked import Check

    policy = config.getoption("--audit-policy")
    command = [sys.executable, "-c", _CODE, "check", "--baseline", baseline, "--python", sys.executable]
    command += [*(["--policy", policy] if policy else []), "--format", "json"]
    # Annotations are for a step that is a check of its own; the tests' own would be lost among them.
    variables = {name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"}
    done = subprocess.run(
        command, env=variables, cwd=config.invocation_params.dir, capture_output=True, text=True, check=False
    )
    try:
        return _Answer(msgspec.json.decode(done.stdout, type=Check))
    except msgspec.MsgspecError:
        said = done.stderr.strip().splitlines()
        return _Answer(None, said[-1].removeprefix("audit check: ") if said else f"exit status {done.returncode}")
