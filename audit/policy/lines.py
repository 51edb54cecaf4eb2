"""On which line of a JSON text each key stands, so that a finding can point at the line that a reviewer knows."""

from __future__ import annotations

import re

Path = tuple[str, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]')


def of_keys(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every key by its path from the outermost object. text: valid JSON, formatted in any
    way; objects inside lists are counted with the list's own path."""
    found: dict[Path, int] = {}
    above: list[tuple[str, str]] = []  # the brackets that are open, each with the key that it is the value of
    line, key, held, wants_key = 1, "", "", False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            above.append((token, key))
            key, wants_key = "", token == "{"
        elif token in "}]":
            key = above.pop()[1] if above else ""
            wants_key = False
        elif token == ",":
            wants_key = bool(above) and above[-1][0] == "{"
        elif token == ":":
            key, wants_key = held, False
            found.setdefault((*(name for _, name in above if name), key), line)
        elif wants_key:
            held = token[1:-1]
    return found
