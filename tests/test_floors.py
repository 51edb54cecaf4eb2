"""The arrows between the three floors point one way, and what travels can run where it travels to."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STDLIB = set(sys.stdlib_module_names)
FRAMEWORKS = {"numpy", "torch", "jax", "threadpoolctl", "pynvml", "psutil"}
THE_USERS = {"sitecustomize"}  # of the audited program: the file that is laid in its place runs it
OWNERS = {
    "threadpoolctl": {"environment/blas.py", "calls.py"},
    "pynvml": {"environment/gpu.py"},
    "sitecustomize": {"program/site.py"},
}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported top-level name of a file, with the level of a relative import."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], 0
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0], node.level


@pytest.mark.parametrize("path", sorted((ROOT / "probes").rglob("*.py")), ids=lambda path: path.name)
def test_probes_import_only_the_standard_library_and_guarded_frameworks(path: Path) -> None:
    for name, level in imports(path):
        assert level or name in STDLIB | FRAMEWORKS | THE_USERS, f"{path} imports {name}"
        if name in OWNERS:
            assert path.relative_to(ROOT / "probes").as_posix() in OWNERS[name], f"{path} does not own {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "reports").rglob("*.py")), ids=lambda path: path.name)
def test_reports_never_import_the_command_or_the_probes(path: Path) -> None:
    names = {name for name, level in imports(path) if not level}
    assert not names & {"audit", "probes"}, path


def test_nothing_of_the_lower_floors_is_imported_by_name_upwards() -> None:
    for folder in ("probes", "reports"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not any(name == "audit" and not level for name, level in imports(path)), path


def test_probes_use_no_syntax_newer_than_their_floor() -> None:
    for path in (ROOT / "probes").rglob("*.py"):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("command", [["--help"], ["diff", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    heavy = ("numpy", "rich", "deepdiff", "docker", "msgspec", "psutil")
    code = (
        "import sys\nfrom audit.cli import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
