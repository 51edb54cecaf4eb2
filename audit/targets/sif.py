"""A SIF file (Apptainer, Singularity): what it tells without being run, and what its runtime lets in from outside.

Of a file of gigabytes the header, the table of its parts and the small parts are read, and of its file systems samples.
It comes from elsewhere: sizes and numbers are limited, and what it says of itself goes through the forms that a report
may hold.

Source of the format: github.com/sylabs/sif, pkg/sif/sif.go: Header, Descriptor, Partition. Little-endian, not padded.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from audit.targets import history, recipe
from audit.targets.image import architecture
from audit.targets.target import Facts
from probes.environment import variables
from probes.environment.packages import normal
from probes.environment.sources import forms
from probes.facts import Absent
from probes.facts import Facts as Reading
from probes.session import Notify

_HEADER = struct.Struct("<32s10s3s3s16s8q")
_PART = struct.Struct("<i?III7q128s384s")
_FILE_SYSTEM = struct.Struct("<ii3s")

_MAGIC = b"SIF_MAGIC\0"
_DEFINITION, _VARIABLES, _LABELS, _PARTITION = 0x4001, 0x4002, 0x4003, 0x4004
_PRIMARY = 2

_MACHINES = "386 amd64 arm arm64 ppc64 ppc64le mips mipsle mips64 mips64le s390x riscv64"
_ARCHITECTURES = dict(enumerate(_MACHINES.split(), 1))
_FILE_SYSTEMS = {1: "squashfs", 2: "ext3", 3: "archive", 4: "raw", 5: "encrypted squashfs"}

MOST_PARTS = 1024
"""The tools that make SIF files reserve 48."""

MOST_TEXT = 1 << 20
"""Bytes of a definition file, of labels, and of variables."""

SAMPLES, SAMPLE = 64, 1 << 16
"""How many pieces of a file system are looked at, evenly from its first to its last bytes, and how large they are. The
last hold a squashfs's tables: sizes and places of all its files."""

