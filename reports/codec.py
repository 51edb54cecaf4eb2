"""Report files: read, checked and decoded into types. Every refusal names the file, the place in it, and what to do."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, TypeVar

import msgspec

from . import checked, comparison, fleet, history, reproduction, screening, source, variation
from .checked import Check
from .comparison import Comparison
from .fleet import Fleet
from .history import History
from .misfits import misfits
from .parts import Parts
from .report import FORMAT, VERSION, Report
from .reproduction import Reproduction
from .screening import Screening
from .source import AGAIN
from .source import CodecError as CodecError
from .variation import Variation

T = TypeVar("T")

Answer = Comparison | Reproduction | Variation | Check | Fleet | Screening | History
"""What a command says and saves."""

Found = Report | Answer
"""What a file can hold."""

_ANSWERS: dict[str, tuple[str, int, type[Answer]]] = {
    comparison.FORMAT: ("comparison", comparison.VERSION, Comparison),
    reproduction.FORMAT: ("reproduction", reproduction.VERSION, Reproduction),
    variation.FORMAT: ("variation", variation.VERSION, Variation),
    checked.FORMAT: ("check", checked.VERSION, Check),
    fleet.FORMAT: ("report on a fleet", fleet.VERSION, Fleet),
    history.FORMAT: ("history", history.VERSION, History),
    screening.FORMAT: ("screening", screening.VERSION, Screening),
}
"""What commands say and save, by the format's name: what it is called, the newest version, and the type."""

_BEGIN_OR_DIGIT = bytes.maketrans(b"0123456789,[-\n", b"0000000000::::")
_LONG_NUMBER = b":" + b"0" * 19  # every whole number that is shorter has 64 bits
_SURROGATE = re.compile(rb"\\u[dD]")  # UTF-8 cannot hold one, so only an escape can have made one


def read(path: str, allow_edited: bool = False, parts: Parts | None = None) -> tuple[Report, list[str]]:
    """The report in `path` (`.json` or `.json.gz`) and what must be said about it.

    parts: of the files that were read before; what this one has in common with them is shared. Raises CodecError if it
    cannot be read, is not a report, is of a newer version, or was edited after it was written (with `allow_edited` that
    is only said).
    """
    found, notes = decode(path, source.read(path), allow_edited, parts)
    if not isinstance(found, Report):
        raise CodecError(f"{path}: a {_ANSWERS[found.format][0]}, not a report; audit show reads it")
    return found, notes


def read_any(path: str, allow_edited: bool = False) -> tuple[Found, list[str]]:
    """A report or a saved answer, and what must be said about it. Raises CodecError as `read` does."""
    return decode(path, source.read(path), allow_edited)


def decode(path: str, data: bytes, allow_edited: bool = False, parts: Parts | None = None) -> tuple[Found, list[str]]:
    """What stands in `data`, the unpacked bytes of `path`, and what must be said about it. Raises CodecError."""
    report = _as_written(data, parts or Parts())
    try:
        return (report, []) if report else _in_any_form(path, data, allow_edited)
    except RecursionError:
        raise CodecError(f"{path}: nested too deeply to be a report; {AGAIN}") from None


def check(tree: dict[str, Any]) -> Report:
    """The typed form of a report that was just made. Raises CodecError if it does not fit the schema."""
    return _report("the report", tree, "this is a defect of audit; please report it")


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


# From bytes to types: one way for files that stand as they were written, one for everything else


