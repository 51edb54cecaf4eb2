"""An image as its engine exports it, read as a stream: which files of interest each layer has. Nothing is unpacked.

The archive comes from elsewhere. Only headers are looked at; sizes, names and numbers of members are limited, and a
name leads nowhere: it is compared with what is looked for, and never opened. The standard library's tarfile would read
an extended header whole into memory, of whatever size it says it is, and keep every member; files of a size that is
known beforehand are read with it (`still`).
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOST_BYTES = 8 << 30
"""Of an image, unpacked. An export of so much takes minutes."""

MOST_MEMBERS = 5_000_000
MOST_KEPT = 100_000
"""Files of interest and removals of one layer."""

MOST_DOCUMENTS = 1000
"""Layers of an archive (engines take 127), and the documents that describe them."""

_BLOCK = 512
_CHUNK = 1 << 20
_MOST_NAMES = 1 << 16
_MOST_DOCUMENT = 1 << 20
_FILES = (b"0", b"\0", b"1", b"7")
_EXTENDED = (b"L", b"K", b"x")
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

Read = Callable[[int], bytes]
"""At most so many bytes of a stream, b"" at its end."""


class Unreadable(Exception):
    """The archive is none, or goes beyond a limit; the message says which."""


@dataclass
class Layer:
    """What one layer has: keys of files of interest by path, and paths that it removes from the layers below."""

    files: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)

    def add(self, path: str, is_file: bool, key: Callable[[str], str]) -> None:
        """A member of the layer. Raises Unreadable if there are too many."""
        folder, base = posixpath.split(path)
        if base == ".wh..wh..opq":
            self.emptied.add(folder)
        elif base.startswith(".wh."):
            self.removed.add(posixpath.join(folder, base[len(".wh.") :]))
        elif is_file and (found := key(path)):
            self.files[path] = found
        if len(self.files) + len(self.removed) + len(self.emptied) > MOST_KEPT:
            raise Unreadable(f"a layer removes more than {MOST_KEPT:,} files")

    def hides(self, path: str) -> bool:
        """Whether this layer removes a path of the layers below."""
        if path in self.removed:
            return True
        while path:
            path = posixpath.dirname(path)
            if path in self.removed or path in self.emptied:
                return True
        return False


class Archive:
    """The layers of an exported image. key: what a path in it is of interest as, or ""."""

    def __init__(self, read: Read, key: Callable[[str], str]) -> None:
        """Raises Unreadable, or what `read` raises."""
        self.key = key
        self.members = 0
        self.unpacked = 0
        self.layers: dict[str, Layer] = {}
        self.documents: dict[str, Any] = {}
        self.links: dict[str, str] = {}
        for member in self._members(read):
            self._take(member)

    def image(self, digests: list[str]) -> tuple[list[Layer], dict[str, Any]]:
        """The layers, lowest first, and the configuration of the image that has these (unpacked) layers' digests.

        An archive can hold an image for several platforms. Raises Unreadable.
        """
        for config_name, names in self._manifests():
            config = self.documents.get(config_name)
            if not isinstance(config, dict) or _part(config, "rootfs").get("diff_ids") != digests:
                continue
            found = [self.layers.get(self._resolved(name)) for name in names]
            layers = [layer for layer in found if layer is not None]
            if len(layers) == len(found) == len(digests):
                return layers, config
        raise Unreadable("the export does not hold all layers of the image")

    def _manifests(self) -> Iterator[tuple[str, list[str]]]:
        """The configuration's and the layers' names of each image: as Docker lists them, and as OCI does."""
        listed = self.documents.get("manifest.json")
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("Layers"), list):
                yield str(entry.get("Config")), list(map(str, entry["Layers"]))
        for document in self.documents.values():
            if isinstance(document, dict) and isinstance(document.get("layers"), list):
                layers = [part for part in document["layers"] if isinstance(part, dict)]
                yield _blob(_part(document, "config")), list(map(_blob, layers))

    def _resolved(self, name: str) -> str:
        """A layer that another one equals is a link to it."""
        return self.links.get(name, name)

    def _take(self, member: Member) -> None:
        """A member of the archive: a layer, a document, or a link to a layer that equals another one."""
        if member.kind in (b"1", b"2"):
            folder = posixpath.dirname(member.name) if member.kind == b"2" else ""
            self._put(self.links, member.name, posixpath.normpath(posixpath.join(folder, member.link)))
            return
        head = _exactly(member.content.read, min(_BLOCK, member.content.left))
        whole = _Joined(head, member.content.read).read
        if head.startswith(_ZSTD):
            raise Unreadable("its layers are packed with zstd")
        if head.startswith(_GZIP):
            self._put(self.layers, member.name, self._layer(_Unpacked(whole).read))
        elif head[257:262] == b"ustar" or (len(head) == _BLOCK and not any(head)):
            self._put(self.layers, member.name, self._layer(whole))
        elif head[:1] in (b"{", b"[") and member.content.left <= _MOST_DOCUMENT:
            with contextlib.suppress(ValueError, RecursionError):  # some other file that begins so
                content = head + _exactly(member.content.read, member.content.left)
                self._put(self.documents, member.name, json.loads(content))

    def _put(self, where: dict[str, Any], name: str, what: Any) -> None:
        if len(where) >= MOST_DOCUMENTS:
            raise Unreadable(f"more than {MOST_DOCUMENTS:,} layers or documents")
        where[name] = what

    def _layer(self, read: Read) -> Layer:
        layer = Layer()
        for member in self._members(read):
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if ".." not in parts:
                layer.add("/".join(parts), member.kind in _FILES, self.key)
        return layer

    def _members(self, read: Read) -> Iterator[Member]:
        """The members of a tar archive; what a caller leaves of a member's content is passed over.

        Source: POSIX.1-2017, pax, ustar interchange format; GNU tar manual, basic tar format.
        """
        long: dict[str, str] = {}
        while any(header := _exactly(read, _BLOCK, or_nothing=True)):
            member = _member(header, read, long)
            self._count(member.content.left)
            padding = -member.content.left % _BLOCK
            if member.kind in _EXTENDED:
                size = member.content.left
                long |= _extended(member.kind, _exactly(member.content.read, size) if size <= _MOST_NAMES else b"")
            elif member.kind != b"g":
                yield member
                long = {}
            member.content.skip()
            Content(read, padding).skip()

    def _count(self, size: int) -> None:
        self.members += 1
        self.unpacked += size
        if self.members > MOST_MEMBERS:
            raise Unreadable(f"more than {MOST_MEMBERS:,} files")
        if self.unpacked > 2 * MOST_BYTES:  # a layer counts as a member, and so does each file in it
            raise Unreadable(f"more than {MOST_BYTES >> 30} GB")


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _blob(descriptor: dict[str, Any]) -> str:
    """Where an OCI layout has what a descriptor names."""
    return "blobs/" + str(descriptor.get("digest")).replace(":", "/")


# -- tar --------------------------------------------------------------------------------------------------------------


class Content:
    """A member's content: read in order, and no further than its end."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.left = size

    def read(self, most: int) -> bytes:
        data = self._read(min(most, self.left)) if self.left else b""
        self.left -= len(data)
        return data

    def skip(self) -> None:
        while self.left:
            if not self.read(_CHUNK):
                raise Unreadable("it ends too early")


