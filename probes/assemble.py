"""A report from the targets' parts: identity, order, digest, and the file, written whole or not at all."""

import hashlib
import json
import os
import platform
import re
import tempfile
import time
from typing import Any, Dict, List

FORMAT = "audit-report"
VERSION = 1
_LINE = 160


def report(label: str, targets: List[Dict[str, Any]], auditor: Dict[str, str]) -> Dict[str, Any]:
    """The whole report with its digest."""
    whole: Dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "label": label,
        "digest": "",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "auditor": auditor,
        "targets": targets,
    }
    whole["digest"] = digest(whole)
    return whole


def digest(whole: Dict[str, Any]) -> str:
    """BLAKE2b-256 over the canonical bytes of everything but `digest` and `label`: JSON, keys sorted, no spaces, ASCII.

    A label can be changed without making the report another one; any other change shows.
    """
    body = {key: value for key, value in whole.items() if key not in ("digest", "label")}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=32).hexdigest()


def to_text(whole: Dict[str, Any]) -> str:
    """The report as it stands in the file: one line a fact, an operator and a step, so that line tools help.

    Keys are sorted and line feeds are the only space, so without them, `digest` and `label` the text is what the digest
    covers: a reader of thousands of files can check it without writing each one anew.
    """
    return _layout(whole, 6) + "\n"


def _layout(value: Any, depth: int) -> str:
    """Compact JSON where it fits on a line, else one line an item, down to `depth`."""
    if depth == 0 or not value or not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    if isinstance(value, list):
        first, last, parts = "[", "]", [_layout(item, depth - 1) for item in value]
    else:
        first, last = "{", "}"
        parts = [json.dumps(key) + ":" + _layout(item, depth - 1) for key, item in sorted(value.items())]
    if sum(map(len, parts)) <= _LINE and not any("\n" in part for part in parts):
        return first + ",".join(parts) + last
    return first + "\n" + ",\n".join(parts) + "\n" + last


def write(path: str, content: str) -> None:
    """Write text to a file as `write_bytes` does; `.gz` is compressed. Raises OSError."""
    data = content.encode("utf-8")
    if path.endswith(".gz"):
        import gzip

        # No time stamp in the header: the same report gives the same file.
        data = gzip.compress(data, mtime=0)
    write_bytes(path, data)


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole or not at all: under another name beside it first, then renamed.

    Raises OSError, and then leaves nothing behind.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:  # a pipe or /dev/stdout cannot be renamed over
            file.write(data)
        return
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=".audit-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def default_label() -> str:
    """A name for this machine that does not say its host name: a short digest of it, salted for this purpose."""
    salted = hashlib.blake2b(platform.node().encode("utf-8", "replace"), digest_size=3, person=b"audit label")
    return "machine-" + salted.hexdigest()


def file_name(label: str) -> str:
    """The default file of a label: its characters that are safe in every file system."""
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip(".-") or "report") + ".json"
