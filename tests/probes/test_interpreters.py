"""The shipped probes on every Python that they support and that is here, for real; and the two ways in which they run
(in process, and shipped through standard input or as one file) read the same facts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from audit.targets import bundle
from audit.targets.prefix import PrefixTarget
from probes import session
from reports.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "probes").rglob("*.py"))
FLOOR = (3, 8)
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

Interpreter = Callable[[str], str]
Records = dict[str, dict[str, Any]]


# -- what can be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_grammar_is_that_of_the_floor(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=FLOOR)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_compiles_without_a_warning(version: str, interpreter: Interpreter) -> None:
    code = "import sys\nfor path in sys.argv[1:]:\n with open(path, 'rb') as file: compile(file.read(), path, 'exec')"
    done = subprocess.run(
        [interpreter(version), "-W", "error", "-c", code, *map(str, SOURCES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_python_2_can_read_the_bootstrap(interpreter: Interpreter) -> None:
    path = str(ROOT / "probes" / "bootstrap.py")
    code = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
    subprocess.run([interpreter("2.7"), "-c", code, path], check=True)


# -- every interpreter -----------------------------------------------------------------------------------------------


@cache
def _target(python: str) -> dict[str, Any]:
    """All that the shipped probes give of an interpreter: facts, battery and the pure-Python job, once."""
    plan = session.plan(["operators", "python"], repeat=1)
    target = PrefixTarget(["env", "PYTHONHASHSEED=1"], python)
    return session.capture(plan, target.launch, lambda words, done, total: None)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def target(version: str, interpreter: Interpreter) -> dict[str, Any]:
    return _target(interpreter(version))


def facts(target: dict[str, Any]) -> Records:
    merged: Records = {**target["facts"], **target["battery"]["facts"]}
    for job in target["jobs"]:
        merged.update(job["facts"])
    return merged


def digests(target: dict[str, Any]) -> dict[str, str]:
    """The digest of every operator that the standard library suffices for, but for orders by address or disk."""
    return {
        one["name"]: one["result"]["digest"]
        for one in target["battery"]["operators"]
        if one["component"] in ("python", "ordering", "libm", "fpu", "random")
        and "numpy" not in one["name"]
        and not one.get("hazard")
    }


def test_nothing_fails(target: dict[str, Any], version: str) -> None:
    assert "incomplete" not in target
    failed = {
        name: fact["reason"] for name, fact in facts(target).items() if fact.get("status") in ("failed", "timeout")
    }
    assert failed == {}
    without = {one["name"]: one.get("reason") for one in target["battery"]["operators"] if "result" not in one}
    assert without == {}
    assert target["facts"]["python.version"]["value"].startswith(version + ".")


def test_every_component_of_the_standard_library_has_results(target: dict[str, Any]) -> None:
    assert {one["component"] for one in target["battery"]["operators"]} >= {
        "python",
        "ordering",
        "libm",
        "fpu",
        "random",
    }


def test_the_reference_job_learns(target: dict[str, Any]) -> None:
    (job,) = target["jobs"]
    assert job["name"] == "python"
    assert job["outcome"]["learned"] is True


def test_every_fact_is_in_the_catalogue(target: dict[str, Any]) -> None:
    assert [name for name in facts(target) if catalogue().row(name) is None] == []


SINCE = {
    # 3.10: math.hypot and dist are rounded correctly; paretovariate draws by another formula.
    (3, 10): {"python.math.dist", "python.math.hypot", "random.python.paretovariate"},
    # 3.11: hashes of text are SipHash-1-3; statistics computes square roots exactly.
    (3, 11): {
        *("ordering.hash.str", "ordering.set.bytes", "ordering.set.str", "ordering.set.tuple", "ordering.set.union"),
        "python.statistics.deviation",
    },
    # 3.12: sum() of floats is compensated.
    (3, 12): {"python.sum.f64", "python.sum.tenths"},
    # 3.14: so are sums of complex numbers; the others as measured with 3.14.10 beside 3.13.0 on one glibc.
    (3, 14): {"python.sum.complex", "python.complex.power", "python.statistics.normal"},
}
"""Operators whose bits Python itself changed, by the version that did. All others agree between all versions."""

NEW = {(3, 11): {"libm.cbrt", "libm.exp2"}}
"""Operators that exist since a version, because their function does."""


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_only_what_python_changed_differs_from_the_floor(
    target: dict[str, Any], version: str, interpreter: Interpreter
) -> None:
    floor, here = digests(_target(interpreter("3.8"))), digests(target)
    changed = set().union(*(names for since, names in SINCE.items() if since <= number(version)))
    new = set().union(*(names for since, names in NEW.items() if since <= number(version)))
    assert {name for name in floor if floor[name] != here.get(name)} == changed
    assert here.keys() - floor.keys() == new


def test_the_reference_job_has_one_digest_before_and_one_since_sum_is_compensated(
    target: dict[str, Any], version: str, interpreter: Interpreter
) -> None:
    same = ("3.8", "3.9", "3.10", "3.11") if number(version) < (3, 12) else ("3.12", "3.13", "3.14")
    first = next(python for python in (found(interpreter, name) for name in same) if python)
    assert target["jobs"][0]["trace"]["digest"] == _target(first)["jobs"][0]["trace"]["digest"]


def found(interpreter: Interpreter, version: str) -> str | None:
    try:
        return interpreter(version)
    except pytest.skip.Exception:
        return None


# -- in process and shipped ------------------------------------------------------------------------------------------

DIRECT = """
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {root!r})
from probes import child
records = {{}}
child.serve({{"work": "facts", "machine": True}}, records.update)
print(json.dumps({{**records["machine"], **records["effect"]}}))
"""


def comparable(records: Records) -> Records:
    """All facts but the volatile ones, without their sources: threadpoolctl travels with the shipped probes only, and
    where it is not at hand OpenBLAS is asked by its own functions. Nothing else may tell the ways apart."""
    rows = {name: catalogue().row(name) for name in records}
    kept = [name for name, row in rows.items() if row is None or row.kind != "volatile"]
    return {name: {key: value for key, value in records[name].items() if key != "source"} for name in kept}


def direct(python: str, folder: Path) -> Records:
    """The facts as a process reads them that imports the probes from files. They stand alone in `folder`: the checkout
    on the path would be one more package."""
    (folder / "probes").symlink_to(ROOT / "probes")
    code = DIRECT.format(root=str(folder))
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    records: Records = json.loads(done.stdout)
    return records


def shipped(python: str) -> Records:
    merged: Records = {}
    for record in PrefixTarget([], python).launch({"work": "facts", "machine": True}):
        merged.update(record.get("machine", {}))
        merged.update(record.get("effect", {}))
    return merged


def one_file(python: str, folder: Path) -> Records:
    (folder / "probes.pyz").write_bytes(bundle.pyz())
    command = [python, "probes.pyz", "--job", "none", "--quiet", "-o", "node.json"]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    target = json.loads((folder / "node.json").read_text())["targets"][0]
    return {**target["facts"], **target["battery"]["facts"]}


def test_in_process_and_shipped_read_equal_facts(version: str, interpreter: Interpreter, tmp_path: Path) -> None:
    python = interpreter(version)
    expected = comparable(direct(python, tmp_path))
    assert comparable(shipped(python)) == expected
    assert comparable(one_file(python, tmp_path)) == expected


def test_with_numpy_they_read_equal_facts_too(tmp_path: Path) -> None:
    found = direct(sys.executable, tmp_path)
    assert found["blas.implementation"]["value"]
    assert comparable(shipped(sys.executable)) == comparable(found)
    assert comparable(one_file(sys.executable, tmp_path)) == comparable(found)