class Member(NamedTuple):
    name: str
    kind: bytes
    link: str
    content: Content


def _member(header: bytes, read: Read, long: dict[str, str]) -> Member:
    """A header's member. long: what an extended header in front of it says. Raises Unreadable for what is no header."""
    kind = header[156:157]
    if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise Unreadable("it is no tar archive")
    size = _number(header[124:136])
    if kind not in _EXTENDED and long.get("size", "").isdecimal():
        size = int(long["size"])
    if not 0 <= size <= MOST_BYTES:
        raise Unreadable(f"a file of more than {MOST_BYTES >> 30} GB")
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        name = f"{_text(header[345:500])}/{name}"
    content = Content(read, 0 if kind in _WITHOUT_CONTENT else size)
    return Member(long.get("path", name), kind, long.get("linkpath", _text(header[157:257])), content)


def _number(field: bytes) -> int:
    """Octal digits, or binary where the first bit is set. Raises Unreadable."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise Unreadable("it is no tar archive") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _extended(kind: bytes, content: bytes) -> dict[str, str]:
    """What an extended header says: GNU's has one long name, POSIX's records of the form "LENGTH KEY=VALUE\\n"."""
    if kind in b"LK":
        return {"path" if kind == b"L" else "linkpath": _text(content)} if content else {}
    said = {}
    while content:
        length, space, _ = content[:12].partition(b" ")
        if not (space and length.isdigit() and len(length) < int(length) <= len(content)):
            raise Unreadable("it is no tar archive")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            said[key.decode()] = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return said


def _exactly(read: Read, size: int, or_nothing: bool = False) -> bytes:
    """`size` bytes. Raises Unreadable if there are fewer; with `or_nothing` there may be none."""
    parts, left = [], size
    while left:
        data = read(left)
        if not data:
            if or_nothing and left == size:
                return b""
            raise Unreadable("it ends too early")
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


class _Joined:
    """What was read to see what it is, and the rest behind it."""

    def __init__(self, head: bytes, read: Read) -> None:
        self._head = head
        self._read = read

    def read(self, most: int) -> bytes:
        data, self._head = self._head[:most], self._head[most:]
        return data or self._read(most)


class _Unpacked:
    """A gzip stream unpacked as it is read, so that what packs a thousandfold takes no memory."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._packed = b""

    def read(self, most: int) -> bytes:
        while True:
            self._packed = self._packed or self._read(_CHUNK)
            if not self._packed:
                return b""
            if self._unpack.eof:  # several streams, one behind the other, are one
                self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                data = self._unpack.decompress(self._packed, most)
            except zlib.error:
                raise Unreadable("a layer is packed wrongly") from None
            self._packed = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
            if data:
                return data
