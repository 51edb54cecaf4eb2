"""The lines of an image's recipe as a report may hold them, and what they leave open.

A recipe can hold anything, tokens in build arguments too. So of a RUN only known installers stay, with what has the
strict form of a package; of ENV only the variables and values that a report may hold; of the rest its first word.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from audit.targets import engine
from probes.environment import variables
from probes.environment.sources import forms

LONGEST = 1 << 16
"""Characters of a line. No longer one is taken apart."""

_SHELL = r"(?:/usr)?/bin/(?:a|ba|da|z)?sh(?: -[A-Za-z]+| pipefail)+ "
_INSTRUCTION = re.compile(
    r"(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER"
    r"|VOLUME|WORKDIR)\s+(.*)",
    re.DOTALL | re.IGNORECASE,
)


class Package(NamedTuple):
    """What an installer was asked for. text: as a report may hold it; exact: whether that is one version."""

    text: str
    exact: bool


class Install(NamedTuple):
    """One call of an installer. tool: with its subcommand, "pip install"."""

    tool: str
    packages: list[Package]


def lines(history: list[dict[str, Any]]) -> list[str]:
    """The recipe of an image, oldest line first, from what the engine tells (newest first)."""
    return [
        recorded(str(entry.get("CreatedBy") or ""), str(entry.get("Comment") or ""))
        for entry in reversed(history)
        if f"LABEL {engine.LABEL}=" not in str(entry.get("CreatedBy"))  # our own, where we built it
    ]


def recorded(line: str, comment: str = "") -> str:
    """One line of an image's history. comment: what the engine says where there is no line."""
    if not line and comment.startswith("Imported from"):
        return "(imported)"
    word, rest = instruction(line)
    if word == "RUN":
        return "RUN " + ("; ".join(map(_told, installs(rest))) or forms.NOT_RECORDED)
    if word == "ENV":
        return "ENV " + (" ".join(allowed(_split(rest))) or forms.NOT_RECORDED)
    return f"{word} {forms.NOT_RECORDED}".strip()


def _told(install: Install) -> str:
    if install.tool.endswith("upgrade"):
        return install.tool
    return f"{install.tool} {' '.join(package.text for package in install.packages) or forms.NOT_RECORDED}"


def unpinned(word: str, rest: str) -> list[str]:
    """What a RUN installs without an exact version, in words: "pip install torch: no version"."""
    found = []
    for tool, packages in installs(rest) if word == "RUN" else ():
        if tool.endswith("upgrade"):
            found.append(f"{tool}: no versions")
        for package in packages:
            if not package.exact:
                open_at = re.search("[=<>!~]", package.text)
                found.append(f"{tool} {package.text}: no {'exact ' if open_at else ''}version")
    return found


def allowed(settings: list[str]) -> list[str]:
    """Of NAME=VALUE texts those whose variable a report may hold, each value in its allowed form."""
    pairs = (text.partition("=") for text in settings)
    return [f"{name}={variables.shown(name, value)}" for name, _, value in pairs if name in variables.FORMS]


def instruction(line: str) -> tuple[str, str]:
    """The instruction that made a line of history, and what stood behind it; "" for what is none."""
    line = re.sub(r"\s*# buildkit$", "", line)
    shell = re.match(_SHELL, line)
    if shell and line[shell.end() :].lstrip().startswith("#(nop)"):
        line = line[shell.end() :].lstrip()[len("#(nop)") :].lstrip()
    elif shell or re.match(r"\|\d+ ", line):
        line = "RUN " + line
    found = _INSTRUCTION.match(line)
    if not found:
        return "", ""
    word, rest = found.group(1).upper(), found.group(2)
    if word == "RUN" and re.match(r"\|\d+ ", rest):
        # Build arguments stand before the shell, and one may hold a shell's name: only what follows the last is run.
        parts = re.split(_SHELL, rest)
        return word, parts[-1] if len(parts) > 1 else ""
    return word, re.sub("^" + _SHELL, "", rest) if word == "RUN" else rest


# -- installers -------------------------------------------------------------------------------------------------------

