"""What a distribution's package manager says is installed: dpkg's and apk's databases, which are text.

They are read through a function, because those of an image that cannot run come from its engine. rpm's is a database
of its own, which only rpm reads.
"""

import os
from typing import Callable, Dict, Iterator, Tuple

from ...facts import Absent

DPKG_STATUS = "/var/lib/dpkg/status"
DPKG_PARTS = "/var/lib/dpkg/status.d"
"""A folder with a file a package, in images that are put together without dpkg (distroless)."""
APK_INSTALLED = "/lib/apk/db/installed"

LARGEST = 32 << 20
"""Bytes of a database that are read at most; 5,000 packages are 5 MB."""

Read = Callable[[str], bytes]
"""The content of a file, or of all files of a folder with an empty line between. Raises FileNotFoundError."""


def packages(read: Read) -> Dict[str, str]:
    """Version by name of every package that is there. Raises Absent without a database, and what `read` raises."""
    for path, name, version in (
        (DPKG_STATUS, b"\nPackage: ", b"\nVersion: "),
        (DPKG_PARTS, b"\nPackage: ", b"\nVersion: "),
        (APK_INSTALLED, b"\nP:", b"\nV:"),
    ):
        try:
            found = dict(_packages(read(path), name, version))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if found:
            return found
    raise Absent("no package database that is text (dpkg's, apk's)")


def _packages(content: bytes, name: bytes, version: bytes) -> Iterator[Tuple[str, str]]:
    # Paragraphs are searched and not parsed: most of the text is descriptions and lists of files.
    content = b"\n" + content
    start = content.find(name)
    while start >= 0:
        end = content.find(b"\n\n", start + 1)
        end = len(content) if end < 0 else end
        # dpkg keeps a paragraph of what was removed. One without a state is there: only dpkg itself writes states.
        if not _field(content, b"\nStatus: ", start, end).endswith((" config-files", " not-installed")):
            yield _field(content, name, start, end), _field(content, version, start, end)
        start = content.find(name, end)


def _field(content: bytes, key: bytes, start: int, end: int) -> str:
    """What stands behind a key in its line, of the lines between two places; "" without it."""
    at = content.find(key, start, end)
    if at < 0:
        return ""
    line = content.find(b"\n", at + len(key), end)
    return content[at + len(key) : end if line < 0 else line].decode("utf-8", "replace").strip()


def local(path: str) -> bytes:
    """`Read` for this machine's own files."""
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return file.read(LARGEST)
    parts = []
    for name in sorted(os.listdir(path)):
        if not name.endswith(".md5sums"):
            with open(os.path.join(path, name), "rb") as file:
                parts.append(file.read(LARGEST))
    return b"\n\n".join(parts)
