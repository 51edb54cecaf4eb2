"""Report files: read, checked and decoded into types. Every refusal names the file, the place in it, and what to do."""

from __future__ import annotations

import base64
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
from .report import FORMAT, VERSION, Repeat, Report, Trace

T = TypeVar("T")

LIMIT = 256 << 20
"""Largest report that is read, in bytes after decompression."""

MOST_FACTS = 200_000
"""A machine with 10,000 packages has 40,000."""

DIGEST_BYTES = 8
"""Bytes of one row's digest in a trace."""


class CodecError(Exception):
    """A file that is not a report, or not an intact one; the message is one line for a person."""


def read(path: str, allow_edited: bool = False) -> tuple[Report, list[str]]:
    """The report in `path` (`.json` or `.json.gz`) and what must be said about it.

    Raises CodecError if it cannot be read, is not a report, is of a newer version, or was edited after it was written
    (with `allow_edited` that is only said).
    """
    tree, speakable = _tree(path)
    found = tree.get("format") if isinstance(tree, dict) else None
    if found != FORMAT:
        raise CodecError(f"{path}: not a report of audit run ({_instead(found)})")
    _refuse_newer(path, tree, VERSION)
    report = _convert(path, speakable, Report)
    _refuse_misfits(path, report)
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
    tree, speakable = _tree(path)
    if isinstance(tree, dict) and tree.get("format") == COMPARISON:
        return _convert(path, speakable, Comparison)
    return read(path, allow_edited)[0]


def check(tree: dict[str, Any]) -> Report:
    """The typed form of a report that was just made. Raises CodecError if it does not fit the schema."""
    report = _convert("the report", tree, Report)
    _refuse_misfits("the report", report)
    return report


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


def _refuse_misfits(path: str, report: Report) -> None:
    """Refuse what the types allow and no probe writes: it would be read past its end, or for ever."""
    for number, target in enumerate(report.targets):
        place = f"{path}: not a valid report: $.targets[{number}]"
        facts = [target.facts, *(job.facts for job in target.jobs), *([target.battery.facts] if target.battery else [])]
        if sum(map(len, facts)) > MOST_FACTS:
            raise CodecError(f"{place} has more than {MOST_FACTS:,} facts")
        for job in target.jobs:
            if job.trace is not None:
                reason = _misfit(job.trace, job.repeats)
                if reason:
                    raise CodecError(f"{place}.jobs, {job.name}: {reason}")


def _misfit(trace: Trace, repeats: list[Repeat]) -> str:
    """Why a trace does not hold together, or ""."""
    if not len(trace.tree) == len(trace.digests) == trace.steps:
        return f"{trace.steps} steps, but {len(trace.digests)} rows of digests and {len(trace.tree)} of the tree"
    usual = list(range(len(trace.rows)))
    lengths = []
    for step, text in enumerate(trace.digests):
        try:
            digests = base64.b64decode(text, validate=True)
        except ValueError:
            return f"digests of step {step} are not base64"
        sequence = trace.sequence.get(str(step), usual[: len(digests) // DIGEST_BYTES])
        if len(digests) != DIGEST_BYTES * len(sequence) or not set(sequence) <= set(usual):
            return f"step {step} has digests or rows that do not fit each other"
        lengths.append(len(sequence))
    for repeat in repeats:
        if repeat.step is None and repeat.row is None:
            continue
        at, row = repeat.step, repeat.row
        if at is None or row is None or not (0 <= at < trace.steps and 0 <= row < lengths[at]):
            return "a repeat differs at a step or row that is not there"
    return ""


def _tree(path: str) -> tuple[Any, Any]:
    """The file's JSON as it stands, for the digest, and without lone surrogates, for everything else."""
    data = _bytes(path)
    try:
        tree = json.loads(data.decode("utf-8"), parse_constant=_no_constant, parse_int=_short_int)
        # UTF-8 cannot hold a lone surrogate, so only an escape can have made one.
        return tree, _speakable(tree) if b"\\ud" in data or b"\\uD" in data else tree
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


def _speakable(tree: Any) -> Any:
    """The tree without lone surrogates, which JSON can escape and no text file or terminal can hold."""
    if isinstance(tree, str):
        return tree if tree.isascii() else tree.encode("utf-8", "replace").decode("utf-8")
    if isinstance(tree, list):
        return [_speakable(item) for item in tree]
    if isinstance(tree, dict):
        return {_speakable(key): _speakable(item) for key, item in tree.items()}
    return tree


def _convert(path: str, tree: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise CodecError(f"{path}: not a valid report: {error}") from None


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
