"""Mapped libraries: one name on every machine, an identity from the file itself, an owner from the databases."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Records

from probes.environment import libraries
from probes.environment.sources import databases, elf, mapped, owners
from probes.facts import Absent

SITE = "/opt/env/lib/python3.11/site-packages/"


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        (SITE + "numpy.libs/libscipy_openblas64_-32a4b2a6.so", "libscipy_openblas64_", None),
        (SITE + "numpy.libs/libgfortran-040039e1-0352e75f.so.5.0.0", "libgfortran", "5.0.0"),
        (SITE + "torch/lib/libgomp-a34b3233.so.1", "libgomp", None),
        (SITE + "numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", "numpy._core._multiarray_umath", None),
        (SITE + "msgspec/_core.abi3.so", "msgspec._core", None),
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "libstdc++", "6.0.30"),
        ("/usr/lib/x86_64-linux-gnu/libm.so.6", "libm", None),
        ("/lib/x86_64-linux-gnu/libm-2.31.so", "libm", "2.31"),
        ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld", None),
        ("/usr/lib/libpython3.13t.so.1.0", "libpython", "3.13t"),
        ("/usr/lib/python3.11/lib-dynload/math.cpython-311-x86_64-linux-gnu.so", "math", None),
        ("/usr/bin/python3.11", "python", None),
    ],
)
def test_a_library_has_one_name_on_every_machine(path: str, name: str, version: str | None) -> None:
    assert (mapped.name(path), mapped.version(path)) == (name, version)


MAPS = """\
55d0-55d1 r-xp 00000000 fe:00 1 /opt/x/lib/libblas.so.3.11.0
55d1-55d2 r--p 00001000 fe:00 1 /opt/x/lib/libblas.so.3.11.0
55d2-55d3 r--p 00000000 fe:00 2 /usr/lib/locale/locale-archive
55d3-55d4 r-xp 00000000 00:00 0 [vdso]
55d4-55d5 rw-p 00000000 00:00 0
55d5-55d6 r-xp 00000000 fe:00 3 /tmp/gone.so (deleted)
55d6-55d7 r--p 00000000 fe:00 4 /opt/a b/libblas.so.3
"""


def test_only_code_and_each_file_once() -> None:
    assert mapped.paths(MAPS) == ["/opt/a b/libblas.so.3", "/opt/x/lib/libblas.so.3.11.0"]
    assert list(mapped.by_name(MAPS)) == ["libblas", "libblas@2"]


def test_the_loader_lists_what_proc_lists() -> None:
    libraries_of = {path for path in mapped.paths() if ".so" in path}
    assert libraries_of == {path for path in filter(mapped._is_code, mapped._loaded()) if ".so" in path}


def test_the_interpreters_own_modules_are_left_out_except_those_that_compute(effect: Records) -> None:
    assert not libraries._wanted("_json", "/x/lib-dynload/_json.so")
    assert libraries._wanted("math", "/x/lib-dynload/math.so")
    assert "libraries.numpy._core._multiarray_umath.build_id" in effect
    assert effect["libraries.libc.build_id"]["value"]


def test_identity_of_an_elf_file(compiled: Callable[..., Path]) -> None:
    source = "int f(void) { return 1; }"
    noted = compiled(
        "libx.so.1", source, "-Wl,--build-id=0xabcdef0123", "-Wl,-soname,libx.so.1", "-lm", "-Wl,--no-as-needed"
    )
    assert elf.identity(str(noted)) == "build-id abcdef0123"
    assert elf.read(str(noted)).soname == "libx.so.1"
    bare = compiled("liby.so", source, "-Wl,--build-id=none")
    assert elf.identity(str(bare)) == "sha256 " + hashlib.sha256(bare.read_bytes()).hexdigest()[:16]
    assert elf.read(str(bare)).soname is None


def test_needed_libraries_agree_with_readelf(effect: Records) -> None:
    import numpy

    (path,) = Path(numpy.__file__).parent.glob("_core/_multiarray_umath.*.so")
    try:
        shown = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no readelf")
    expected = [line.split("[")[1].rstrip("]") for line in shown.splitlines() if "(NEEDED)" in line]
    assert list(elf.read(str(path)).needed) == expected


@pytest.mark.parametrize("content", [b"", b"MZ" * 100, b"\x7fELF" + b"\xff" * 200, b"\x7fELF\x02\x01" + b"\0" * 200])
def test_a_damaged_file_costs_a_reason(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.so"
    file.write_bytes(content)
    try:
        assert elf.identity(str(file)).startswith("sha256")
    except Absent as error:
        assert str(error) in ("not an ELF file", "a damaged ELF file")  # noqa: PT017 - either outcome is right


def test_a_large_file_without_a_build_id_has_a_reason(
    compiled: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = compiled("libz.so", "int f(void) { return 1; }", "-Wl,--build-id=none")
    monkeypatch.setattr(elf, "DIGEST_LIMIT", 100)
    with pytest.raises(Absent, match="larger than"):
        elf.identity(str(bare))


# -- owners -----------------------------------------------------------------------------------------------------------


def test_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "info"
    info.mkdir()
    (info / "libc6:amd64.list").write_text("/.\n/lib\n/lib/x86_64-linux-gnu/libm.so.6\n")
    (info / "strange-name.list").write_text("/usr/lib/x86_64-linux-gnu/libodd.so.1.0\n")
    (info / "libm-other.list").write_text("/usr/share/libm.so.6.txt\n")
    stanzas = (
        "Package: libc6-dev\nVersion: 9",
        "Package: libc6\nStatus: ok\nVersion: 2.36-9",
        "Package: strange-name\nVersion: 1",
    )
    (tmp_path / "status").write_text("\n\n".join(stanzas) + "\n")
    monkeypatch.setattr(owners, "DPKG_INFO", str(info))
    monkeypatch.setattr(databases, "DPKG_STATUS", str(tmp_path / "status"))
    folder = "/usr/lib/x86_64-linux-gnu/"
    found = owners.of_system(
        [folder + "libm.so.6", folder + "libodd.so.1.0", folder + "libnobody.so.1", "/opt/libm.so.6"]
    )
    assert found == {folder + "libm.so.6": "libc6 2.36-9", folder + "libodd.so.1.0": "strange-name 1"}


def test_apk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "installed"
    database.write_text(
        "P:musl\nV:1.2.5-r0\nF:lib\nR:ld-musl-x86_64.so.1\nZ:x\n\nP:zlib\nV:1.3\nF:usr/lib\nR:libz.so.1.3\n\n"
    )
    monkeypatch.setattr(databases, "DPKG_STATUS", str(tmp_path / "none"))
    monkeypatch.setattr(databases, "APK_INSTALLED", str(database))
    found = owners.of_system(["/lib/ld-musl-x86_64.so.1", "/usr/lib/libz.so.1.3", "/usr/lib/libx.so"])
    assert found == {"/lib/ld-musl-x86_64.so.1": "musl 1.2.5-r0", "/usr/lib/libz.so.1.3": "zlib 1.3"}


def test_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DPKG_STATUS", "APK_INSTALLED"):
        monkeypatch.setattr(databases, name, str(tmp_path / "none"))
    monkeypatch.setattr(owners, "RPM_FOLDERS", ())
    with pytest.raises(Absent, match="no package database"):
        owners.of_system([])


def test_wheels_by_folder_and_by_record(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    for info in ("numpy-2.4.6.dist-info", "pillow-11.0.dist-info"):
        (site / info).mkdir(parents=True)
    (site / "pillow-11.0.dist-info" / "RECORD").write_text("PIL/_imaging.so,sha256=x,1\n")
    paths = {name: f"{site}/{name}" for name in ("numpy.libs/libx.so", "numpy/a.so", "PIL/_imaging.so", "other/b.so")}
    found = owners.of_wheels([*paths.values(), "/usr/lib/libm.so.6"])
    assert {name: found.get(path) for name, path in paths.items()} == {
        "numpy.libs/libx.so": "numpy 2.4.6",
        "numpy/a.so": "numpy 2.4.6",
        "PIL/_imaging.so": "pillow 11.0",
        "other/b.so": None,
    }
