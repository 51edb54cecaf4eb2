"""SIF files: what is read of one without running it, and what a runtime lets into it. The files are made here, byte by
byte as the format has it; what runs them is a stand-in, since Apptainer is not to be had where this is tested.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.targets import sif
from audit.targets.target import Facts
from reports import codec

DEFINITION = """Bootstrap: docker
From: ubuntu:22.04
Stage: build

%files
    /home/qz7kanari/model /model

%environment
    export OMP_NUM_THREADS=4
    export TOKEN=qz7kanari
    TZ="UTC"

%post
    apt-get update && apt-get install -y python3 libopenblas0=0.3.20
    pip install --index-url https://me:qz7kanari@host/simple numpy==2.3.5 \\
        torch

%runscript
    exec python3 /home/qz7kanari/train.py
"""
LABELS = {
    "org.label-schema.build-date": "Monday_1_January_2024_1:2:3_UTC",
    "org.label-schema.usage.apptainer.version": "1.2.5-1.fc39",
    "org.label-schema.usage.singularity.deffile.from": "ubuntu:22.04",
    "author": "qz7kanari",
}
SQUASHFS = struct.pack("<4sIIIIHHHHHHQQ", b"hsqs", 3, 0, 131072, 0, 1, 17, 0, 1, 4, 0, 0, 96) + bytes(range(256)) * 40

Content = tuple[int, bytes, bytes]
"""A part of a file: its kind, its data, and what only its kind has."""


def file_system(data: bytes = SQUASHFS, machine: bytes = b"02", kind: int = 1, role: int = 2) -> Content:
    return 0x4004, data, struct.pack("<ii3s", kind, role, machine)


def text(kind: int, content: str) -> Content:
    return kind, content.encode(), b""


PARTS = (text(0x4001, DEFINITION), text(0x4003, json.dumps(LABELS)), file_system())


def write(
    path: Path,
    parts: tuple[Content, ...] = PARTS,
    when: int = 1_700_000_000,
    first: int = 32768,
    machine: bytes = b"02",
) -> str:
    """A SIF file with these parts. when, first: when it was made and where its first part lies."""
    table, data = b"", b""
    for number, (kind, content, extra) in enumerate(parts, 1):
        place = (first + len(data), len(content), len(content), when, when, 1000, 1000)
        table += struct.pack("<i?III7q128s384s", kind, True, number, 0xF0000001, 0, *place, b"part", extra)
        data += content
    table += bytes(585 * (48 - len(parts)))
    counts = (48 - len(parts), 48, 4096, len(table), first, len(data))
    launch, magic = b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC"
    head = struct.pack("<32s10s3s3s16s8q", launch, magic, b"01", machine, os.urandom(16), when, when, *counts)
    path.write_bytes((head.ljust(4096, b"\0") + table).ljust(first, b"\0") + data)
    return str(path)


def told(path: str, captured: dict[str, Any] | None = None, prefix: str = "apptainer exec") -> Facts:
    facts = {name: {"value": value, "source": "test"} for name, value in (captured or {}).items()}
    return sif.Outside(path, [*prefix.split(), path])({"facts": facts}, lambda words, done, total: None)


def values(facts: Facts) -> dict[str, Any]:
    return {name: fact.get("value", fact.get("reason")) for name, fact in facts.items()}


def test_what_a_file_tells(tmp_path: Path) -> None:
    facts = told(write(tmp_path / "x.sif"))
    found = values(facts)
    assert set(facts) == sif.NAMES
    assert found["image.store"] == "SIF: squashfs"
    assert found["image.platform"] == "linux/amd64"
    assert found["image.emulated"] is (os.uname().machine != "x86_64")
    assert found["image.recipe"] == [
        "FROM ubuntu:22.04",
        "COPY (not recorded)",
        "ENV OMP_NUM_THREADS=4 TZ=UTC",
        "RUN apt-get install python3 libopenblas0=0.3.20; pip install numpy==2.3.5 torch",
    ]
    assert found["image.unpinned"] == [
        "FROM ubuntu:22.04: no digest",
        "apt-get install python3: no version",
        "pip install torch: no version",
    ]
    assert found["image.env"] == ["OMP_NUM_THREADS=4", "TZ=UTC"]
    assert found["image.builder"] == "apptainer 1.2.5"
    assert len(found["image.layers"]) == 1
    assert "qz7kanari" not in json.dumps(facts)


def test_the_identity_is_of_the_contents_and_not_of_the_making(tmp_path: Path) -> None:
    one = values(told(write(tmp_path / "1.sif")))
    same = values(told(write(tmp_path / "2.sif", when=1, first=65536)))
    other = values(told(write(tmp_path / "3.sif", (*PARTS[:2], file_system(SQUASHFS[:-1] + b"\0")))))
    recipe = values(told(write(tmp_path / "4.sif", (text(0x4001, "Bootstrap: docker\nFrom: debian:12\n"), *PARTS[1:]))))
    assert (one["image.id"], one["image.layers"]) == (same["image.id"], same["image.layers"])
    assert (one["image.id"] == other["image.id"], one["image.layers"] == other["image.layers"]) == (False, False)
    assert (one["image.id"] == recipe["image.id"], one["image.layers"] == recipe["image.layers"]) == (False, True)


def test_a_file_of_gigabytes_is_sampled(tmp_path: Path) -> None:
    """A file with holes: reading it whole would take seconds. What differs at its end is seen."""
    path = tmp_path / "x.sif"
    write(path)
    size = 8 << 30
    with path.open("r+b") as file:
        file.seek(4096 + 2 * 585 + 17 + 8)
        file.write(struct.pack("<qq", size, size))
        file.truncate((1 << 20) + size)
    began = time.perf_counter()
    before = values(told(str(path)))["image.id"]
    assert time.perf_counter() - began < 1
    at = sif.Sif(str(path)).parts[2].offset + size - 10
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    assert values(told(str(path)))["image.id"] != before


def test_other_kinds_of_files(tmp_path: Path) -> None:
    overlay = file_system(b"overlay", kind=2, role=4)
    found = values(told(write(tmp_path / "1.sif", (overlay, file_system(machine=b"04", kind=5)), machine=b"00")))
    assert (found["image.store"], found["image.platform"]) == ("SIF: encrypted squashfs, ext3", "linux/arm64")
    assert len(found["image.layers"]) == 2
    assert found["image.recipe"] == found["image.unpinned"] == "no definition file is in it"
    assert found["image.builder"] == "its labels do not say"
    pulled = values(told(write(tmp_path / "2.sif", (PARTS[1],), machine=b"04")))
    assert (pulled["image.recipe"], pulled["image.platform"]) == (["FROM ubuntu:22.04"], "linux/arm64")
    stages = (
        "Bootstrap: localimage\nFrom: /home/qz7kanari/b.sif\n%post\npip install six\nBootstrap: docker\nFrom: a/b\n"
    )
    found = values(told(write(tmp_path / "3.sif", (text(0x4001, stages),))))
    assert found["image.recipe"] == ["FROM (another image)", "RUN pip install six", "FROM (another image)"]


def _damaged(change: Callable[[bytearray], None]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        data = bytearray(Path(write(Path(folder) / "x.sif")).read_bytes())
    change(data)
    return bytes(data)


def _put(form: str, at: int, *numbers: int) -> bytes:
    return _damaged(lambda data: struct.pack_into(form, data, at, *numbers))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no SIF file"),
        (b"hsqs" + bytes(400), "it is no SIF file"),
        (_put("<q", 88, 1 << 40), "its table of parts is damaged"),
        (_put("<q", 88, -1), "its table of parts is damaged"),
        (_put("<q", 96, -1), "its table of parts is damaged"),
        (_put("<q", 96, 1 << 62), ""),
        (_put("<q", 4096 + 17, 1 << 62), ""),
        (_put("<q", 4096 + 17 + 8, 1 << 62), ""),
        (_put("<qq", 4096 + 17, -5, -5), ""),
        (_damaged(lambda data: data.__delitem__(slice(4100, None))), ""),
        (_damaged(lambda data: data.__setitem__(slice(32768, 33768), os.urandom(1000))), ""),
    ],
    ids=["empty", "squashfs", "many", "negative", "before", "behind", "far", "long", "parts-before", "short", "noise"],
)
def test_a_damaged_file_costs_its_own_facts(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sif"
    path.write_bytes(content)
    began = time.perf_counter()
    facts = told(str(path))
    assert time.perf_counter() - began < 2
    assert facts["container.runtime"]["value"] == "apptainer"
    if why:
        assert facts["image.id"] == {"status": "absent", "reason": why}
    assert all("value" in fact or fact["reason"] for fact in facts.values())
    json.dumps(facts)


# -- what is let in ---------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("APPTAINER_", "SINGULARITY_")):
            monkeypatch.delenv(name)
    for name in ("leaky-1.0", "Other.Name-2.0", "elsewhere-3.0"):
        (tmp_path / f"home/.local/lib/python3.11/site-packages/{name}.dist-info").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


INSIDE = {
    "python.version": "3.11.2",
    "python.user_site": True,
    "packages.leaky.version": "1.0",
    "packages.other-name.version": "2.0",
    "packages.elsewhere.version": "3.1",
    "variables.OMP_NUM_THREADS": "3",
    "variables.TZ": "UTC",
}


def test_what_the_home_folder_and_the_environment_bring(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    found = values(told(write(tmp_path / "x.sif"), INSIDE, "singularity exec --nv"))
    assert found["container.home"] is True
    assert found["container.user_packages"] == ["leaky 1.0", "other-name 2.0"]
    assert found["container.inherited"] == ["OMP_NUM_THREADS=3"]
    assert (found["container.runtime"], found["container.gpu"]) == ("singularity", True)
    assert values(told(str(tmp_path / "x.sif"), {**INSIDE, "python.user_site": False}))["container.user_packages"] == []


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("APPTAINER_NO_HOME", "1", False),
        ("APPTAINER_CONTAINALL", "true", False),
        ("SINGULARITY_CONTAIN", "TRUE", False),
        ("APPTAINER_NO_MOUNT", "tmp,home", False),
        ("APPTAINER_NO_MOUNT", "tmp", True),
        ("APPTAINER_CONTAIN", "0", True),
    ],
)
def test_a_home_folder_that_is_kept_out(
    name: str, value: str, bound: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    found = values(told(write(tmp_path / "x.sif"), INSIDE))
    assert (found["container.home"], bool(found["container.user_packages"])) == (bound, bound)


def test_a_home_folder_that_the_configuration_keeps_out(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc/apptainer").mkdir(parents=True)
    (tmp_path / "bin/apptainer").touch()
    (tmp_path / "etc/apptainer/apptainer.conf").write_text("# mount home = yes\nmount proc = yes\nmount home = no\n")
    assert values(told(write(tmp_path / "x.sif"), INSIDE, f"{tmp_path}/bin/apptainer exec"))["container.home"] is False


RUNTIME = """#!/bin/sh
# A stand-in for `apptainer exec FILE.sif python3 ...`, without any container around it.
while [ "$1" != python3 ]; do shift; done
shift
exec "$PYTHON" "$@"
"""
FATAL = '#!/bin/sh\necho "FATAL:   could not open image: exec format error" >&2\nexit 255\n'


@pytest.mark.parametrize(("program", "status"), [(RUNTIME, 0), (FATAL, 3)], ids=["runs", "fails"])
def test_a_report_has_it(program: str, status: int, home: Path, tmp_path: Path) -> None:
    """What is known without running it is there, too, where it cannot be run."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apptainer").write_text(program)
    (tmp_path / "bin/apptainer").chmod(0o755)
    file, path = tmp_path / "r.json", write(tmp_path / "x.sif")
    done = subprocess.run(
        [sys.executable, "-m", "audit", "run", "--quiet", "--job", "none", "-o", str(file), "--container", path],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHON": sys.executable},
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (status, bool(status)), done.stderr
    assert ("exec format error" in done.stderr) == bool(status)
    target = codec.read(str(file))[0].targets[1]
    assert (target.name, target.via) == ("x.sif", "apptainer")
    assert target.facts["image.platform"].value == "linux/amd64"
    assert target.facts["container.home"].value is True
    assert bool(target.incomplete) == bool(status)
