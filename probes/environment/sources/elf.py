"""What an ELF file says about itself: build-id, soname, needed libraries. Read with struct, a few kB a file.

Source: System V ABI (ELF header, program headers, dynamic section), and the GNU build-id note (type 3, owner GNU).
pyelftools would do it too, but this must run with nothing installed.
"""

import hashlib
import mmap
import os
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypeVar

from ...facts import Absent

DIGEST_LIMIT = 64 << 20
"""Bytes; a larger file without a build-id gets no digest (434 MB of libtorch cost 0.7 s)."""

_T = TypeVar("_T")
_LOAD, _DYNAMIC, _NOTE = 1, 2, 4
_NEEDED, _STRTAB, _SONAME = 1, 5, 14
_BUILD_ID = 3


class Elf(NamedTuple):
    """build_id: lower-case hexadecimal or None. soname: None for a program. needed: DT_NEEDED in file order."""

    build_id: Optional[str]
    soname: Optional[str]
    needed: Tuple[str, ...]


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


def read(path: str) -> Elf:
    """Raises Absent where `path` is no ELF file or a damaged one, OSError where it cannot be read."""
    return _with_content(path, _parse)


def identity(path: str) -> str:
    """The text "build-id HEX" of an ELF file, or "sha256 HEX" (over the whole file, first 64 bits) where it has none.

    SHA-256, because OpenBLAS's 25 MB take 15 ms where the processor helps and BLAKE2b takes 40. Raises Absent where
    the file is too large for a digest or no ELF file, OSError.
    """
    return _with_content(path, _identity)


def _with_content(path: str, function: Callable[[mmap.mmap], _T]) -> _T:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < 64:
            raise Absent("not an ELF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return function(data)
            except (struct.error, IndexError, ValueError, UnicodeDecodeError):
                raise Absent("a damaged ELF file") from None


def _identity(data: mmap.mmap) -> str:
    build_id = _parse(data).build_id
    if build_id:
        return "build-id " + build_id
    if len(data) > DIGEST_LIMIT:
        raise Absent("no build-id, and larger than {} MiB".format(DIGEST_LIMIT >> 20))
    return "sha256 " + hashlib.sha256(data).hexdigest()[:16]


def _parse(data: mmap.mmap) -> Elf:
    if data[:4] != b"\x7fELF":
        raise Absent("not an ELF file")
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    segments = list(_segments(data, wide, order))
    build_id = None
    for segment in segments:
        if segment.kind == _NOTE and build_id is None:
            build_id = _build_id(data, segment, order)
    soname, needed = _dynamic(data, segments, wide, order)
    return Elf(build_id, soname, needed)


def _segments(data: mmap.mmap, wide: bool, order: str) -> Iterator[_Segment]:
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    entry_size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    for index in range(count):
        at = start + index * entry_size
        if wide:
            kind, _, offset, address, _, size = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, size = struct.unpack_from(order + "IIIII", data, at)
        yield _Segment(kind, offset, address, size)


def _build_id(data: mmap.mmap, segment: _Segment, order: str) -> Optional[str]:
    at, end = segment.offset, segment.offset + segment.size
    while at + 12 <= end:
        name_size, size, kind = struct.unpack_from(order + "III", data, at)
        name_at = at + 12
        content_at = name_at + (name_size + 3) // 4 * 4
        if kind == _BUILD_ID and data[name_at : name_at + 4] == b"GNU\0":
            return data[content_at : content_at + size].hex()
        at = content_at + (size + 3) // 4 * 4
    return None


def _dynamic(
    data: mmap.mmap, segments: List[_Segment], wide: bool, order: str
) -> Tuple[Optional[str], Tuple[str, ...]]:
    entry = struct.Struct(order + ("QQ" if wide else "II"))
    values: Dict[int, List[int]] = {}
    for segment in segments:
        if segment.kind != _DYNAMIC:
            continue
        for at in range(segment.offset, segment.offset + segment.size - entry.size + 1, entry.size):
            tag, value = entry.unpack_from(data, at)
            if tag == 0:
                break
            values.setdefault(tag, []).append(value)
    if _STRTAB not in values:
        return None, ()
    strings = _file_offset(segments, values[_STRTAB][0])
    needed = tuple(_string(data, strings + offset) for offset in values.get(_NEEDED, []))
    soname = _string(data, strings + values[_SONAME][0]) if _SONAME in values else None
    return soname, needed


def _file_offset(segments: List[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise ValueError("an address outside the file")


def _string(data: mmap.mmap, at: int) -> str:
    end = data.find(b"\0", at)
    if at < 0 or end < 0:
        raise ValueError("a string outside the file")
    return data[at:end].decode("utf-8")
