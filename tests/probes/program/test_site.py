"""The injected sitecustomize: instant, harmless, and the user's own still runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.probes.program.conftest import Program

VERSIONS = ["3.6", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]

UNREAD = (
    "it started no Python that reads the PYTHONPATH it was given; a script that sets PYTHONPATH keeps what stands there"
    " with PYTHONPATH=FOLDER:$PYTHONPATH"
)

SAYS = """
    import sys
    print(sorted(name for name in sys.modules if name.startswith("_audit")))
    print([entry for entry in sys.path if "laid" in entry])
    print(sys.modules.get("sitecustomize"))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_without_a_framework_finds_nothing_of_it(
    program: Program, interpreter: Callable[[str], str], version: str
) -> None:
    ran = program(SAYS, interpreter=interpreter(version))
    assert ran.done.stdout == "[]\n[]\nNone\n"
    assert ran.done.stderr == ""
    assert ran.collected.jobs == []
    assert ran.collected.notes == ([UNREAD] if version == "3.6" else [])


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.13"])
def test_the_users_own_sitecustomize_runs(
    program: Program, interpreter: Callable[[str], str], tmp_path: Path, version: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.own = 'it ran'\n")
    ran = program(
        "import sys, sitecustomize\nprint(sys.own, sitecustomize.__file__)",
        interpreter=interpreter(version),
        PYTHONPATH=str(tmp_path),
    )
    assert ran.done.stdout == f"it ran {tmp_path / 'sitecustomize.py'}\n"
    assert ran.done.stderr == ""


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.13"])
@pytest.mark.parametrize("raised", ["ValueError('theirs')", "ImportError('theirs')"])
def test_what_the_users_own_sitecustomize_raises_is_said_as_without_audit(
    program: Program, interpreter: Callable[[str], str], tmp_path: Path, version: str, raised: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"raise {raised}\n")
    python = interpreter(version)
    alone = subprocess.run(
        [python, "-c", "print(1)"], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    ran = program("print(1)", interpreter=python, PYTHONPATH=str(tmp_path))
    assert (ran.done.stdout, ran.done.stderr) == (alone.stdout, alone.stderr)
    assert "theirs" in ran.done.stderr


@pytest.mark.parametrize("words", [["-I"], ["-S"], ["-E"]])
def test_a_python_that_reads_no_path_is_said(
    program: Program, interpreter: Callable[[str], str], words: list[str]
) -> None:
    ran = program("", words=[interpreter("3.11"), *words, "prog.py"])
    assert ran.done.returncode == 0
    assert ran.collected.notes == [UNREAD]


def test_looking_for_a_framework_that_is_not_there_finds_none(program: Program) -> None:
    ran = program(
        """
        import importlib.util
        print(importlib.util.find_spec("torch"))
        try:
            import torch
        except ModuleNotFoundError as error:
            print(error)
        """
    )
    assert ran.done.stdout == "None\nNo module named 'torch'\n"
    assert ran.done.stderr == ""


def test_a_framework_is_imported_by_its_own_loader(program: Program, tmp_path: Path) -> None:
    """A package of that name that is no framework at all: the hook fails, and the program never hears of it."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("here = __spec__.loader\n")
    ran = program(
        """
        import importlib.machinery, importlib.util, sys
        assert importlib.util.find_spec("torch").loader.name == "torch"
        import torch
        assert type(torch.here) is importlib.machinery.SourceFileLoader
        assert torch.__loader__ is torch.__spec__.loader is torch.here
        assert "exec_module" not in vars(torch.here)
        print(torch.__file__)
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert ran.done.stdout == f"{package / '__init__.py'}\n", ran.done.stderr
    assert ran.done.stderr == ""
    assert ran.collected.jobs == []
    assert ran.collected.notes[0].startswith("the recorder stopped in step 0: ")
