"""Which package put a file where it is: a wheel, or a package of the operating system.

The system's databases are read as files (dpkg, apk); rpm's is a database, so its own command is asked once for all.
"""

import os
import re
from typing import Dict, List, Optional, Sequence, Tuple

from ...facts import Absent, command
from . import databases, forms, mapped

DPKG_INFO = "/var/lib/dpkg/info"
_SYSTEM_FOLDERS = ("/usr/", "/lib", "/bin/")
RPM_FOLDERS = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")

# Debian names a library's package after its soname, with these exceptions.
_GUESS = dict.fromkeys(("libc", "libm", "libmvec", "libpthread", "libdl", "librt", "libutil", "ld"), "libc6")
_GUESS.update(libz="zlib1g", libcrypto="libssl")


def system() -> str:
    """The kind of package database: "dpkg", "apk" or "rpm". Raises Absent where there is none."""
    if os.path.exists(databases.DPKG_STATUS):
        return "dpkg"
    if os.path.exists(databases.APK_INSTALLED):
        return "apk"
    if any(os.path.isdir(folder) and os.listdir(folder) for folder in RPM_FOLDERS):
        return "rpm"
    raise Absent("no package database of a distribution that is known (dpkg, apk, rpm)")


def of_system(paths: Sequence[str]) -> Dict[str, str]:
    """The owner ("libc6 2.36-9") by path, of those paths that a package of the system owns. Raises Absent, OSError."""
    kind = system()
    paths = [path for path in paths if path.startswith(_SYSTEM_FOLDERS) and not path.startswith("/usr/local/")]
    if not paths:
        return {}
    return {"dpkg": _dpkg, "apk": _apk, "rpm": _rpm}[kind](paths)


# -- wheels ---------------------------------------------------------------------------------------------------------


def of_wheels(paths: Sequence[str]) -> Dict[str, str]:
    """The owner ("numpy 2.4.6") by path, of files below a site-packages folder that a distribution there owns.

    auditwheel and delocate put libraries into `<name>.libs` and `<name>/.dylibs`, so the top folder's name mostly
    tells; otherwise (PIL of Pillow, a module of mypyc) the RECORD files are searched.
    """
    found: Dict[str, str] = {}
    infos: Dict[str, List[Tuple[str, str, str]]] = {}
    for path in paths:
        inner = mapped.module_path(path)
        if inner is None:
            continue
        site = path[: -len(inner)]
        if site not in infos:
            infos[site] = _distributions(site)
        owner = _by_name(inner, infos[site]) or _by_record(inner, site, infos[site])
        if owner:
            found[path] = owner
    return found


def _distributions(site: str) -> List[Tuple[str, str, str]]:
    """(normalised name, version, folder) of every distribution whose folder's name carries both."""
    try:
        entries = sorted(os.listdir(site))
    except OSError:
        return []
    matches = (re.match(r"(.+?)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$", entry) for entry in entries)
    return [(_normal(match.group(1)), forms.version(match.group(2)), match.group(0)) for match in matches if match]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _by_name(inner: str, infos: List[Tuple[str, str, str]]) -> Optional[str]:
    top = _normal(re.sub(r"\.libs$", "", inner.split("/")[0]))
    return next(("{} {}".format(name, version) for name, version, _ in infos if name == top), None)


def _by_record(inner: str, site: str, infos: List[Tuple[str, str, str]]) -> Optional[str]:
    wanted = b"\n" + inner.encode("utf-8", "surrogateescape") + b","
    for name, version, folder in infos:
        try:
            with open(os.path.join(site, folder, "RECORD"), "rb") as file:
                if wanted in b"\n" + file.read():
                    return "{} {}".format(name, version)
        except OSError:
            continue
    return None


# -- packages of the system -----------------------------------------------------------------------------------------


def _spellings(path: str) -> Tuple[str, ...]:
    # With a merged /usr the kernel says /usr/lib where the package's list says /lib, or the other way round.
    if path.startswith("/usr/"):
        return (path, path[4:])
    return (path, "/usr" + path)


def _dpkg(paths: Sequence[str]) -> Dict[str, str]:
    lists = sorted(entry[:-5] for entry in os.listdir(DPKG_INFO) if entry.endswith(".list"))
    found: Dict[str, str] = {}
    for path in paths:
        start = _likely_package(path)
        _search_lists([entry for entry in lists if entry.startswith(start)], [path], found)
    # The rest by reading all lists: 20 ms where 700 packages are installed, seldom needed.
    _search_lists(lists, [path for path in paths if path not in found], found)
    versions = databases.packages(databases.local) if found else {}
    return {path: "{} {}".format(name, versions.get(name, "")).strip() for path, name in found.items()}


def _likely_package(path: str) -> str:
    inner = mapped.module_path(path)
    if inner:
        return "python3-" + inner.split("/")[0].split(".")[0].lower()
    if mapped.name(path) == "python":
        return "python3"
    stem = mapped.name(path)
    return _GUESS.get(stem, stem.lower().replace("_", "-"))


def _search_lists(entries: List[str], paths: List[str], found: Dict[str, str]) -> None:
    wanted = {path: [b"\n" + spelling.encode() + b"\n" for spelling in _spellings(path)] for path in paths}
    for entry in entries:
        if not wanted:
            return
        with open(os.path.join(DPKG_INFO, entry + ".list"), "rb") as file:
            content = b"\n" + file.read()
        for path in [path for path, lines in wanted.items() if any(line in content for line in lines)]:
            found[path] = entry.split(":")[0]
            del wanted[path]


def _apk(paths: Sequence[str]) -> Dict[str, str]:
    # Lines: P: package, V: version, F: folder, R: file in it; an empty line ends a package.
    wanted = {spelling.lstrip("/"): path for path in paths for spelling in _spellings(path)}
    found: Dict[str, str] = {}
    package = version = folder = ""
    with open(databases.APK_INSTALLED, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, value = line[:2], line[2:].rstrip("\n")
            if key == "P:":
                package = value
            elif key == "V:":
                version = value
            elif key == "F:":
                folder = value
            elif key == "R:" and folder + "/" + value in wanted:
                found[wanted[folder + "/" + value]] = "{} {}".format(package, version)
    return found


def _rpm(paths: Sequence[str]) -> Dict[str, str]:
    # One line a path, in order; rpm ends with another status if any has no owner, and then each is asked alone.
    query = ["rpm", "-qf", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\n"]
    try:
        lines = command(query + list(paths)).splitlines()
        if len(lines) == len(paths):
            return dict(zip(paths, lines))
    except Absent:
        pass
    found = {}
    for path in paths:
        try:
            found[path] = command([*query, path]).splitlines()[0]
        except (Absent, IndexError):
            continue
    return found
