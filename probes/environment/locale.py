"""Language, encoding and time zone: what text and dates look like, and how names sort."""

import locale
import os
import sys
import time
from typing import Any

from ..facts import Absent, Facts
from .sources import forms

SCOPE = "machine"
NAMES = (
    "locale.language",
    "locale.numeric",
    "locale.collation",
    "locale.encoding",
    "locale.file_system_encoding",
    "locale.standard_output_encoding",
    "locale.decimal_point",
    "time.zone",
)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts; the locale is asked, never set."""
    facts.read("locale.language", "setlocale LC_CTYPE", lambda: _category(locale.LC_CTYPE))
    facts.read("locale.numeric", "setlocale LC_NUMERIC", lambda: _category(locale.LC_NUMERIC))
    facts.read("locale.collation", "setlocale LC_COLLATE", lambda: _category(locale.LC_COLLATE))
    facts.read("locale.encoding", "locale.getpreferredencoding", lambda: _spelled(locale.getpreferredencoding(False)))
    facts.read("locale.file_system_encoding", "sys", lambda: _spelled(sys.getfilesystemencoding()))
    facts.read("locale.standard_output_encoding", "sys.__stdout__", _standard_output)
    facts.read("locale.decimal_point", "localeconv", lambda: str(locale.localeconv()["decimal_point"]))
    facts.read("time.zone", "TZ, /etc/localtime, tzname", zone)


def _category(category: int) -> str:
    return forms.recorded(locale.setlocale(category, None), forms.LOCALE)


def _spelled(encoding: str) -> str:
    # Python 3.13 says utf-8 where 3.11 says UTF-8.
    return forms.recorded(encoding.lower().replace("_", "-"), forms.ENCODING)


def _standard_output() -> str:
    if sys.__stdout__ is None:
        raise Absent("this process has no standard output")
    return _spelled(sys.__stdout__.encoding)


def zone() -> str:
    """The zone's name, "Europe/Berlin", where the system has it, else its abbreviation, "CET". Raises Absent."""
    asked = os.environ.get("TZ", "").lstrip(":") or os.path.realpath("/etc/localtime")
    if asked != "/etc/localtime":
        return forms.recorded(asked.split("zoneinfo/")[-1], forms.ZONE)
    if not time.tzname[0]:
        raise Absent("the system names no time zone")
    return forms.recorded(time.tzname[0], forms.ZONE)