_VERBS = {
    "pip": ("install",),
    "uv": ("pip install", "add", "tool install"),
    "conda": ("install", "create", "update"),
    "apt": ("install", "upgrade", "dist-upgrade", "full-upgrade"),
    "apk": ("add", "upgrade"),
    "dnf": ("install", "upgrade"),
}
_FAMILIES = {
    "pip": r"pip(?:\d(?:\.\d{1,2})?)?",
    "uv": "uv",
    "conda": "conda|mamba|micromamba",
    "apt": "apt|apt-get|aptitude",
    "apk": "apk",
    "dnf": "dnf|microdnf|yum",
}
_BEFORE = {"sudo", "env", "exec", "time", "command", "then", "do", "else", "if", "!", "{", "set"}
_SWITCH = re.compile(
    r"-[yqUvE]+|--(?:yes|assume-yes|quiet|verbose|upgrade|update|pre|user|system|all|no-deps|no-input|no-cache"
    r"|no-cache-dir|no-install-recommends|no-install-suggests|no-build-isolation|force-reinstall|ignore-installed"
    r"|prefer-binary|break-system-packages|disable-pip-version-check|no-compile|override-channels|fix-missing"
    r"|only-upgrade|allow-downgrades|allow-unauthenticated|frozen|locked|no-dev|nodocs|refresh)"
)
"""Options without a value. What follows any other may be its value, a password too, and is left out with it."""

_PART = r"[A-Za-z]*\d{0,4}\+{0,2}[A-Za-z]{0,12}\d{0,4}\+{0,2}"
_NAME = rf"(?=.{{0,64}}[A-Za-z])[A-Za-z0-9]{_PART}(?:[-_.]{_PART})*"
_PACKAGE = re.compile(
    rf"(?:[a-z][a-z-]{{0,20}}::)?({_NAME}(?:\[[a-z0-9,_-]{{1,40}}\])?(?::[a-z0-9]{{2,12}})?)([=<>!~].*)?"
)
_SPECIFIER = re.compile(r"(===?|~=|!=|<=|>=|=|<|>)([^=<>!~]+)")


def installs(command: str) -> Iterator[Install]:
    """Every call of a known installer in a shell command, or in its JSON form."""
    for words in _commands(command):
        while words and (words[0] in _BEFORE or re.match(r"[A-Za-z_]\w*=", words[0])):
            words = words[1:]
        if len(words) > 2 and re.fullmatch(r"(?:.*/)?python[\d.]*", words[0]) and words[1] == "-m":
            words = words[2:]
        if not words:
            continue
        tool = words[0].rpartition("/")[2]
        family = next((name for name, form in _FAMILIES.items() if re.fullmatch(form, tool)), "")
        arguments = list(_arguments(words[1:]))
        for verb in _VERBS.get(family, ()):
            length = len(verb.split())
            if arguments[:length] == verb.split():
                found = (_package(word, family) for word in arguments[length:])
                yield Install(f"{tool} {verb}", [package for package in found if package])
                break


def _commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command; nothing of what a shell could not read."""
    if len(text) > LONGEST:
        return
    if text.lstrip().startswith("["):
        words = _json(text)
        if words:
            yield words
            return
    text = text.replace("\\\n", " ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words = []
    comment = False
    try:
        for word in lexer:
            if set(word) <= set(";&|<>()\n"):
                comment = comment and "\n" not in word
                yield words
                words = []
            elif comment or word.startswith("#"):
                comment = True
            else:
                words.append(word)
    except ValueError:  # a quotation that does not end
        return
    yield words


def _json(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


def _split(text: str) -> list[str]:
    if len(text) > LONGEST:
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _arguments(words: list[str]) -> Iterator[str]:
    """The words that are neither an option nor what may be an option's value."""
    value = False
    for word in words:
        if word.startswith("-"):
            value = "=" not in word and not _SWITCH.fullmatch(word)
        elif value:
            value = False
        else:
            yield word


def _package(word: str, family: str) -> Package | None:
    found = _PACKAGE.fullmatch(word) if len(word) <= 200 else None
    if not found:
        return None
    name, specifier = found.group(1), found.group(2) or ""
    parts = _SPECIFIER.findall(specifier)
    text = ",".join(operator + _version(version.rstrip(", "), family) for operator, version in parts)
    return Package(name + text, _is_exact(parts, family))


def _version(text: str, family: str) -> str:
    if family in ("apt", "apk", "dnf"):
        return forms.recorded(text, forms.SYSTEM_VERSION)
    stem, star, _ = text.partition(".*")
    version, build = stem, ""
    if family == "conda":
        version, equals, build = stem.partition("=")
        build = equals + forms.recorded(build, r"[a-z]{0,8}\d{0,4}\w{0,12}_\d{1,3}") if equals else ""
    return forms.version(version) + build + star


def _is_exact(parts: list[tuple[str, str]], family: str) -> bool:
    """One version and no other. conda's single "=" means "begins with", so it takes a whole version to name one."""
    if len(parts) > (2 if family == "conda" else 1) or not parts or "*" in parts[0][1]:
        return False
    operator, version = parts[0]
    if family in ("pip", "uv"):
        return operator in ("==", "===")
    return operator == "==" or (operator == "=" and (family != "conda" or version.count(".") > 1))
