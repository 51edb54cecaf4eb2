"""Report files: read, checked and decoded into types. Every refusal names the file, the place in it, and what to do."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .comparison import FORMAT as COMPARISON
from .comparison import Comparison
from .report import FORMAT, VERSION, Report

T = TypeVar("T")

LIMIT = 256 << 20
"""Largest report that is read, in bytes after decompression."""


class CodecError(Exception):
    """A file that is not a report, or not an intact one; the message is one line for a person."""


def read(path: str, allow_edited: bool = False) -> tuple[Report, list[str]]:
    """The report in `path` (`.json` or `.json.gz`) and what must be said about it.

    Raises CodecError if it cannot be read, is not a report, is of a newer version, or was edited after it was written
    (with `allow_edited` that is only said).
    """
    tree = _tree(path)
    found = tree.get("format") if isinstance(tree, dict) else None
    if found != FORMAT:
        raise CodecError(f"{path}: not a report of audit run ({_instead(found)})")
    _refuse_newer(path, tree, VERSION)
    report = _convert(path, tree, Report)
    if tree["digest"] != digest(tree):
        if not allow_edited:
            raise CodecError(
                f"{path}: edited after it was written (its digest does not fit); "
                "ask for the original, or pass --allow-edited"
            )
        return report, [f"{path} was edited after it was written"]
    return report, []


def read_any(path: str, allow_edited: bool = False) -> Report | Comparison:
    """A report or a saved comparison. Raises CodecError as `read` does."""
    tree = _tree(path)
    if isinstance(tree, dict) and tree.get("format") == COMPARISON:
        return _convert(path, tree, Comparison)
    return read(path, allow_edited)[0]


def check(tree: dict[str, Any]) -> Report:
    """The typed form of a report that was just made. Raises msgspec.ValidationError if it does not fit the schema."""
    return msgspec.convert(tree, Report)


def digest(tree: dict[str, Any]) -> str:
    """BLAKE2b-256 (hex) over the canonical bytes of everything but `digest` and `label`: JSON, keys sorted, no spaces,
    ASCII. `probes.assemble.digest` makes the same where nothing is installed; a test holds the two together."""
    body = {key: value for key, value in tree.items() if key not in ("digest", "label")}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=32).hexdigest()


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report, from the types; `reports/schema.json` is this, committed."""
    (tree,), components = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of the reproducibility auditor, version " + str(VERSION),
        **tree,
        "$defs": components,
    }


def _tree(path: str) -> Any:
    data = _bytes(path)
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_constant, parse_int=_short_int)
    except UnicodeDecodeError as error:
        raise CodecError(f"{path}: not UTF-8 text at byte {error.start}; is it a report of audit run?") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        what = "is empty" if not data.strip() else f"not JSON, or cut short ({error.msg} at {where})"
        raise CodecError(f"{path}: {what}; copy it again from the machine that wrote it") from None
    except ValueError as error:
        raise CodecError(f"{path}: {error}; copy it again from the machine that wrote it") from None
    except RecursionError:
        raise CodecError(f"{path}: nested too deeply to be a report") from None


def _bytes(path: str) -> bytes:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise CodecError(f"{path}: a folder, not a report; name the files in it")
        if not stat.S_ISREG(mode):
            raise CodecError(f"{path}: not a plain file; save the report to a file first")
        size = os.path.getsize(path)
        if size > LIMIT:
            raise CodecError(f"{path}: {size:,} bytes is more than a report can have ({LIMIT:,})")
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            return _unzipped(path, data)
        return data
    except OSError as error:
        raise CodecError(f"{path}: {error.strerror or error}") from None


def _unzipped(path: str, data: bytes) -> bytes:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        out = decoder.decompress(data, LIMIT)
    except zlib.error:
        raise CodecError(f"{path}: damaged gzip data; copy it again") from None
    if decoder.unconsumed_tail:
        raise CodecError(f"{path}: unpacks to more than a report can have ({LIMIT:,} bytes)")
    if not decoder.eof:
        raise CodecError(f"{path}: gzip data cut short; copy it again")
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _short_int(digits: str) -> int:
    if len(digits) > 40:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _instead(found: Any) -> str:
    if found == COMPARISON:
        return "it is a comparison; audit show reads it"
    return "it has no format key" if found is None else f"format {str(found)[:40]!r}"


def _refuse_newer(path: str, tree: dict[str, Any], known: int) -> None:
    version = tree.get("version")
    if isinstance(version, int) and version > known:
        auditor = tree.get("auditor")
        writer = auditor.get("version", "?") if isinstance(auditor, dict) else "?"
        raise CodecError(
            f"{path}: report version {version}, written by auditor {str(writer)[:20]}; this one reads up to {known}: "
            "upgrade it"
        )


def _convert(path: str, tree: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise CodecError(f"{path}: not a valid report: {error}") from None


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
