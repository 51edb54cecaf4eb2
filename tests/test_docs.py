"""What the documentation says is what the program does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import audit
from audit.cli import COMMANDS, main, parser
from tests import promises

if TYPE_CHECKING:
    from docker import DockerClient

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
    fleets = {"audit fleet report nodes": "fleet one odd node in 500.txt"}
    fleets |= {"audit screen": "screen wrong.txt", "audit history": "history.txt"}
    for command, file in fleets.items():
        assert blocks()[command] == (golden / file).read_text("utf-8")
    programs = {
        "audit diff laptop.json server.json": "steps~mkl=variables.MKL_CBWR",
        "audit diff laptop-operators.json server-operators.json": "operators~mkl=variables.MKL_CBWR",
    }
    for command, name in programs.items():
        recorded = (golden / f"program {name}.txt").read_text("utf-8")
        _, _, mine, its = command.split()
        recorded = recorded.replace(f"'{name}.json.gz'", its).replace(f"{name.split('~')[0]}.json.gz", mine)
        assert blocks()[command] == recorded
    meeting = (golden / "reproduce another make.txt").read_text("utf-8")
    assert blocks()["audit reproduce server-sgd.json -- python train.py --sgd"] == meeting
    assert blocks()["audit diff nodes"] == (golden / "many.txt").read_text("utf-8")


@pytest.fixture
def named(engine: DockerClient) -> Iterator[None]:
    """The images of two releases under the names that README gives them, if nobody has such images."""
    from docker.errors import ImageNotFound

    given = []
    for release in ("bookworm", "trixie"):
        try:
            if engine.images.get(release).id != engine.images.get(f"audit-{release}").id:
                pytest.skip(f"the engine has another image {release}")
        except ImageNotFound:
            engine.images.get(f"audit-{release}").tag(release)
            given.append(release)
    yield
    for release in given:
        engine.images.remove(release, noprune=True)


def shape(text: str) -> str:
    """A page without what another machine or another day has otherwise: digests, numbers, where lines are broken."""
    return re.sub(r"\d[\d,.]*", "N", re.sub(r"\b[0-9a-f]{16}\b", "#", " ".join(text.split())))


@pytest.mark.docker
@pytest.mark.usefixtures("named")
def test_the_containers_in_the_readme_are_real(tmp_path: Path) -> None:
    """Where the CPU has AVX-512, as the one had on which README's output was made."""
    (run,) = [command for command in blocks() if command.startswith("audit run --quiet --container")]
    diff, _, output = blocks()[run].partition("\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}

    def audit(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600,
        )  # fmt: skip
        assert done.stderr.count("\n") <= 1, done.stderr
        return done.stdout

    assert audit(run) == ""
    shown = audit(diff.removeprefix("$ "))
    assert len(shown.splitlines()) <= 25
    if "avx512f" in Path("/proc/cpuinfo").read_text("utf-8"):
        assert shape(shown) == shape(output)
    pair = audit("audit diff 'box.json#host' 'box.json#bookworm' --all")
    lines = {line.removeprefix("(root)").split()[0]: line.split() for line in pair.splitlines() if line.strip()}
    assert {"openblas", "reference"} < {*lines["blas.implementation"]}
    assert "bookworm: layer 1 of 1: (imported)" in " ".join(pair.split())
    assert "(root) packages.numpy.version" in " ".join(pair.split())


def test_the_check_in_the_readme_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = ROOT / "fixtures" / "machines"
    monkeypatch.chdir(tmp_path)
    for name, file in (("main", "host"), ("today", "host~blas=packages.numpy.version~2.3")):
        (tmp_path / f"{name}.json").write_bytes((machines / f"{file}.json.gz").read_bytes())

    def output(command: str) -> str:
        main(shlex.split(command)[1:])
        return re.sub(r"20\d\d-\d\d-\d\d", "DATE", capsys.readouterr().out)

    for start in ("audit baseline main", "audit check today"):
        (command,) = [one for one in blocks() if one.startswith(start)]
        assert output(command) == re.sub(r"20\d\d-\d\d-\d\d", "DATE", blocks()[command])
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in output(f"{command} --format markdown").splitlines())
    assert quoted in re.sub(r"20\d\d-\d\d-\d\d", "DATE", README)


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
