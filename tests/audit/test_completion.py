"""Shell completion and --quiet, which every subcommand has. Real shells complete; one that is not here is skipped."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audit.cli import main, parser
from audit.commands.completion import SHELLS
from audit.commands.options import CHECK_FORMATS

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
HOST = str(MACHINES / "host.json.gz")


def subcommands() -> dict[str, argparse.ArgumentParser]:
    action = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def options(command: argparse.ArgumentParser) -> list[str]:
    return [name for action in command._actions for name in action.option_strings if name.startswith("--")]


# -- quiet ------------------------------------------------------------------------------------------------------------

BARE = "a Python that has nothing installed"

QUIET = {
    "run": ["--job", "none", "-o", "report.json"],
    "show": [HOST],
    "diff": [HOST, HOST],
    "check": [HOST, "--baseline", HOST],
    "baseline": [HOST, "-o", "baseline.json"],
    "explain": ["blas.kernel"],
    "bundle": ["-o", "probes.pyz"],
    "fleet": ["report", str(MACHINES)],
    "screen": ["--rounds", "1", "--job", "operators", "--python", BARE],
    "history": ["add", HOST, "--db", "history.sqlite"],
    "completion": ["bash", "-o", "audit.bash"],
    "reproduce": [HOST, "--python", BARE, "--format", "json", "-o", "proof.json"],
    "vary": ["--", BARE, "-c", "import audit; audit.score('loss', 1.0)"],
}
"""Arguments with which each subcommand succeeds. A new subcommand needs its row."""

FOUND = {
    "fleet": 1,  # the recorded machines are all different
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.parametrize("name", subcommands())
def test_quiet_prints_nothing(name: str, tmp_path: Path, bare: str) -> None:
    arguments = [bare if argument is BARE else argument for argument in QUIET[name]]
    options = arguments.index("--") if "--" in arguments else len(arguments)
    command = [sys.executable, "-m", "audit", name, *arguments[:options], "--quiet", *arguments[options:]]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (FOUND.get(name, 0), b"", b"")
    pairs = zip(QUIET[name], QUIET[name][1:], strict=False)
    written = [argument for before, argument in pairs if before in ("-o", "--db")]
    assert os.listdir(tmp_path) == written


# -- completion -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, Path]:
    """The script of every shell, and a folder with files to complete as the working directory of the shells."""
    folder = tmp_path / "work"
    (folder / "results").mkdir(parents=True)
    for name in ("here.json", "there.json.gz", "notes.txt"):
        (folder / name).touch()
    found = {shell: tmp_path / f"audit.{shell}" for shell in SHELLS}
    for shell, path in found.items():
        assert main(["completion", shell, "-o", str(path), "--quiet"]) == 0
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_every_subcommand_and_option_is_completed(shell: str, scripts: dict[str, Path]) -> None:
    text = scripts[shell].read_text("utf-8")
    for name, command in subcommands().items():
        assert re.search(rf"\b{name}\b", text)
        missing = [option for option in options(command) if option not in text and option[2:] not in text]
        assert not missing, (name, missing)


BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p audit | sed -E 's/.*-F ([^ ]+).*/\\1/')
$function audit "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

LINES = [
    ("audit di", {"diff"}),
    ("audit diff --fail-on ", {"results", "numeric", "any"}),
    ("audit diff --format ", {"terminal", "markdown", "html", "json"}),
    ("audit show --format ", set(CHECK_FORMATS)),
    ("audit run --job ", {"auto", "none", "operators", "python", "numpy", "torch", "jax"}),
    ("audit diff here.json --all", {"--all", "--allow-edited"}),
    ("audit diff ", {"here.json", "there.json.gz", "results"}),
    ("audit diff here.json th", {"there.json.gz"}),
    ("audit show ", {"here.json", "there.json.gz", "results"}),
    ("audit bundle -o n", {"notes.txt"}),
    ("audit completion ", set(SHELLS)),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_bash_completes(line: str, expected: set[str], scripts: dict[str, Path], tmp_path: Path) -> None:
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    command = ["bash", "--norc", "--noprofile", "-c", BASH, "bash", str(scripts["bash"]), *line.split(" ")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "work", check=True)
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_fish_completes(line: str, expected: set[str], scripts: dict[str, Path], tmp_path: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("no fish here")
    code = f"source {scripts['fish']}; complete -C '{line}'"
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = ["fish", "--no-config", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path / "work", env=environment, check=True, timeout=60
    )
    assert {row.split("\t")[0].rstrip("/") for row in done.stdout.splitlines()} == expected


@pytest.mark.parametrize(
    ("shell", "start", "before"),
    [
        ("bash", "bash --norc --noprofile -i", "source ../audit.bash"),
        ("zsh", "zsh -f -i", "cp ../audit.zsh ../_audit; fpath=($PWD/.. $fpath); autoload -U compinit; compinit -D -u"),
        ("tcsh", "tcsh -f -i", "source ../audit.tcsh"),
    ],
)
def test_the_tab_key_completes(shell: str, start: str, before: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    """On a terminal, as a person does it: Tab, and then the shell runs what Tab made of the line."""
    if not shutil.which(shell) or not shutil.which("script"):
        pytest.skip(f"no {shell} here, or no script(1)")
    fake = tmp_path / "bin" / "audit"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "ran:$*"\n')
    fake.chmod(0o755)
    typed = f"{before}\naudit di\there.json --fail-on res\t\nexit\n"
    done = subprocess.run(
        ["script", "-qec", start, "/dev/null"],
        input=typed.encode(),
        capture_output=True,
        cwd=tmp_path / "work",
        env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}", "TERM": "xterm", "HOME": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert b"ran:diff here.json --fail-on results" in done.stdout, done.stdout.decode("utf-8", "replace")
