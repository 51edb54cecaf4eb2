"""The interpreter: version, how it was built, where it comes from."""

import os
import platform
import re
import struct
import sys
import sysconfig
from typing import Any, List

from ..facts import Absent, Facts
from . import libc
from .sources import owners

SCOPE = "machine"
NAMES = (
    "python.version",
    "python.implementation",
    "python.compiler",
    "python.build",
    "python.flags",
    "python.origin",
    "python.environment",
    "python.wheel_tags",
    "python.bits",
    "python.byte_order",
    "python.user_site",
)

_BUILD_FLAG = re.compile(r"^(-O\w*|-[mf][\w.=+-]+|-D(?:NDEBUG|Py_\w+|_FORTIFY_SOURCE).*|--(?:with|enable)-.*)$")


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("python.version", "platform", platform.python_version)
    facts.read("python.implementation", "platform", platform.python_implementation)
    facts.read("python.compiler", "platform", platform.python_compiler)
    facts.read("python.build", "platform", _build)
    facts.read("python.flags", "sysconfig", flags)
    facts.read("python.origin", "the prefix and the package database", origin)
    facts.read("python.environment", "the prefixes", environment)
    facts.read("python.wheel_tags", "sys, sysconfig and the C library", wheel_tag)
    facts.read("python.bits", "struct", lambda: 8 * struct.calcsize("P"))
    facts.read("python.byte_order", "sys.byteorder", lambda: sys.byteorder)
    facts.read("python.user_site", "site", _user_site)


def _build() -> str:
    # A build from a checkout says which branch; its name is its author's.
    return re.sub(r"\bheads/[^\s:]+", "heads/...", " ".join(platform.python_build()))


def flags() -> List[str]:
    """Sorted options of compiler and configure that can change generated code; options with a path are left out."""
    words: List[str] = []
    for name in ("CONFIGURE_CFLAGS", "OPT", "PY_CFLAGS", "PY_CFLAGS_NODIST", "CONFIG_ARGS"):
        words.extend(str(sysconfig.get_config_var(name) or "").replace("'", " ").split())
    if not words:
        raise Absent("this interpreter keeps no record of its build options")
    return sorted({word for word in words if _BUILD_FLAG.match(word) and "/" not in word})


def origin() -> str:
    """Who built the interpreter: "distribution" (a package of the operating system), "conda", "standalone" (uv's
    builds), "pyenv", "framework" (macOS), "local" (/usr/local, built in place, as in Docker's images), "other"."""
    prefix = sys.base_prefix
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        return "conda"
    if prefix == "/usr":
        try:
            owners.system()
            return "distribution"
        except Absent:
            return "other"
    if str(sysconfig.get_config_var("prefix") or "") == "/install" or "/uv/python/" in prefix:
        return "standalone"
    if "/.pyenv/" in prefix or os.environ.get("PYENV_ROOT", "\0") in prefix:
        return "pyenv"
    if ".framework/" in prefix:
        return "framework"
    return "local" if prefix == "/usr/local" else "other"


def environment() -> str:
    """Where packages come from: "virtual" (venv, virtualenv), "conda" or "none" (the interpreter's own folder)."""
    if sys.prefix != sys.base_prefix:
        return "virtual"
    return "conda" if os.path.isdir(os.path.join(sys.prefix, "conda-meta")) else "none"


def wheel_tag() -> str:
    """The most specific wheel tag: "cp311-cp311-manylinux_2_36_x86_64" (PEP 425, PEP 600, PEP 656)."""
    major, minor = sys.version_info[:2]
    short = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    interpreter = "{}{}{}".format(short, major, minor)
    suffix = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    suffix += "d" if hasattr(sys, "gettotalrefcount") else ""
    return "{}-{}{}-{}".format(interpreter, interpreter, suffix, _platform_tag())


def _platform_tag() -> str:
    if sys.platform != "linux":
        return re.sub(r"[.-]", "_", sysconfig.get_platform())
    kind = {"glibc": "manylinux", "musl": "musllinux"}[libc.name()]
    return "{}_{}_{}".format(kind, "_".join(libc.version().split(".")[:2]), platform.machine())


def _user_site() -> bool:
    site = sys.modules.get("site")
    return bool(getattr(site, "ENABLE_USER_SITE", False))
