"""The files that this process has mapped as code: its interpreter, libraries and extension modules.

Names are the soname without hash and version, so that two machines' libraries meet under one name:
`libscipy_openblas64_-32a4b2a6.so` is `libscipy_openblas64_`, `libstdc++.so.6.0.30` is `libstdc++`, an extension
module is `numpy._core._multiarray_umath`.
"""

import ctypes
import os
import re
import sys
from typing import Any, Dict, List, Optional

from ...facts import Absent, text

MAPS = "/proc/self/maps"
SOURCE = "mapped files"
_SITE = re.compile(r".*/(?:site|dist)-packages/(.+)$")  # the last: the first may be a folder that someone named so
_EXTENSION = re.compile(r"\.(?:cpython|pypy|abi3|cp\d|pp\d)[^/]*\.so$|\.(?:abi3\.)?(?:pyd|so)$")
_HASH = re.compile(r"-[0-9a-f]{8}(?=[-.]|$)")  # what auditwheel adds to a library's name


def paths(maps: Optional[str] = None) -> List[str]:
    """Existing files that look like code, sorted. `maps` is the text of /proc/self/maps, for tests.

    Executable permission is no criterion: qemu's user-mode emulation shows guest code as read-only data.
    Raises Absent where neither /proc nor the loader lists them.
    """
    if maps is None:
        try:
            maps = text(MAPS, 1 << 26)
        except OSError:
            return sorted(filter(_is_code, set(_loaded())))
    lines = (line.split(None, 5) for line in maps.splitlines() if "/" in line)
    return sorted({fields[5] for fields in lines if len(fields) == 6 and _is_code(fields[5])})


class _Object(ctypes.Structure):
    """The beginning of dl_phdr_info, dl_iterate_phdr(3)."""

    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]


def _loaded() -> List[str]:
    """What the loader lists, where there is no /proc; the program itself has an empty name. Raises Absent."""
    found: List[str] = []

    def visit(info: Any, size: int, data: Any) -> int:
        name = os.fsdecode(info.contents.name) or sys.executable
        if name.startswith("/"):  # the kernel's vdso has a name and no file
            found.append(os.path.realpath(name))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Object), ctypes.c_size_t, ctypes.c_void_p)
    try:
        ctypes.CDLL(None).dl_iterate_phdr(kind(visit), None)
    except (AttributeError, OSError, TypeError):
        raise Absent("this system does not list a process's libraries") from None
    return found


def _is_code(path: str) -> bool:
    if path.startswith("/") and re.search(r"\.so(\.[0-9][0-9A-Za-z.]*)?$", path):
        return True
    return path == os.path.realpath(sys.executable or "/")


def module_path(path: str) -> Optional[str]:
    """The part below site-packages, or None: "numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so"."""
    match = _SITE.match(path)
    return match.group(1) if match else None


def is_extension(path: str) -> bool:
    """Whether the file is an extension module of Python, not a library."""
    if "/lib-dynload/" in path:
        return True
    inner = module_path(path)
    return inner is not None and ".libs/" not in inner and bool(_EXTENSION.search(inner)) and not _is_lib(inner)


def _is_lib(path: str) -> bool:
    return os.path.basename(path).startswith("lib")


def name(path: str) -> str:
    """The name of a mapped file that is the same on every machine (see the module's docstring)."""
    base = os.path.basename(path)
    if ".so" not in base and not base.endswith((".dylib", ".pyd", ".dll")):
        return "python"
    if is_extension(path):
        inner = module_path(path) or base
        return _EXTENSION.sub("", inner).replace("/", ".")
    stem = re.sub(r"\.so(\..*)?$", "", _EXTENSION.sub("", base))
    stem = re.sub(r"^libpython\d[\w.]*$", "libpython", _HASH.sub("", stem))
    return re.sub(r"-\d+(\.\d+)+$", "", stem) if not stem.startswith("ld-") else "ld"


def version(path: str) -> Optional[str]:
    """The version in the file's name: "6.0.30" of libstdc++.so.6.0.30; None where it is only an ABI number."""
    base = os.path.basename(path)
    patterns = (r"^libpython(\d+\.\d+\w*)\.so", r"\.so\.(\d+(?:\.\d+)+)$", r"-(\d+(?:\.\d+)+)\.so$")
    match = next(filter(None, (re.search(pattern, base) for pattern in patterns)), None)
    return match.group(1) if match else None


def by_name(maps: Optional[str] = None) -> Dict[str, str]:
    """Path by name; where two files have one name, the second is `name@2` and so on. Raises Absent."""
    found: Dict[str, str] = {}
    for path in paths(maps):
        base, number = name(path), 2
        key = base
        while key in found:
            key, number = "{}@{}".format(base, number), number + 1
        found[key] = path
    return found


def find(*names: str) -> str:
    """The path of the first mapped library that has one of these names. Raises Absent."""
    mapped = by_name()
    for wanted in names:
        if wanted in mapped:
            return mapped[wanted]
    raise Absent("this process has not mapped {}".format(" or ".join(names)))
