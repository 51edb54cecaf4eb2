"""What the files of an image tell without running it: for one with no Python, no shell, or of another architecture.

Files come from the engine as a tar stream. At most one file of a bounded size is held in memory, nothing is written to
a disk, and links are followed here, inside the image: a name that an image chose never reaches this machine's files.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import posixpath
import re
import shlex
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from audit.targets import engine
from audit.targets.target import Facts
from probes import environment
from probes.environment import system_packages
from probes.environment.sources import databases
from probes.facts import Absent
from probes.facts import Facts as Reading

if TYPE_CHECKING:
    from docker import DockerClient

SOURCE = "image, not run"

NO_PYTHON = "no Python in the image"

_SMALL, _LARGE = 1 << 20, databases.LARGEST
"""Bytes of a text file, and of a library or a package database, that are read at most."""

_LINKS = 16
"""As many links as are followed; the kernel follows 40."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_TRIPLES = (
    "x86_64-linux-gnu",
    "aarch64-linux-gnu",
    "arm-linux-gnueabihf",
    "riscv64-linux-gnu",
    "powerpc64le-linux-gnu",
)
_GLIBC = [f"{folder}/{triple}libc.so.6" for folder in _LIBRARIES for triple in ("", *(f"{one}/" for one in _TRIPLES))]
_MUSL = [
    f"/lib/ld-musl-{one}.so.1" for one in ("x86_64", "aarch64", "armhf", "armv7", "riscv64", "powerpc64le", "i386")
]
_GLIBC_VERSION = re.compile(rb"GNU C Library [^\n]{0,99}release version (\d+\.\d+)")
_MUSL_VERSION = re.compile(rb"\0(\d+\.\d+\.\d+[^\0]{0,16})\0")

_C_LIBRARIES = (("libc6", "glibc"), ("musl", "musl"))
"""The packages that bring them."""


def facts(client: DockerClient, container: str) -> Facts:
    """The facts that a container's files tell; every other fact of a machine is absent. It need never have run.

    Raises OSError if the engine goes away.
    """
    files = Files(client, container)
    found = Reading()
    release = found.read("os.release", SOURCE, lambda: _release(_fields(files)))
    if release is not None:
        found.read("os.variant", SOURCE, lambda: _variant(files))
    library = found.read("libc.name", SOURCE, lambda: _c_library(files))
    if library is None:
        found.records["libc.version"] = found.records["libc.name"]
    else:
        for name, value in zip(("libc.name", "libc.version"), library, strict=True):
            found.add(name, value, SOURCE)
    system_packages.record(found, files.database, SOURCE)
    if files.lost:
        raise files.lost
    for facet in environment.SCOPES["machine"]:
        for name in importlib.import_module(f"probes.environment.{facet}").NAMES:
            if name not in found.records:
                found.missing(name, "absent", NO_PYTHON)
    return {name: found.records[name] for name in sorted(found.records)}


def _fields(files: Files) -> dict[str, str]:
    """os-release, as the probe of a running system reads it."""
    try:
        text = files.first("/etc/os-release", "/usr/lib/os-release", limit=_SMALL).decode("utf-8", "replace")
    except FileNotFoundError:
        raise Absent("no os-release file in the image") from None
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): " ".join(shlex.split(value)) for key, _, value in pairs}


def _release(fields: dict[str, str]) -> str:
    version = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME") or fields.get("BUILD_ID", "")
    return f"{fields.get('ID', 'linux')} {version}".strip()


def _variant(files: Files) -> str:
    name, point = _fields(files).get("PRETTY_NAME", ""), ""
    with contextlib.suppress(FileNotFoundError):
        point = files.data("/etc/debian_version", _SMALL).decode("utf-8", "replace").strip()
    return f"{name} ({point})" if re.match(r"\d+\.\d+", point) else name


def _c_library(files: Files) -> tuple[str, str]:
    """Name and version, from the library itself, else from what its distribution's package manager says it installed.

    Raises Absent.
    """
    for name, paths, pattern in (("glibc", _GLIBC, _GLIBC_VERSION), ("musl", _MUSL, _MUSL_VERSION)):
        with contextlib.suppress(FileNotFoundError):
            if match := pattern.search(files.first(*paths, limit=_LARGE)):
                return name, match[1].decode("ascii", "replace")
    installed = databases.packages(files.database)
    for package, name in _C_LIBRARIES:
        if version := re.match(r"\d+(?:\.\d+)+", installed.get(package, "")):
            return name, version[0]
    raise Absent("no C library in the image")


class Files:
    """The files of a container, read one at a time. lost: the engine went away."""

    def __init__(self, client: DockerClient, container: str) -> None:
        self.client = client
        self.container = container
        self.lost: OSError | None = None

    def first(self, *paths: str, limit: int) -> bytes:
        """The content of the first file that is there. Raises FileNotFoundError, or what `data` raises."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                return self.data(path, limit)
        raise FileNotFoundError(paths[0])

    def data(self, path: str, limit: int, folder: bool = False) -> bytes:
        """The content of a file. Raises FileNotFoundError, tarfile.TarError; Absent for what is none or too large.

        folder: of a folder, the contents of its files, with an empty line between."""
        for _ in range(_LINKS):
            found = self._read(path, limit, folder)
            if isinstance(found, bytes):
                return found
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), found))
        raise Absent("too many links")

    def database(self, path: str) -> bytes:
        """A package database, as `databases.packages` has it read. Raises what `data` raises."""
        return self.data(path, _LARGE, folder=True)

    def _read(self, path: str, limit: int, folder: bool) -> bytes | str:
        """The content of a file, or where a link leads to."""
        if self.lost:
            raise self.lost
        try:
            with engine.get(self.client, f"/containers/{self.container}/archive", {"path": path}) as answer:
                return _content(_Bounded(answer.iter_content(1 << 16), limit + _SMALL), limit, folder)
        except OSError as error:
            if engine.refused(error) and "No such container" not in str(error):
                raise FileNotFoundError(path) from None
            if not isinstance(error, tarfile.TarError):
                self.lost = error
            raise


def _content(stream: Any, limit: int, folder: bool) -> bytes | str:
    """The first entry of a tar stream: its content, or where it leads to; of a folder what is in it. No name is
    looked at."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        member = archive.next()
        if member is None:
            raise FileNotFoundError
        if member.issym() or member.islnk():
            return member.linkname
        if folder and member.isdir():
            return b"\n\n".join(_file(archive, one, limit) for one in archive if one.isreg())
        return _file(archive, member, limit)


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        raise Absent("no file, but a folder or a device")
    if member.size > limit:
        raise Absent(f"larger than {limit >> 20} MiB")
    return content.read(limit)


class _Bounded(io.RawIOBase):
    """A stream of chunks as a file that ends with an error after so many bytes: a tar's headers may claim any size."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._left = limit
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
            self._left -= len(self._rest)
            if self._left < 0:
                raise tarfile.ReadError("more than was asked for")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
