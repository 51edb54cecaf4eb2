"""The contract of a capture: every name read or missing with a reason, whatever breaks; nothing personal in it."""

from __future__ import annotations

import getpass
import importlib
import json
import platform
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import Captured, Records

import probes.environment as environment
from probes.environment import FACETS, SCOPES, capture
from probes.environment.sources import privacy

OF_FRAMEWORKS = {"torch", "onednn", "mkl", "xla"}
"""Facets that say something only in a process which has loaded their library."""

OLD = sorted(Path.home().glob(".pyenv/versions/3.[89].*/bin/python"))


@pytest.mark.parametrize("facet", FACETS)
def test_a_facet_keeps_the_contract(facet: str) -> None:
    module: Any = importlib.import_module(f"probes.environment.{facet}")
    assert facet in SCOPES[module.SCOPE]
    assert module.__doc__
    assert callable(module.capture)
    assert len(set(module.NAMES)) == len(module.NAMES)
    assert bool(module.NAMES) != (facet in OF_FRAMEWORKS)


def test_no_file_beside_the_facets() -> None:
    files = {path.stem for path in Path(environment.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(FACETS)


@pytest.mark.parametrize("scope", SCOPES)
def test_every_name_is_read_or_missing_with_a_reason(scope: str, captured: Captured) -> None:
    records = captured(scope)
    for facet in SCOPES[scope]:
        for name in importlib.import_module(f"probes.environment.{facet}").NAMES:
            assert name in records
    for name, record in records.items():
        assert set(record) in ({"value", "source"}, {"status", "reason"}), name
        assert record.get("status", "absent") in ("absent", "denied"), (name, record)
        assert record.get("source", record.get("reason")), name
        assert name == name.strip()
        assert "." in name


def test_a_probe_that_breaks_costs_its_own_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.environment import limits, memory

    def broken(facts: Any, options: Any) -> None:
        facts.add("memory.total", 1, "before it broke")
        raise RuntimeError("broken in /home/someone/x")

    monkeypatch.setattr(memory, "capture", broken)
    records = capture("machine").records
    assert records["memory.total"]["value"] == 1
    # The place in the probes, and never the message: it may quote anything.
    assert re.fullmatch(r"RuntimeError \(environment, line \d+\)", records["memory.swap"].pop("reason"))
    assert records["memory.swap"] == {"status": "failed"}
    assert set(limits.NAMES) <= set(records)


def test_one_reading_that_raises_costs_one_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.environment import memory

    def broken(line: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(memory, "_chosen", broken)
    records = capture("machine").records
    assert [name for name, record in records.items() if record.get("status") == "failed"] == [
        "memory.huge_pages_transparent"
    ]


def test_no_host_user_or_home_in_any_record(captured: Captured, tmp_path: Path) -> None:
    home = str(Path.home())
    for scope in ("machine", "effect"):
        records = captured(scope, before="import numpy", OMP_PLACES=f"{home}/x", XLA_FLAGS=f"--dump={tmp_path}/y")
        written = json.dumps(records)
        assert home + "/" not in written
        assert str(tmp_path) not in written
        host = socket.gethostname()
        values = [record.get("value") for record in records.values()]
        assert host not in values
        assert len(getpass.getuser()) < 6 or getpass.getuser() not in written


def test_paths_are_made_impersonal() -> None:
    assert privacy.scrub(["/home/ann/x.so", {"a": "C:\\Users\\ann\\y"}]) == ["~/x.so", {"a": "~\\y"}]
    assert len(privacy.scrub("x" * 9999)) == 512


@pytest.mark.skipif(not OLD, reason="no old interpreter under ~/.pyenv")
@pytest.mark.parametrize("python", OLD[:2], ids=lambda path: path.parts[-3])
def test_the_floor_gives_the_same_machine(python: Path, captured: Captured, machine: Records) -> None:
    old = captured("machine", python=str(python))
    for name in ("cpu.model", "cpu.flags", "libc.version", "os.release", "limits.affinity", "memory.total"):
        assert old[name] == machine[name]
    assert captured("effect", python=str(python))["numpy.simd_found"]["status"] == "absent"


@pytest.mark.skipif(platform.system() != "Linux", reason="needs Linux's namespaces")
def test_without_proc_and_sys(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file system over /proc and /sys, in a mount namespace of this process's child."""
    hide = 'mount -t tmpfs none /proc && mount -t tmpfs none /sys && exec "$@"'
    prefix = ["unshare", "-rm", "sh", "-c", hide, "sh"]
    try:
        records = captured("machine", prefix=prefix)
        effect = captured("effect", before="import numpy", prefix=prefix)
    except (AssertionError, FileNotFoundError) as error:
        pytest.skip(f"no mount namespace here: {error}")
    statuses = {record["status"] for record in (records | effect).values() if "status" in record}
    assert statuses <= {"absent", "denied"}
    assert records["cpu.flags"]["value"]
    assert records["cpu.caches"]["reason"] == "no /sys/devices/system/cpu/cpu0/cache"
    assert effect["blas.kernel"]["value"]
    assert effect["libm.build_id"]["value"]
