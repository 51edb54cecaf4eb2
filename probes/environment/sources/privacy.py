"""What keeps a person's paths out of a report. Applied to every record once, at the end of a capture.

The second line of defence: what comes from outside has passed its form (`forms`) before, and no probe records a path. A
report names no home folder, no user and no environment's place: they say nothing about results, and people hand reports
to strangers.
"""

import os
import re
import sys
from typing import Any, List, Tuple

TEXT_LIMIT = 512
"""Characters; a longer text is cut."""

_HOMES = re.compile(r"(/home|/Users|[A-Za-z]:\\Users)[/\\][^/\\\s:;,'\"]+")
_SYSTEM_PREFIXES = ("", "/", "/usr", "/usr/local")


def _replacements() -> List[Tuple[str, str]]:
    pairs = [
        (sys.prefix, "<prefix>"),
        (sys.base_prefix, "<base prefix>"),
        (os.path.realpath(sys.prefix), "<prefix>"),
        (os.path.expanduser("~"), "~"),
    ]
    return [(old, new) for old, new in pairs if old.rstrip("/") not in _SYSTEM_PREFIXES]


def scrub(value: Any) -> Any:
    """`value` with every text in it made impersonal and at most TEXT_LIMIT characters long."""
    pairs = _replacements()
    return _scrub(value, pairs)


def _scrub(value: Any, pairs: List[Tuple[str, str]]) -> Any:
    if isinstance(value, str):
        if not value.isascii():
            value = value.encode("utf-8", "replace").decode("utf-8")  # bytes that are no text came as surrogates
        if "/" in value or "\\" in value:
            for old, new in pairs:
                value = value.replace(old, new)
            value = _HOMES.sub("~", value)
        return value if len(value) <= TEXT_LIMIT else value[: TEXT_LIMIT - 3] + "..."
    if isinstance(value, (list, tuple)):
        return [_scrub(item, pairs) for item in value]
    if isinstance(value, dict):
        return {key: _scrub(item, pairs) for key, item in value.items()}
    return value
