"""The distribution's packages: dpkg's and apk's databases as they are written, and what of them a report may hold."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Records

from probes.environment import system_packages
from probes.environment.sources import databases
from probes.facts import Facts

SECRET = "qz7kanari"

DPKG = f"""\
Package: bash
Status: install ok installed
Version: 5.2.15-2+b7
Conffiles:
 /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d
Description: GNU Bourne Again SHell
 Package: libblas3
 Version: 9

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9+deb12u10

Package: libopenblas0-pthread
Status: deinstall ok config-files
Version: 0.3.21+ds-4

Package: libgomp1
Status: install ok half-configured
Version: 12.2.0-14+deb12u1

Package: {SECRET}-tools
Status: install ok installed
Version: 1.0+{SECRET}

Package: liblapack3
Status: hold ok installed
Version: 3.11.0-2+{SECRET}
"""

APK = f"""\
C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:musl
V:1.2.5-r0
A:x86_64
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755

P:openblas
V:0.3.28-r0

P:{SECRET}
V:3-r1
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any database yet."""
    for name in ("DPKG_STATUS", "DPKG_PARTS", "APK_INSTALLED"):
        monkeypatch.setattr(databases, name, str(tmp_path / name))
    return tmp_path


def captured() -> dict[str, Any]:
    facts = Facts()
    system_packages.capture(facts)
    return {name.removeprefix("system_packages."): record for name, record in facts.records.items()}


def versions(found: dict[str, Any]) -> dict[str, str]:
    return {name[: -len(".version")]: one["value"] for name, one in found.items() if name.endswith(".version")}


def test_dpkg(place: Path) -> None:
    (place / "DPKG_STATUS").write_text(DPKG)
    found = captured()
    assert found["count"]["value"] == 5
    assert versions(found) == {
        "libc6": "2.36-9+deb12u10",
        "libgomp1": "12.2.0-14+deb12u1",
        "liblapack3": "(not recorded)",
    }


def test_apk(place: Path) -> None:
    (place / "APK_INSTALLED").write_text(APK)
    found = captured()
    assert found["count"]["value"] == 3
    assert versions(found) == {"musl": "1.2.5-r0", "openblas": "0.3.28-r0"}


def test_a_file_a_package(place: Path) -> None:
    """As distroless images have it, with an empty database beside it."""
    (place / "DPKG_STATUS").write_text("")
    (place / "DPKG_PARTS").mkdir()
    for name, text in (
        ("libc6", "Package: libc6\nVersion: 2.36-9+deb12u10\n"),
        ("libgomp1", "Package: libgomp1\nVersion: 12.2.0-14"),
        ("libc6.md5sums", "0123  lib/libc.so.6\n\nPackage: libmpich12\nVersion: 1\n"),
    ):
        (place / "DPKG_PARTS" / name).write_text(text)
    found = captured()
    assert found["count"]["value"] == 2
    assert versions(found) == {"libc6": "2.36-9+deb12u10", "libgomp1": "12.2.0-14"}


def test_no_database_is_a_reason(place: Path) -> None:
    found = captured()
    assert found.keys() == {"count", "digest"}
    assert {one["status"] for one in found.values()} == {"absent"}
    assert {one["reason"] for one in found.values()} == {"no package database that is text (dpkg's, apk's)"}


@pytest.mark.parametrize("content", [b"", b"\0" * 999, b"Package: ", b"Package:", b"\n\n\n\n", b"Version: 1\n\n" * 9])
def test_a_damaged_database_is_a_reason_too(content: bytes, place: Path) -> None:
    (place / "DPKG_STATUS").write_bytes(content)
    found = captured()
    assert versions(found) == {}
    assert found["count"].get("value", 1) == 1


def test_a_private_package_moves_the_digest_and_is_named_nowhere(place: Path) -> None:
    (place / "DPKG_STATUS").write_text(DPKG)
    before = captured()
    assert SECRET not in json.dumps(before)
    (place / "DPKG_STATUS").write_text(DPKG.replace(f"1.0+{SECRET}", "1.1"))
    after = captured()
    assert before["digest"]["value"] != after["digest"]["value"]
    assert {name: one for name, one in before.items() if after[name] != one}.keys() == {"digest"}


def test_the_order_of_a_database_is_nothing(place: Path) -> None:
    (place / "DPKG_STATUS").write_text(DPKG)
    before = captured()
    (place / "DPKG_STATUS").write_text("\n".join(reversed(DPKG.split("\n\n"))).replace("\nPackage: ", "\n\nPackage: "))
    assert captured() == before


@pytest.mark.parametrize(
    ("name", "computes"),
    [
        ("libopenblas0-pthread", True), ("libopenblas64-0-openmp", True), ("openblas", True), ("libblas3", True),
        ("libopenblas0", False), ("libopenblas-dev", False), ("libblis4-serial", True), ("libmkl-rt", True),
        (f"libmkl-{SECRET}", False), ("libcudart12", True), ("libcudart11.0", True), ("cuda-cudart-12-4", True),
        ("libcublas-12-4", True), ("libcudnn9-cuda-12", True), ("libcudnn8", True), ("cuda-compat-12-4", True),
        ("libnvidia-compute-560", True), ("libcuda1", True), ("libnccl2", True), ("python3", True),
        ("python3.11-minimal", True), ("python3-numpy", True), (f"python3-{SECRET}", False), ("libgfortran5", True),
        ("libgfortran", True), ("libstdc++6", True), ("libstdc++-12-dev", False), ("libc6-dev", False),
        ("libc6\n", False), ("libfftw3-double3", True), ("bash", False),
    ],
)  # fmt: skip
def test_which_are_named(name: str, computes: bool) -> None:
    assert bool(system_packages._COMPUTES.fullmatch(name)) is computes


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="this system has no dpkg")
def test_this_machines_packages_are_those_that_dpkg_lists(machine: Records) -> None:
    form = "${Package} ${Version} ${db:Status-Status}\n"
    lines = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in lines.splitlines())
    listed = {name: version for name, version, state in rows if state not in ("config-files", "not-installed")}
    assert databases.packages(databases.local) == listed
    assert machine["system_packages.count"]["value"] == len(listed)
    assert machine["system_packages.digest"]["value"] == system_packages.digest(listed)
    assert machine["system_packages.libc6.version"]["value"] == listed["libc6"]


def test_a_large_database_is_read_in_no_time(place: Path) -> None:
    """A megabyte, as some thousand packages have it: a hundredth of a second here, and never a tenth."""
    stanza = "Package: p{0}\nStatus: install ok installed\nVersion: {0}\nDescription: x\n" + " word" * 150 + "\n\n"
    (place / "DPKG_STATUS").write_text("".join(stanza.format(n) for n in range(1200)))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert captured()["count"]["value"] == 1200
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1
