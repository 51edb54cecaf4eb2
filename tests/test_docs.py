"""What the documentation says is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import audit
from audit.cli import COMMANDS, parser
from tests import promises

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"```(?:console|text)\n(.*?)```", re.DOTALL)


def blocks() -> dict[str, str]:
    """README's blocks that begin with a command, by that command, with the output that stands below it."""
    found = {}
    for block in BLOCK.findall(README):
        if block.startswith("$ "):
            command, _, output = block.partition("\n")
            found[command[2:]] = output
    return found


@pytest.mark.parametrize("command", ["", *(module.__name__.rsplit(".", 1)[1] for module in COMMANDS)])
def test_the_help_in_the_readme_is_the_help(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = " ".join(part for part in ("audit", command, "--help") if part)
    done = subprocess.run(
        [sys.executable, "-m", *name.split()], capture_output=True, text=True, check=True, env={"COLUMNS": "100"}
    )
    assert blocks()[name] == done.stdout


def test_the_output_in_the_readme_is_that_of_the_recorded_machines() -> None:
    golden = ROOT / "tests" / "audit" / "golden"
    shown = {
        "audit diff host.json nehalem.json": "host~blas+numpy+libm=cpu.model~nehalem.txt",
        "audit diff host.json elsewhere.json": "host~none~elsewhere.txt",
    }
    for command, file in shown.items():
        recorded = (golden / file).read_text("utf-8")
        for name in ("host~blas+numpy+libm=cpu.model~nehalem", "host~none~elsewhere"):
            recorded = recorded.replace(f"'{name}.json.gz'", f"{name.split('~')[-1]}.json")
        assert blocks()[command] == recorded.replace("host.json.gz", "host.json")
    assert blocks()["audit diff nodes"] == (golden / "many.txt").read_text("utf-8")


def test_the_promises_in_the_readme_are_those_that_are_tested() -> None:
    assert promises.table() in README, "run: python -m tests.promises"


def test_the_two_commands_of_the_readme_are_the_ones_that_ci_runs() -> None:
    assert "python3 develop.py run" in README
    assert "python3 develop.py test" in README
    assert "python3 develop.py test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_option_is_explained() -> None:
    commands = next(action for action in parser()._actions if hasattr(action, "choices") and action.choices)
    assert commands.choices
    for name, command in dict(commands.choices).items():  # type: ignore[arg-type]
        for action in command._actions:
            assert action.help, f"audit {name} {action.option_strings}"


def test_the_changelog_names_this_version() -> None:
    assert f"## {audit.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_nothing_names_this_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    words = re.compile("|".join(["files.python" + "hosted", "pypi" + r"\.org", "deb" + r"\.debian\.org"]))
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.suffix in (".py", ".md", ".toml", ".lock", ".json", ".txt", ""):
            assert not words.search(path.read_text("utf-8", "replace")), name
