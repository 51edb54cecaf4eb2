"""Every fact has its row and every row its fact, and the rows make a graph without a loop."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Captured, Records
from standin_nvml import StandInNvml

from probes.environment import capture, packages, system_packages
from probes.environment.sources import mapped
from probes.facts import Facts
from probes.operators import COMPONENTS

FILE = json.loads((ROOT / "reports" / "catalogue.json").read_text("utf-8"))
ROWS: dict[str, dict[str, Any]] = {row["fact"]: row for row in FILE["facts"]}
KINDS = {"numeric", "performance", "identity", "volatile"}
KEYS = {"fact", "meaning", "unit", "kind", "components", "decided_by"}
ELSEWHERE = {"engine", "program", "torch", "cuda", "jax"}
"""What `only` says of the rows whose facts other tests look for."""
OPTIONAL = {"root", "complete", "explains", "operators", "effect", "plain", "only"}


def row_of(fact: str) -> str | None:
    """The row that speaks for a fact: the exact one, else the pattern with the longest text."""
    if fact in ROWS:
        return fact
    patterns = sorted((name for name in ROWS if "*" in name), key=len, reverse=True)
    return next((name for name in patterns if matches(name, fact)), None)


def matches(pattern: str, fact: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), fact) is not None


@pytest.fixture(scope="module")
def facts(captured: Captured, machine: Records, effect: Records, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every fact's name: this machine's, and stand-ins' for what this machine does not have."""
    names = {*machine, *effect}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", StandInNvml())  # type: ignore[arg-type]
        names |= set(capture("gpu").records)
    names |= _packages(tmp_path_factory.mktemp("site-packages")) | _system_packages()
    return names | _libraries() | _second_libraries()


def _packages(site: Path) -> set[str]:
    """An editable installation, verified, and the tools whose versions decide nothing."""
    for name in ("mine", "pip", "setuptools", "wheel", "uv", "ruff", "mypy", "pytest"):
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "RECORD").write_text("")
    direct = {"url": ROOT.as_uri(), "dir_info": {"editable": True}}
    (site / "mine-1.0.dist-info" / "direct_url.json").write_text(json.dumps(direct))
    found = Facts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(site)])
        from probes.environment import Options

        packages.capture(found, Options(verify=True))
    return set(found.records)


def _system_packages() -> set[str]:
    """A distribution with its own numpy."""
    found = Facts()
    names = ("libblas3", "python3", "python3.11-minimal", "python3-numpy")
    text = "\n".join(f"Package: {name}\nVersion: 1.0-1\n" for name in names)
    system_packages.record(found, lambda path: text.encode(), "stand-in")
    return set(found.records)


def _libraries() -> set[str]:
    """Names of libraries that a framework brings, through the same naming as real ones."""
    files = ("libgomp-a34b3233.so.1.0.0", "libiomp5.so", "libomp.so.5", "libmvec.so.1", "libsvml.so", "libimf.so")
    files += ("libgfortran.so.5.0.0", "libstdc++.so.6.0.33")
    return {f"libraries.{mapped.name('/usr/lib/' + file)}.build_id" for file in files}


def _second_libraries() -> set[str]:
    """A second BLAS and a second OpenMP runtime in one process, as scipy and torch bring them."""
    from probes.environment import blas

    found = Facts()
    for part in ("a", "b"):
        library = {"name": "lib" + part, "implementation": "x", "threads": 1, "source": "stand-in"}
        blas._record(found, "blas.lib" + part, library, blas._PROPERTIES)
    blas._record_openmp(found, [{"name": n, "implementation": n, "threads": 2, "source": "-"} for n in ("l", "m")])
    return set(found.records)


def test_every_fact_has_a_row(facts: set[str]) -> None:
    assert [name for name in sorted(facts) if row_of(name) is None] == []


def test_every_row_has_a_fact(facts: set[str]) -> None:
    used = {row_of(name) for name in facts}
    assert [name for name, row in ROWS.items() if name not in used and row.get("only") not in ELSEWHERE] == []


def test_a_row_that_this_machine_cannot_give_says_so(machine: Records, effect: Records) -> None:
    given = {row_of(name) for name in (*machine, *effect)}
    assert [name for name, row in ROWS.items() if name not in given and "only" not in row] == []


def test_rows_stand_one_a_line_and_sorted() -> None:
    lines = (ROOT / "reports" / "catalogue.json").read_text("utf-8").splitlines()
    rows = [json.loads(line.rstrip(","))["fact"] for line in lines if line.startswith('{"fact"')]
    assert rows == sorted(ROWS, key=lambda name: (name.split(".")[0], name))
    assert len(rows) == len(FILE["facts"])


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_whole(name: str) -> None:
    row = ROWS[name]
    assert KEYS <= set(row) <= KEYS | OPTIONAL
    assert row["kind"] in KINDS
    assert set(row["components"]) <= set(COMPONENTS)
    assert row["kind"] == "numeric" or not row["components"]
    assert row["meaning"].endswith(".")
    assert row.get("explains", "all") in ("all", "threaded", "not-controls")
    assert row["kind"] != "numeric" or row["plain"]


