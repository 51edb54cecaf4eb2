"""Every distribution that this interpreter can import: version, digest of its RECORD, installer, editable or not.

Read as files, because importlib.metadata is slower by an order of magnitude. The RECORD digest is over the sorted lines
that describe the package, without those that describe the installation: compiled bytecode, the installer's own notes,
scripts outside site-packages (their first line, and so their digest, holds the environment's path), and an editable
installation's generated files. So one wheel installed by pip and by uv at two places has one digest.
"""

import hashlib
import os
import re
import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from ..facts import Absent, Facts, command, text
from .sources import forms

SCOPE = "machine"
NAMES = ("packages.count",)

MODIFIED_LIMIT = 50
"""Files that `modified` names at most."""

_HEADER = 16384  # bytes of METADATA that hold Name and Version
_NOTE = re.compile(rb"^[^/]+-info/(?:RECORD(?:\.jws)?|INSTALLER|REQUESTED|direct_url\.json|uv_\w+\.json),")
_OUTSIDE = (b"..", b"/", b'"', b"__editable__")  # a quoted name has a comma, as only generated ones do


class Distribution(NamedTuple):
    """One installed distribution. name: normalised as PEP 503 says. folder: its dist-info or egg-info."""

    name: str
    version: str
    folder: str
    site: str


def capture(facts: Facts, options: Any = None) -> None:
    """Record `packages.<name>.version`, `.installer`, `.record` and, where it is one, `.editable`, `.commit`, `.dirty`.

    With `options.verify` also `.modified`: the files that no longer match RECORD.
    """
    verify = bool(options and options.verify)
    found: List[Distribution] = []

    def count() -> int:
        found.extend(distributions(sys.path))
        return len(found)

    facts.read("packages.count", "sys.path", count)
    for distribution in found:
        _capture_one(facts, distribution, verify)


def _capture_one(facts: Facts, distribution: Distribution, verify: bool) -> None:
    key = "packages." + distribution.name
    facts.add(key + ".version", forms.version(distribution.version), "its metadata")
    facts.read(key + ".installer", "INSTALLER", lambda: installer(distribution))
    facts.read(key + ".record", "RECORD", lambda: record_digest(_record(distribution)))
    if verify:
        facts.read(key + ".modified", "RECORD and the files", lambda: modified(distribution))
    origin = _origin(distribution)
    told = _part(origin, "vcs_info").get("commit_id")
    if isinstance(told, str) and re.fullmatch(forms.COMMIT, told):
        facts.add(key + ".commit", told, "direct_url.json")
    tree = _working_tree(distribution, origin)
    if tree is not None:
        facts.add(key + ".editable", True, "direct_url.json or egg-info")
        facts.read(key + ".commit", "the working tree's .git", lambda: commit(tree))
        if verify:
            facts.read(key + ".dirty", "git status", lambda: dirty(tree))


def distributions(path: List[str]) -> Iterator[Distribution]:
    """Every distribution on `path`, sorted within a folder; the first of a name wins, as it does for an import."""
    seen = set()
    for site in path:
        try:
            entries = sorted(os.listdir(site))
        except OSError:
            continue  # a zip file, a folder that is not there
        for entry in entries:
            if entry.endswith((".dist-info", ".egg-info")):
                distribution = _read(site, entry)
                if distribution is not None and distribution.name not in seen:
                    seen.add(distribution.name)
                    yield distribution


def _read(site: str, entry: str) -> Optional[Distribution]:
    folder = os.path.join(site, entry)
    files = ("METADATA",) if entry.endswith(".dist-info") else ("PKG-INFO",)
    for path in [os.path.join(folder, file) for file in files] + [folder]:  # an egg-info may be a single file
        try:
            header = text(path, _HEADER)
        except OSError:
            continue
        name = re.search(r"^Name:\s*(.+?)\s*$", header, re.MULTILINE)
        version = re.search(r"^Version:\s*(.+?)\s*$", header, re.MULTILINE)
        if name and version and re.fullmatch(forms.NAME, name.group(1), re.ASCII):
            return Distribution(normal(name.group(1)), version.group(1), folder, site)
    return None  # a folder that an interrupted removal left


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it: lower case, one hyphen for any run of `-`, `_` and `.`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installer(distribution: Distribution) -> str:
    """What INSTALLER says ("pip", "uv", "conda"), or "distribution" for one of the system's packages. Raises Absent."""
    try:
        name = text(os.path.join(distribution.folder, "INSTALLER"), 256).lower()
    except OSError:
        name = ""
    system = distribution.site.startswith("/usr/lib") and "/local/" not in distribution.site
    if name in ("debian", "rpm", "apk") or (system and name in ("", "pip") and _is_system(distribution.site)):
        return "distribution"
    if not name:
        raise Absent("no INSTALLER file")
    return forms.recorded(name, forms.INSTALLER)