_SECTION = re.compile(r"%(\w+)(?:[ \t].*)?$")
_FIELD = re.compile(r"(Bootstrap|From|Stage)\s*:\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part of the file. extra: what only its kind has."""

    kind: int
    offset: int
    size: int
    extra: bytes

    @property
    def file_system(self) -> tuple[int, int, bytes]:
        """Which file system, what for, and for which architecture."""
        kind, role, machine = _FILE_SYSTEM.unpack_from(self.extra)
        return int(kind), int(role), bytes(machine)


class Sif:
    """A SIF file's header and parts. Raises Absent if it is none, or OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or head[32:42] != _MAGIC:
                raise Absent("it is no SIF file")
            _, _, _, self.machine, _, _, _, _, total, table, _, _, _ = _HEADER.unpack(head)
            if not 0 <= total <= MOST_PARTS or table < 0:
                raise Absent("its table of parts is damaged")
            file.seek(table)
            data = file.read(total * _PART.size)
        parts = _PART.iter_unpack(data[: len(data) // _PART.size * _PART.size])
        self.parts = [Part(one[0], one[5], one[6], one[-1]) for one in parts if one[1] and min(one[5], one[6]) >= 0]

    @property
    def file_systems(self) -> list[Part]:
        """The one that is started first, what is laid over it behind it."""
        found = [part for part in self.parts if part.kind == _PARTITION]
        return sorted(found, key=lambda part: part.file_system[1] != _PRIMARY)

    def text(self, kind: int) -> str:
        """All parts of a kind as one text; "" where there is none."""
        found = []
        with open(self.path, "rb") as file:
            for part in self.parts:
                if part.kind == kind:
                    file.seek(part.offset)
                    found.append(file.read(min(part.size, MOST_TEXT)).rstrip(b"\0").decode("utf-8", "replace"))
        return "\n".join(found)[:MOST_TEXT]

    def digest(self, part: Part) -> str:
        """12 digits that stand for a part's content, or for samples of it and its size."""
        digest = hashlib.blake2b(b"%d %d" % (part.kind, part.size), digest_size=6, person=b"audit sif")
        with open(self.path, "rb") as file:
            if part.size <= SAMPLES * SAMPLE:
                pieces = [(0, part.size)]
            else:
                pieces = [(n * (part.size - SAMPLE) // (SAMPLES - 1), SAMPLE) for n in range(SAMPLES)]
            for start, length in pieces:
                file.seek(part.offset + start)
                digest.update(file.read(length))
        return digest.hexdigest()

    @cached_property
    def labels(self) -> dict[str, Any]:
        try:
            found = json.loads(self.text(_LABELS) or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def steps(self) -> list[tuple[str, str]]:
        """The definition file in a Dockerfile's words: FROM an image, ENV variables, RUN a script."""
        found = list(steps(self.text(_DEFINITION)))
        if found:
            return found
        bases = [str(value) for name, value in self.labels.items() if str(name).endswith(".deffile.from")]
        return [("FROM", base) for base in bases]


def steps(definition: str) -> Iterator[tuple[str, str]]:
    """The steps of a definition file. Source: Apptainer's documentation, Definition Files."""
    section = ""
    lines: list[str] = []
    for line in [*definition.splitlines(), "%end"]:
        begun = _SECTION.match(line)
        field = _FIELD.match(line.strip())
        if begun:
            yield from _step(section, lines)
            section, lines = begun[1].lower(), []
        elif not section and field and field[1].lower() == "from":
            yield "FROM", field[2]
        elif field and field[1].lower() == "bootstrap":  # another stage
            yield from _step(section, lines)
            section, lines = "", []
        else:
            lines.append(line)


def _step(section: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    if section == "post":
        yield "RUN", "\n".join(line.strip() for line in lines)
    elif section == "environment":
        yield "ENV", shlex.join(_exported("\n".join(lines)))
    elif section == "files":
        yield "COPY", ""


def _exported(text: str) -> Iterator[str]:
    """NAME=VALUE of each line of a shell's script that sets a variable, whether quoted or not."""
    for name, value in re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=([^\n;]*)", text, re.MULTILINE):
        plain = value.strip().strip("\"'")
        yield f"{name}={plain}"


# -- facts ------------------------------------------------------------------------------------------------------------


def _id(sif: Sif) -> str:
    """Of all parts' contents: neither when the file was made, nor its random number, nor where a part lies."""
    whole = " ".join(sorted(f"{part.kind} {sif.digest(part)}" for part in sif.parts))
    return hashlib.blake2b(whole.encode("ascii"), digest_size=6, person=b"audit sif").hexdigest()


def _layers(sif: Sif) -> list[str]:
    return [sif.digest(part) for part in sif.file_systems]


def _store(sif: Sif) -> str:
    kinds = [_FILE_SYSTEMS.get(part.file_system[0], "another file system") for part in sif.file_systems]
    return "SIF: " + (", ".join(dict.fromkeys(kinds)) or "no file system")


def _machine(sif: Sif) -> str:
    codes = [sif.file_systems[0].file_system[2]] if sif.file_systems else []
    for code in (*codes, sif.machine):
        number = code.rstrip(b"\0").decode("ascii", "replace")
        if number.isdecimal() and int(number) in _ARCHITECTURES:
            return _ARCHITECTURES[int(number)]
    raise Absent("the file does not say for which architecture it is")


def _recipe(sif: Sif) -> list[str]:
    if not sif.steps:
        raise Absent("no definition file is in it")
    return [
        f"FROM {recipe.shown(rest)}" if word == "FROM" else history.recorded(f"{word} {rest}")
        for word, rest in sif.steps
    ]


def _unpinned(sif: Sif) -> list[str]:
    if not sif.steps:
        raise Absent("no definition file is in it")
    return recipe.left_open([rest for word, rest in sif.steps if word == "FROM"], sif.steps)


def _env(sif: Sif) -> list[str]:
    settings = [one for word, rest in sif.steps if word == "ENV" for one in shlex.split(rest)]
    return sorted(set(history.allowed([*settings, *_exported(sif.text(_VARIABLES))])))


def _builder(sif: Sif) -> str:
    """Which program made it, as its labels say."""
    for name, value in sif.labels.items():
        if match := re.search(r"\.usage\.(apptainer|singularity)\.version$", str(name)):
            return f"{match[1]} {forms.version(str(value).partition('-')[0])}"
    raise Absent("its labels do not say")


READINGS = (
    ("image.id", "SIF header and samples", _id),
    ("image.store", "SIF header", _store),
    ("image.platform", "SIF header", lambda sif: f"linux/{_machine(sif)}"),
    ("image.emulated", "SIF header", lambda sif: _machine(sif) != architecture(platform.machine())),
    ("image.layers", "samples of the SIF file's file systems", _layers),
    ("image.recipe", "SIF definition file", _recipe),
    ("image.unpinned", "SIF definition file", _unpinned),
    ("image.env", "SIF definition file", _env),
    ("image.builder", "SIF labels", _builder),
)
"""What a SIF file tells: every fact with its source."""

NAMES = {name for name, _, _ in READINGS} | {
    f"container.{name}" for name in ("runtime", "gpu", "home", "inherited", "user_packages")
}


class Outside:
    """The facts of a SIF file and of what is let into it. prefix: the command that it is run with."""

    def __init__(self, path: str, prefix: list[str]) -> None:
        self.path = path
        self.prefix = prefix

    def __call__(self, captured: dict[str, Any], notify: Notify) -> Facts:
        facts = Reading()
        sif = facts.read("image.id", "SIF file", lambda: Sif(self.path))
        if sif is not None:
            for name, source, reading in READINGS:
                facts.read(name, source, lambda reading=reading: reading(sif))  # type: ignore[misc]
        program = os.path.basename(self.prefix[0])
        facts.add("container.runtime", program, "the command")
        facts.add("container.gpu", "--nv" in self.prefix, "the command")
        inside = {name: fact.get("value") for name, fact in captured.get("facts", {}).items()}
        home = facts.read("container.home", f"variables and configuration of {program}", lambda: self._home(program))
        facts.read("container.inherited", "variables outside and inside", lambda: _inherited(inside))
        facts.read("container.user_packages", "the home folder, and packages inside", lambda: _leaking(inside, home))
        return facts.records

    def _home(self, program: str) -> bool:
        """Whether the home folder is bound: it is, unless somebody turned it off.

        Source: Apptainer's documentation, Bind Paths and Mounts, and apptainer.conf.
        """
        settings = {name.partition("_")[2]: value for name, value in os.environ.items() if _OWN.match(name)}
        if any(settings.get(name, "").lower() in ("1", "true") for name in ("NO_HOME", "CONTAIN", "CONTAINALL")):
            return False
        if "home" in settings.get("NO_MOUNT", "").split(","):
            return False
        return not any(_turned_off(place / "etc" / program / f"{program}.conf") for place in self._places())

    def _places(self) -> list[Path]:
        """Where the runtime may be installed."""
        return [Path("/"), Path(os.path.realpath(self.prefix[0])).parent.parent]


_OWN = re.compile("APPTAINER_|SINGULARITY_")


def _turned_off(configuration: Path) -> bool:
    try:
        text = configuration.read_text("utf-8", "replace")
    except OSError:
        return False
    return bool(re.search(r"^\s*mount\s+home\s*=\s*no\s*$", text, re.MULTILINE))


def _inherited(inside: dict[str, Any]) -> list[str]:
    """Variables of this machine that are in effect inside, of those that a report may hold."""
    outside = {name: variables.shown(name, os.environ[name]) for name in variables.FORMS if name in os.environ}
    return sorted(f"{name}={value}" for name, value in outside.items() if inside.get(f"variables.{name}") == value)


def _leaking(inside: dict[str, Any], home: bool | None) -> list[str]:
    """Packages of the image's Python that come from the home folder which is bound: "leaky 1.0"."""
    if not home or not inside.get("python.user_site"):
        return []
    version = ".".join(str(inside.get("python.version")).split(".")[:2])
    folder = Path.home() / ".local" / "lib" / f"python{version}" / "site-packages"
    pairs = (path.name.removesuffix(".dist-info").partition("-")[::2] for path in folder.glob("*-*.dist-info"))
    names = {normal(name): found for name, found in pairs}
    return sorted(f"{name} {found}" for name, found in names.items() if inside.get(f"packages.{name}.version") == found)
