"""What is in effect in this process of the interpreter: hash seed, options, global lock."""

import os
import sys
from typing import Any, List, Union

from ..facts import Facts
from .sources import forms

SCOPE = "effect"
NAMES = ("python.hash_seed", "python.options", "python.gil")

# Python takes any word here, so only its own are recorded.
_X_OPTION = forms.words(
    "context_aware_warnings cpu_count dev faulthandler frozen_modules gil importtime int_max_str_digits lazy_imports",
    "no_debug_ranges oldparser perf perf_jit presite pycache_prefix showalloccount showrefcount",
    "thread_inherit_context tlbc tracemalloc utf8 warn_default_encoding",
)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("python.hash_seed", "sys.flags and PYTHONHASHSEED at the start", hash_seed)
    facts.read("python.options", "sys.flags and sys._xoptions", _options)
    facts.read("python.gil", "sys._is_gil_enabled", _gil)


def hash_seed() -> Union[int, str]:
    """The seed of str and bytes hashes, or "random" where every process has another."""
    if not sys.flags.hash_randomization:
        return 0
    asked = "" if sys.flags.ignore_environment else _variable_at_start("PYTHONHASHSEED")
    return int(asked) if asked.isdigit() else "random"


def _variable_at_start(name: str) -> str:
    # os.environ may have been changed since; the interpreter read the seed when it started.
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return os.environ.get(name, "")
    prefix = name.encode() + b"="
    return next((entry[len(prefix) :].decode("ascii", "replace") for entry in entries if entry.startswith(prefix)), "")


def _options() -> List[str]:
    """Sorted options that are not at their default: "optimize=1". The hash seed has a fact of its own."""
    names = (name for name in dir(sys.flags) if not name.startswith("_") and name not in ("count", "index"))
    values = {name: getattr(sys.flags, name) for name in names}
    # These have defaults that moved between versions, or facts of their own.
    ignored = {
        "hash_randomization", "n_fields", "n_sequence_fields", "n_unnamed_fields", "int_max_str_digits", "gil",
        "thread_inherit_context", "context_aware_warnings",
    }  # fmt: skip
    found = ["{}={}".format(name, int(value)) for name, value in values.items() if value and name not in ignored]
    found += ["-X {}".format(forms.recorded(key, _X_OPTION)) for key in getattr(sys, "_xoptions", {})]
    return sorted(set(found))


def _gil() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