def _is_system(site: str) -> bool:
    return site.endswith("/dist-packages") or os.path.exists("/etc/os-release")


# -- RECORD -----------------------------------------------------------------------------------------------------------


def _record(distribution: Distribution) -> bytes:
    try:
        with open(os.path.join(distribution.folder, "RECORD"), "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise Absent("its installer wrote no RECORD") from None


def record_digest(record: bytes) -> str:
    """64-bit BLAKE2b, hexadecimal, over the lines that describe the package (see the module's docstring)."""
    lines = [
        line
        for line in record.splitlines()  # an environment has ten thousands: no call for each
        if line
        and b".pyc," not in line
        and not line.startswith(_OUTSIDE)
        and not (b"-info/" in line and _NOTE.match(line))
    ]
    return hashlib.blake2b(b"\n".join(sorted(lines)), digest_size=8).hexdigest()


def modified(distribution: Distribution) -> List[str]:
    """Files that RECORD has a digest of and that are now missing or other, sorted; at most MODIFIED_LIMIT names. Those
    outside the package's folder are counted, because their names hold this machine's folders."""
    found, outside = [], 0
    for line in _record(distribution).decode("utf-8", "replace").splitlines():
        name, _, rest = line.rpartition(",")[0].rpartition(",")
        algorithm, equals, expected = rest.partition("=")
        if equals and _file_digest(os.path.join(distribution.site, name.strip('"')), algorithm) != expected:
            if os.path.isabs(name.strip('"')) or ".." in name:
                outside += 1
            else:
                found.append(name.strip('"'))
    more = max(0, len(found) - MODIFIED_LIMIT)
    return [
        *sorted(found)[:MODIFIED_LIMIT],
        *(["and {} more".format(more)] if more else []),
        *(["and {} outside site-packages".format(outside)] if outside else []),
    ]


def _file_digest(path: str, algorithm: str) -> Optional[str]:
    import base64  # only when asked to verify

    try:
        digest = hashlib.new(algorithm)
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (OSError, ValueError):  # no such file, or no such algorithm
        return None
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


# -- editable installations -------------------------------------------------------------------------------------------


def _origin(distribution: Distribution) -> Dict[str, Any]:
    path = os.path.join(distribution.folder, "direct_url.json")
    if not os.path.exists(path):
        return {}
    import json  # few distributions have the file, and the imports take longer than all the rest

    try:
        origin = json.loads(text(path, 65536))
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _part(origin: Dict[str, Any], name: str) -> Dict[str, Any]:
    """A table of direct_url.json, {} where it has none."""
    part = origin.get(name)
    return part if isinstance(part, dict) else {}


def _working_tree(distribution: Distribution, origin: Dict[str, Any]) -> Optional[str]:
    """The folder that an editable installation imports from, or None."""
    if _part(origin, "dir_info").get("editable"):
        from urllib.parse import unquote, urlparse

        return unquote(urlparse(str(origin.get("url", ""))).path)
    in_tree = distribution.folder.endswith(".egg-info") and "-packages" not in distribution.site
    return distribution.site if in_tree and os.path.isdir(distribution.folder) else None


def commit(tree: str) -> str:
    """The commit that a working tree has checked out, from git's files. Raises Absent."""
    found = _head(_git_folder(tree))
    if not re.fullmatch(forms.COMMIT, found):
        raise Absent("git's files name no commit")  # a link in them can lead to any file
    return found


def _head(folder: str) -> str:
    head = text(os.path.join(folder, "HEAD"), 4096)
    if not head.startswith("ref: "):
        return head
    try:  # a worktree of another repository keeps its references there
        common = os.path.normpath(os.path.join(folder, text(os.path.join(folder, "commondir"), 4096)))
    except OSError:
        common = folder
    for place in (folder, common):
        try:
            return text(os.path.join(place, head[5:]), 256)
        except OSError:
            continue
    try:
        packed = text(os.path.join(common, "packed-refs"), 1 << 24)
    except OSError:
        packed = ""
    match = re.search(r"^([0-9a-f]{{40,64}}) {}$".format(re.escape(head[5:])), packed, re.MULTILINE)
    if match is None:
        raise Absent("the working tree has no commit yet")
    return match.group(1)


def _git_folder(tree: str) -> str:
    place = os.path.abspath(tree)
    while True:
        git = os.path.join(place, ".git")
        if os.path.isdir(git):
            return git
        if os.path.isfile(git):
            return os.path.normpath(os.path.join(place, text(git, 4096).replace("gitdir: ", "", 1)))
        if os.path.dirname(place) == place:
            raise Absent("it is not in a git working tree")
        place = os.path.dirname(place)


def dirty(tree: str) -> bool:
    """Whether tracked files of the working tree are changed. Raises Absent without git."""
    return bool(command(["git", "-C", tree, "status", "--porcelain", "--untracked-files=no"]).strip())