def edges(name: str) -> list[str]:
    return [edge if isinstance(edge, str) else edge["fact"] for edge in ROWS[name]["decided_by"]]


@pytest.mark.parametrize("name", ROWS)
def test_what_decides_a_fact_is_a_row_too(name: str) -> None:
    assert [edge for edge in edges(name) if row_of(edge) is None] == []
    conditions = [edge["when"] for edge in ROWS[name]["decided_by"] if not isinstance(edge, str)]
    assert [
        when
        for when in conditions
        if row_of(when["fact"]) is None or set(when) not in ({"fact", "is"}, {"fact", "names"})
    ] == []


def test_nothing_decides_itself() -> None:
    def climb(name: str, seen: tuple[str, ...]) -> None:
        assert name not in seen, " <- ".join((*seen, name))
        for edge in edges(name):
            climb(row_of(edge) or "", (*seen, name))

    for name in ROWS:
        climb(name, ())


def highest(name: str, differing: set[str], distribution: bool = False) -> set[str]:
    """The roots above a fact when just these facts differ, as attribution climbs the graph."""
    row = ROWS[row_of(name) or ""]
    above = set()
    for edge in [] if row.get("root") else row["decided_by"]:
        if isinstance(edge, str) or distribution:
            parent = edge if isinstance(edge, str) else edge["fact"]
            above |= {parent} & differing
    return set().union(*(highest(parent, differing, distribution) for parent in above)) if above else {name}


CPU = {"cpu.model", "cpu.flags", "blas.kernel", "numpy.simd_found", "libm.features", "cpu.vendor", "cpu.level"}


@pytest.mark.parametrize(
    ("fact", "differing", "root"),
    [
        ("blas.kernel", {"blas.kernel", "variables.OPENBLAS_CORETYPE"}, "variables.OPENBLAS_CORETYPE"),
        ("numpy.simd_found", {"variables.NPY_DISABLE_CPU_FEATURES"}, "variables.NPY_DISABLE_CPU_FEATURES"),
        ("libm.features", {"variables.GLIBC_TUNABLES"}, "variables.GLIBC_TUNABLES"),
        ("fpu.flush_to_zero", {"fpu.mxcsr", "variables.LD_PRELOAD"}, "variables.LD_PRELOAD"),
        ("python.hash_seed", {"variables.PYTHONHASHSEED"}, "variables.PYTHONHASHSEED"),
        ("blas.threads", {"variables.OMP_NUM_THREADS", "limits.affinity"}, "blas.threads"),
        ("blas.kernel", CPU, "cpu.model"),
        ("numpy.simd_found", CPU, "cpu.model"),
        ("libm.features", CPU, "cpu.model"),
        (
            "blas.build_id",
            {"blas.version", "packages.numpy.version", "packages.numpy.record"},
            "packages.numpy.version",
        ),
        ("numpy.version", {"packages.numpy.version"}, "packages.numpy.version"),
        ("blas.implementation", {"packages.numpy.record"}, "packages.numpy.record"),
        ("python.flags", {"python.version", "os.release"}, "python.version"),
        ("libm.build_id", {"libc.version", "os.release"}, "os.release"),
        ("libm.build_id", {"system_packages.libc6.version", "os.release"}, "os.release"),
        ("libm.build_id", {"system_packages.libc6.version"}, "system_packages.libc6.version"),
    ],
)
def test_the_graph_leads_to_the_root(fact: str, differing: set[str], root: str) -> None:
    assert highest(fact, differing) == {root}


@pytest.mark.parametrize("fact", ["python.version", "packages.numpy.version", "blas.implementation", "libc.version"])
def test_what_a_distribution_packages_moves_with_its_release(fact: str) -> None:
    assert highest(fact, {"os.release", fact}, distribution=True) == {"os.release"}


def test_two_runs_on_one_machine_differ_in_nothing_but_volatile_facts(captured: Captured, machine: Records) -> None:
    again = captured("machine")
    differing = [name for name in machine.keys() | again.keys() if machine.get(name) != again.get(name)]
    assert {ROWS[row_of(name) or ""]["kind"] for name in differing} <= {"volatile"}


def test_two_processes_that_did_the_same_work_have_the_same_facts_in_effect(captured: Captured) -> None:
    work = "import numpy; numpy.linalg.solve(numpy.eye(9), numpy.ones(9))"
    assert captured("effect", before=work) == captured("effect", before=work)
