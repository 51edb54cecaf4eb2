"""What the words of a command say where it is to run: is its program there, which Python runs it, what it is given."""

import hashlib
import os
import re
import shutil
from typing import Iterator, List, NamedTuple, Optional

_PYTHON = re.compile(r"(python|pypy)[0-9.]*[a-z]{0,3}(\.exe)?")
_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
_FIRST_LINES = 2048
"""Bytes of a script in which its interpreter is named; a kernel reads 256."""

_MOST_SCRIPTS = 4
"""How often one script's interpreter may be another script; Linux allows about as many."""


class Located(NamedTuple):
    """python: the interpreter that runs the program, "" if it is no Python's; missing: why it cannot be started."""

    python: str = ""
    missing: str = ""


def is_python(word: str) -> bool:
    """Whether a word names a Python: "python3.11", "/opt/env/bin/python"."""
    return bool(_PYTHON.fullmatch(os.path.basename(word)))


def located(words: List[str]) -> Located:
    """Where a command leads on this machine, without starting it."""
    program = shutil.which(words[0])
    if program is None:
        return Located(missing=_missing(words[0]))
    if is_python(words[0]):
        return Located(program)
    for line in _interpreters(program):
        found = shutil.which(line[0])
        if found is None:
            return Located(missing="the interpreter in its first line, {}, does not exist".format(line[0]))
        if is_python(line[0]):
            return Located(found)
    return Located()


def expanded(words: List[str]) -> List[str]:
    """The same command with a real program first, for what starts no scripts (an emulator). Words that lead to none
    are left as they are."""
    whole = list(words)
    for _ in range(_MOST_SCRIPTS):
        program = shutil.which(whole[0])
        if program is None:
            break
        whole[0] = program
        line = _first_line(program)
        if not line:
            break
        whole[:1] = [*line, program]
    return whole


def arguments_digest(words: List[str]) -> str:
    """BLAKE2b-64 (hex) over what the program is given: the words after the script or module of a Python, or from its
    -c on; of another command all but the first and the script, which lies elsewhere on each machine. They are joined by
    NUL, which none can hold."""
    given = _after_script(words) if is_python(words[0]) else _without_script(words[1:])
    return hashlib.blake2b("\0".join(given).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _after_script(words: List[str]) -> List[str]:
    rest = iter(range(1, len(words)))
    for n in rest:
        word = words[n]
        if word in _OPTIONS_WITH_VALUE:
            next(rest, None)
        elif word.startswith(_OPTIONS_WITH_VALUE):
            continue
        elif re.match(r"-[A-Za-z]*c", word):  # what follows is the program itself, which is in no file
            return words[n:]
        elif re.fullmatch(r"-[A-Za-z]*m", word):  # alone or behind other letters; its value follows
            return words[n + 2 :]
        elif not word.startswith("-") or re.match(r"-[A-Za-z]*m", word):
            return words[n + 1 :]
    return []


def _without_script(words: List[str]) -> List[str]:
    script = next((n for n, word in enumerate(words) if word.endswith(".py")), len(words))
    return words[:script] + words[script + 1 :]


def _missing(word: str) -> str:
    if os.path.isdir(word):
        return "it is a folder"
    if os.path.exists(word):
        return "not executable (chmod +x), or not by you"
    return "no such command"


def _interpreters(program: str) -> Iterator[List[str]]:
    """The words of the first line of a script, then of its interpreter where that is a script, and so on."""
    for _ in range(_MOST_SCRIPTS):
        line = _first_line(program)
        found = shutil.which(line[0]) if line else None
        if line:
            yield line
        if found is None:
            return
        program = found


def _first_line(program: str) -> List[str]:
    """The interpreter that a script names, and its option; nothing for a binary."""
    try:
        with open(program, "rb") as file:
            lines = file.read(_FIRST_LINES).split(b"\n")
    except OSError:
        return []
    if not lines[0].startswith(b"#!"):
        return []
    words = os.fsdecode(lines[0][2:]).split(None, 1)
    # Installers write this where the path of a Python is too long for a kernel, or has a space in it.
    long = re.match(rb"""'''exec' "?([^"]+?)"? "\$0" "\$@"$""", lines[1]) if len(lines) > 1 else None
    if long:
        return [os.fsdecode(long.group(1))]
    if words and os.path.basename(words[0]) == "env" and len(words) > 1:
        named = [word for word in words[1].split() if word != "-S"]
        return _without_settings(named)
    return [word.strip() for word in words]


def _without_settings(words: List[str]) -> List[str]:
    """What `env` starts: the words behind its options and variables."""
    start: Optional[int] = next((n for n, word in enumerate(words) if word[:1] != "-" and "=" not in word), None)
    return words[start:] if start is not None else []
