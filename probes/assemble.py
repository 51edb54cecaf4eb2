"""A report from the targets' parts: identity, order, digest, and the file, written whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import tempfile
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import interrupts

FORMAT = "audit-report"
VERSION = 1
_LINE = 160

_ROOM = 1 << 16
"""Bytes that the smallest report needs."""


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


def write(path: str, content: str) -> int:
    """Write text to a file as `write_bytes` does; `.gz` is compressed. Returns the bytes written. Raises OSError."""
    data = content.encode("utf-8")
    if path.endswith(".gz"):
        import gzip

        # No time stamp in the header: the same report gives the same file.
        data = gzip.compress(data, mtime=0)
    write_bytes(path, data)
    return len(data)


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole or not at all: under another name beside it first, then renamed.

    Raises OSError whose `strerror` says why, and then leaves nothing behind.
    """
    if _in_place(path):
        with interrupts.allowed(), open(path, "wb") as file:  # a pipe waits for its reader
            file.write(data)
        return
    path = _destination(path)
    with interrupts.held(), _beside(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        interrupts.forget()  # nobody may be told that nothing was written


def check_writable(path: str, make: bool = False) -> None:
    """Raise the OSError that `write_bytes` would, as far as it can be known before a minute of work.

    make: the folder that the file is in, too, if it is not there; it does not stay if nothing can be written to it.
    """
    if _in_place(path):
        return
    path = _destination(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "that file is read-only")
    with interrupts.held():
        made = make and _made(os.path.dirname(path))
        try:
            with _beside(path) as temporary, open(temporary, "wb") as file:
                file.write(bytes(_ROOM))
        except OSError:
            if made:
                with contextlib.suppress(OSError):  # by now another node may write there
                    os.rmdir(os.path.dirname(path))
            raise


def _made(folder: str) -> bool:
    """Make a folder; whether it was not there. Raises OSError. Many nodes may want the same one at the same time."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no folder " + os.path.dirname(os.path.abspath(folder))) from None
    return True


def _in_place(path: str) -> bool:
    """Whether it can only be opened and written: a pipe, a device, or another name for a descriptor (/dev/stdout)."""
    if not os.path.exists(path) or os.path.isdir(path):
        return False
    link = os.path.join(os.path.dirname(path), os.readlink(path)) if os.path.islink(path) else path
    return not os.path.isfile(path) or any(_folder(name).startswith("/proc/") for name in (path, link))


def _destination(path: str) -> str:
    """The file that a link leads to: what is written takes its place, and the link stays."""
    return os.path.realpath(path) if os.path.islink(path) else path


def _folder(path: str) -> str:
    """The folder that a file is in, as it is called whatever links lead there."""
    try:
        return os.path.dirname(os.path.realpath(os.path.join(os.path.dirname(path) or os.getcwd(), "file")))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "the current folder does not exist any more") from None


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """The name of a new file in the folder of `path`; gone afterwards, unless it was renamed."""
    folder = _folder(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no folder " + folder)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".audit-", dir=folder)
    except PermissionError:
        raise PermissionError(errno.EACCES, "no permission in " + folder) from None
    os.close(handle)
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def place(output: Optional[str], label: Optional[str]) -> Tuple[str, str]:
    """The label of a report and its file, as `--label` and `-o` say (None: not given).

    In a folder (one that is there, or a name that ends with a slash) the file is called as the label is. There a node
    to which Slurm gave a name is labelled with it: who gathers reports in a folder asks which node is which.
    """
    gathered = output is not None and (output.endswith("/") or os.path.isdir(output))
    chosen = label or (os.environ.get("SLURMD_NODENAME") if gathered else None) or default_label()
    chosen = chosen.encode("utf-8", "replace").decode("utf-8")
    return chosen, os.path.join(output or "", file_name(chosen)) if gathered or not output else output


def default_label() -> str:
    """A name for this machine that does not say its host name: a short digest of it, keyed with the machine's secret
    number (machine-id(5)), so that nobody can confirm a guess; where there is none, at least salted."""
    name = platform.node().encode("utf-8", "replace")
    salted = hashlib.blake2b(name, digest_size=3, person=b"audit label", key=_machine_id())
    return "machine-" + salted.hexdigest()


def _machine_id() -> bytes:
    try:
        with open("/etc/machine-id", "rb") as file:
            return file.read(64).strip()
    except OSError:
        return b""


def file_name(label: str) -> str:
    """The default file of a label: its characters that are safe in every file system."""
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip(".-") or "report") + ".json"
