"""What the words of a command say where it runs: its program, its Python, its arguments."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from probes.program.command import Located, arguments_digest, expanded, is_python, located

LONG = "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\nimport sys\n"
"""What pip writes where the path of a Python does not fit into a first line."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH. `python3.99` is in it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    executable(tmp_path / "python3.99", "\x7fELF")
    return tmp_path


def executable(file: Path, text: str) -> str:
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize("word", ["python", "python3.11", "/a/b/python3", "pypy3", "pypy3.10", "python3.13t"])
def test_what_is_called_like_a_python(word: str) -> None:
    assert is_python(word)


@pytest.mark.parametrize("word", ["torchrun", "python-config", "pythonista", "ipython", "bash", "my.python.sh", ""])
def test_what_is_not(word: str) -> None:
    assert not is_python(word)


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        ("#!{python}\n", True),
        ("#! {python} -u\n", True),
        ("#!{folder}/env python3.99\n", True),
        ("#!{folder}/env -S python3.99 -u\n", True),
        ("#!{folder}/env -S A=1 python3.99\n", True),
        (LONG.replace("{}", "{python}"), True),
        ("#!{folder}/other\n", True),  # a script whose own first line names the Python
        ("#!{folder}/sh\npython3.99 train.py\n", False),
        ("\x7fELF", False),
        ("echo a script without a first line\n", False),
        ("#!\n", False),
        ("", False),
    ],
)
def test_which_python_runs_a_script(text: str, leads: bool, path: Path) -> None:
    for name in ("env", "sh"):
        executable(path / name, "\x7fELF")
    executable(path / "other", f"#!{path}/python3.99\n")
    executable(path / "train", text.replace("{python}", f"{path}/python3.99").replace("{folder}", str(path)))
    assert located(["train", "--x"]) == Located(f"{path}/python3.99" if leads else "")
    assert located([str(path / "train")]) == located(["train"])


def test_a_python_is_its_own(path: Path) -> None:
    assert located(["python3.99", "train.py"]) == Located(f"{path}/python3.99")
    assert located([f"{path}/python3.99"]) == Located(f"{path}/python3.99")


def test_what_cannot_be_started(path: Path) -> None:
    (path / "file").touch()
    executable(path / "orphan", "#!/no/such/python -u\n")
    assert located(["nosuch"]).missing == "no such command"
    assert located([str(path)]).missing == "it is a folder"
    assert located([str(path / "file")]).missing == "not executable (chmod +x), or not by you"
    assert located(["orphan"]).missing == "the interpreter in its first line, /no/such/python, does not exist"


def test_a_script_that_leads_to_itself_ends(path: Path) -> None:
    executable(path / "loop", f"#!{path}/loop\n")
    assert located(["loop"]) == Located()
    assert expanded(["loop", "x"])[-1] == "x"


def test_what_starts_no_scripts_is_given_a_real_program(path: Path) -> None:
    executable(path / "env", "\x7fELF")
    executable(path / "torchrun", f"#!{path}/python3.99 -u\n")
    executable(path / "run", f"#!{path}/env python3.99\n")
    python = f"{path}/python3.99"
    assert expanded(["python3.99", "-c", "0"]) == [python, "-c", "0"]
    assert expanded(["torchrun", "a b", "c"]) == [python, "-u", f"{path}/torchrun", "a b", "c"]
    assert expanded(["run"]) == [python, f"{path}/run"]
    assert expanded(["nosuch", "x"]) == ["nosuch", "x"]


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (["python", "train.py", "--lr", "3"], ["--lr", "3"]),
        (["python", "/home/someone/train.py", "--lr", "3"], ["--lr", "3"]),
        (["python3.11", "-u", "-X", "dev", "-W", "ignore", "train.py", "--lr", "3"], ["--lr", "3"]),
        (["python", "-m", "pkg.train", "--lr", "3"], ["--lr", "3"]),
        (["python", "-um", "pkg.train", "--lr", "3"], ["--lr", "3"]),
        (["python", "-c", "code", "--lr", "3"], ["-c", "code", "--lr", "3"]),
        (["python", "-Ximporttime", "-Xtracemalloc", "-ccode", "--lr", "3"], ["-ccode", "--lr", "3"]),
        (["torchrun", "--nproc", "2", "/a/train.py", "--lr", "3"], ["--nproc", "2", "--lr", "3"]),
        (["bash", "train.sh"], ["train.sh"]),
        (["python"], []),
        (["python", "-u"], []),
    ],
)
def test_the_arguments_are_what_the_program_is_given(command: list[str], given: list[str]) -> None:
    whole = hashlib.blake2b("\0".join(given).encode(), digest_size=8).hexdigest()
    assert arguments_digest(command) == whole


def test_an_argument_may_be_no_text() -> None:
    assert arguments_digest(["a", "\udce9"]) != arguments_digest(["a", "\udcea"])


def test_it_is_found_on_this_machine() -> None:
    assert located([sys.executable, "train.py"]) == Located(sys.executable)
