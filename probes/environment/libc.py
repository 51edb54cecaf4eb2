"""The C library: which, its version, and the tunables it was started with."""

import ctypes
import os
import platform
import re
import sys
from typing import Any, List

from ..facts import Absent, Facts
from . import variables
from .sources import mapped

SCOPE = "machine"
NAMES = ("libc.name", "libc.version", "libc.tunables")


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("libc.name", "the library that this process runs on", name)
    facts.read("libc.version", "the C library's own version function", version)
    facts.read("libc.tunables", "GLIBC_TUNABLES", tunables)


def name() -> str:
    """Which one: "glibc", "musl", "libSystem", "ucrt". Raises Absent for another."""
    if sys.platform == "darwin":
        return "libSystem"
    if sys.platform == "win32":
        return "ucrt"
    if hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return "glibc"
    if _musl_path():
        return "musl"
    raise Absent("this C library is not known")


def version() -> str:
    """Such as "2.36". Raises Absent where the library does not tell."""
    if sys.platform == "darwin":
        return platform.mac_ver()[0]
    if sys.platform == "win32":
        raise Absent("Windows' C library moves with Windows")
    if name() == "musl":
        return _musl_version()
    function = ctypes.CDLL(None).gnu_get_libc_version
    function.restype = ctypes.c_char_p
    return str(function().decode())


def _musl_path() -> str:
    try:
        return next((path for path in mapped.paths() if "musl" in os.path.basename(path)), "")
    except Absent:
        return ""


def _musl_version() -> str:
    # musl has no version function; its loader prints one, and the text for that is in the file.
    with open(_musl_path(), "rb") as file:
        match = re.search(rb"\0(\d+\.\d+\.\d+[^\0]{0,16})\0", file.read())
    if match is None:
        raise Absent("musl's file names no version")
    return match.group(1).decode("ascii", "replace")


def tunables() -> List[str]:
    """Sorted settings of glibc in the form name=value; the last of a repeated name counts, as glibc reads it.

    Raises Absent on another C library.
    """
    if name() != "glibc":
        raise Absent("only glibc has tunables")
    asked = variables.shown("GLIBC_TUNABLES", os.environ.get("GLIBC_TUNABLES", "")) or ""
    pairs = (part.partition("=") for part in asked.split(":"))
    return sorted({key: key + equals + value for key, equals, value in pairs if key}.values())