def _as_written(data: bytes, parts: Parts) -> Report | None:
    """The report, if `data` is an intact one as `probes.assemble.to_text` writes it; None says nothing.

    Keys are sorted there and line feeds are the only space: without them, `digest` and `label` the bytes are those that
    the digest covers, so nothing is parsed twice or written anew.
    """
    if not data.isascii() or source.too_many_values(data):
        return None
    cut = parts.cut(data)
    if _LONG_NUMBER in cut.rest.translate(_BEGIN_OR_DIGIT):
        return None
    try:
        report = cut.report()
    except (ValueError, RecursionError):
        return None
    named, label = (json.dumps(text).encode("ascii") for text in (report.digest, report.label))
    kind = b'"format":"%s",' % FORMAT.encode("ascii")
    uncovered = b'"digest":%s,%s"label":%s,' % (named, kind, label)
    head, *more = cut.covered()
    start = head.find(uncovered)
    if start < 0 or not 1 <= report.version <= VERSION or any(misfits(report, parts=False)):
        return None
    covered = hashlib.blake2b(head[:start] + kind, digest_size=32)
    for piece in (head[start + len(uncovered) :], *more):
        covered.update(piece)
    return report if covered.hexdigest() == report.digest else None


def _in_any_form(path: str, data: bytes, allow_edited: bool) -> tuple[Found, list[str]]:
    """A report in whatever form JSON allows (indented, in other letters, sorted otherwise), or a saved answer."""
    tree = source.tree(path, data)
    speakable = _speakable(tree) if _SURROGATE.search(data) else tree
    kind = tree.get("format")
    if isinstance(kind, str) and kind in _ANSWERS:
        return _answer(path, tree, speakable, *_ANSWERS[kind]), []
    if kind != FORMAT:
        raise CodecError(f"{path}: neither a report of audit run nor a comparison of audit diff ({_instead(tree)})")
    _refuse_version(path, tree, "report", VERSION)
    report = _report(path, speakable)
    if tree["digest"] == digest(tree):
        return report, []
    if allow_edited:
        return report, [f"{path} was edited after it was written"]
    raise CodecError(
        f"{path}: edited after it was written (its digest does not fit); ask for the original, or pass --allow-edited"
    )


def _report(path: str, tree: dict[str, Any], remedy: str = AGAIN) -> Report:
    report = _convert(path, tree, Report, "report", remedy)
    reason = next(misfits(report), "")
    if reason:
        raise CodecError(f"{path}: not a valid report: {reason}; {remedy}")
    return report


def _answer(
    path: str,
    tree: dict[str, Any],
    speakable: dict[str, Any],
    what: str,
    newest: int,
    type: type[Answer],
) -> Answer:
    _refuse_version(path, tree, what, newest)
    found = _convert(path, speakable, type, what, AGAIN)
    if found.exit not in (0, 1, 3):
        raise CodecError(f"{path}: not a valid {what}: $.exit: no status is {found.exit}; {AGAIN}")
    return found


def _convert(path: str, tree: dict[str, Any], kind: type[T], what: str, remedy: str) -> T:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).rpartition(" - at ")
        found = f"{place.strip('`')}: {reason[:120]}" if reason else place
        raise CodecError(f"{path}: not a valid {what}: {found}; {remedy}") from None


def _instead(tree: dict[str, Any]) -> str:
    return f"its format is {str(tree['format'])[:40]!r}" if "format" in tree else "it has no format key"


def _refuse_version(path: str, tree: dict[str, Any], what: str, known: int) -> None:
    """Refuse what a newer auditor wrote, with its name, before anything in it is taken for an error."""
    version = tree.get("version")
    if type(version) is not int or 1 <= version <= known:
        return  # what is no number at all, the types refuse
    auditor = tree.get("auditor")
    writer = f", written by auditor {str(auditor.get('version', '?'))[:20]}" if isinstance(auditor, dict) else ""
    remedy = "upgrade it" if version > known else f"there is no such version; {AGAIN}"
    raise CodecError(f"{path}: {what} version {version}{writer}; this one reads up to {known}: {remedy}")


def _speakable(tree: Any) -> Any:
    """The tree without lone surrogates, which JSON can escape and no text file or terminal can hold."""
    if isinstance(tree, str):
        return tree if tree.isascii() else tree.encode("utf-8", "replace").decode("utf-8")
    if isinstance(tree, list):
        return [_speakable(item) for item in tree]
    if isinstance(tree, dict):
        return {_speakable(key): _speakable(item) for key, item in tree.items()}
    return tree


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
