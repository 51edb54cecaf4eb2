"""From a path to bytes, and from bytes to a tree of JSON, within the memory and the time that a report may take."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import zlib
from typing import Any

LIMIT = 256 << 20
"""Largest file that is read, in bytes after decompression."""

MOST_VALUES = 1_000_000
"""JSON values in one file; the report of an ordinary machine has 17,000. What is small as text can be large in memory:
`[]` has 2 bytes there and 64 here. Files of at most `FREELY` bytes need no count."""

FREELY = 4 << 20

MOST_DIGITS = 40
WHOLE = range(-(1 << 63), 1 << 64)
"""Digits of a number (Python takes time that grows with the square of them), and the whole ones, which have 64 bits."""

AGAIN = "copy it again from the machine that wrote it"

_LOOK_ALIKES = (
    (rb"\s*\Z", f"is empty; {AGAIN}"),
    (rb"\x1f\x8b", "compressed twice; unpack it with gunzip"),
    (rb"PK\x03\x04", "a zip archive; unpack it and name the report in it"),
    (rb"\xfd7zXZ|BZh|\x28\xb5\x2f\xfd", "compressed by something else than gzip; unpack it first"),
    (rb"\xff\xfe|\xfe\xff|[^\x00]?\x00", "UTF-16, UTF-32 or binary data, not UTF-8 text; save it as UTF-8"),
    (rb"version https://git-lfs", "a pointer of git-lfs, not the report itself; run git lfs pull"),
    (rb"\s*<", "HTML or XML, not a report; was it saved from a page that asks for a login?"),
)
"""What is often taken for a report, by its first bytes, and what to do about it."""


class CodecError(Exception):
    """A file that is not a report, or not an intact one; the message is one line for a person."""


def read(path: str) -> bytes:
    """The file's bytes, unpacked. Raises CodecError; never waits for what is no plain file."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise CodecError(f"{path}: a folder, not a report; name the files in it")
        if not stat.S_ISREG(mode):
            raise CodecError(f"{path}: not a plain file; save the report to a file first")
        with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LIMIT:
                raise CodecError(f"{path}: {size:,} bytes is more than a report can have ({LIMIT:,})")
            data = file.read(size)  # and no more, where it grows
    except OSError as error:
        raise CodecError(f"{path}: {error.strerror or error}") from None
    return unpacked(path, data)


def announce(path: str) -> None:
    """Have the system fetch the beginning of a plain file that will be read soon, where it can; waits for nothing."""
    try:
        if hasattr(os, "posix_fadvise") and stat.S_ISREG(os.stat(path).st_mode):
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.posix_fadvise(file, 0, FREELY, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)
    except OSError:
        pass  # whoever reads it says why


def unpacked(path: str, data: bytes) -> bytes:
    """The bytes of a file, without gzip if it is compressed. Raises CodecError."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        out = decoder.decompress(data, LIMIT + 1)
    except zlib.error:
        raise CodecError(f"{path}: damaged gzip data; {AGAIN}") from None
    if len(out) > LIMIT:
        raise CodecError(f"{path}: unpacks to more than a report can have ({LIMIT:,} bytes)")
    if not decoder.eof:
        raise CodecError(f"{path}: gzip data cut short; {AGAIN}")
    if decoder.unused_data:
        raise CodecError(f"{path}: something stands behind the gzip data; unpack it with gunzip and look")
    return out


def tree(path: str, data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, the unpacked bytes of `path`. Raises CodecError, and RecursionError for deep nests."""
    for pattern, what in _LOOK_ALIKES:
        if re.match(pattern, data):
            raise CodecError(f"{path}: {what}")
    if too_many_values(data):
        raise CodecError(f"{path}: more than {MOST_VALUES:,} values, which no report has; name another file")
    if len(data) > LIMIT // 3 and not data.isascii():
        # In ASCII, which the digest covers, it would be three times as long.
        raise CodecError(f"{path}: {len(data):,} bytes beyond ASCII are more than a report can have; name another file")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        found, fits = _parsed(text)
    except UnicodeDecodeError as error:
        raise CodecError(f"{path}: not UTF-8 text at byte {error.start:,}; {AGAIN}") from None
    except json.JSONDecodeError as error:
        raise CodecError(f"{path}: {_not_json(text, error)}") from None
    if not fits:
        raise CodecError(f"{path}: {_unfit(found)}; {AGAIN}")
    if not isinstance(found, dict):
        raise CodecError(f"{path}: not a report of audit run, which is an object of JSON; name another file")
    return found


def too_many_values(data: bytes) -> bool:
    """Whether the values of this JSON could take more memory and time than any report's."""
    return len(data) > FREELY and sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES


class _Unfit(str):
    """Stands in a tree for a number that no report has, and says why."""

    __slots__ = ()


def _parsed(text: str) -> tuple[Any, bool]:
    """The JSON of a text, with `_Unfit` for every number that no report has, and whether it has none of these."""
    fits = True

    def unfit(why: str) -> _Unfit:
        nonlocal fits
        fits = False
        return _Unfit(why)

    def number(digits: str, kind: type[int] | type[float]) -> int | float | _Unfit:
        if len(digits) > MOST_DIGITS:
            return unfit(f"a number of {len(digits):,} digits")
        found = kind(digits)
        if isinstance(found, int):
            return found if found in WHOLE else unfit(f"{digits} is beyond 64 bits")
        return found if math.isfinite(found) else unfit(f"{digits} is beyond all numbers")

    found = json.loads(
        text,
        parse_constant=lambda name: unfit(f"{name} is not JSON"),
        parse_int=lambda digits: number(digits, int),
        parse_float=lambda digits: number(digits, float),
    )
    return found, fits


def _unfit(found: Any) -> str:
    """The first unfit number of a tree and its place."""
    queue: list[tuple[str, Any]] = [("$", found)]
    while queue:
        place, item = queue.pop()
        if isinstance(item, _Unfit):
            return f"{place}: {item}"
        if isinstance(item, dict):
            queue += [(f"{place}.{key[:60]}", child) for key, child in reversed(item.items())]
        elif isinstance(item, list):
            queue += [(f"{place}[{n}]", child) for n, child in reversed(list(enumerate(item)))]
    return "a key stands twice, once with a number that no report has"


def _not_json(text: str, error: json.JSONDecodeError) -> str:
    where = f"line {error.lineno:,}, column {error.colno:,}"
    if error.msg == "Extra data":
        return f"something stands behind the JSON, from {where}; are two files in one?"
    if not text.lstrip().startswith("{"):
        return f"not JSON (it begins {text[:20]!r}); name a report of audit run"
    return f"not JSON, or cut short ({error.msg.removesuffix(' at')} at {where}); {AGAIN}"
