"""The probes as they travel: by the standard input of `PREFIX python -c LOADER`, or as one file that runs alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import marshal
import zipfile
import zlib
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from types import CodeType
from typing import Any

import audit
import probes
from probes import bootstrap

LOADER = "@exec\r@input\rclass\fX:pass"
"""A program that runs the first line of standard input. ssh hands its arguments to a shell on the other side, and other
prefixes may too; so it has no character that means anything to a shell, at any depth of quoting: no space (a form feed
separates words), no line feed (a carriage return ends lines), no parenthesis (decorators call). `input` prints its
argument, the class, which framing ignores. Standard input alone (`python -`) would do, but Python decodes a program
from there at 1.5 MB/s [measured with 3.11], which takes longer than the facts."""

PRINTED = "<class '__main__.X'>"
"""What the loader prints."""

SHELL_LOADER = "$'" + LOADER.replace("\r", "\\r").replace("\f", "\\f") + "'"
"""The same as a person can type it in a shell, and read it."""

_MAIN = """import sys

if sys.version_info[:2] < FLOOR:
    versions = sys.version_info[:2] + FLOOR
    sys.stderr.write("probes.pyz: Python %d.%d is too old, the probes need %d.%d or newer\\n" % versions)
    sys.exit(2)
from probes.__main__ import main

sys.exit(main())
""".replace("FLOOR", str(bootstrap.FLOOR))

HELPERS = ("threadpoolctl", "pynvml")
"""Modules of other projects that travel with the probes: each is a single file, and optional to them."""

_GPU_ONLY = {"pynvml"}


_COMPUTING = ("operators.", "jobs.", "program.")
"""Half of all modules: packing and unpacking them takes a third of the time in which facts are read."""


def _files(gpu: bool = True) -> dict[str, Path]:
    """Every module that travels, by name below no package: "" is the probes' own `__init__`.

    gpu: with pynvml, which is larger than all the rest and needed by few requests only.
    """
    folder = Path(probes.__file__).parent
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    for helper in HELPERS:
        if helper in _GPU_ONLY and not gpu:
            continue
        spec = find_spec(helper)
        if spec and spec.origin:
            found["/" + helper] = Path(spec.origin)
    found["/audit"] = Path(audit.__file__)  # what a recorded program says of itself, without the package
    return found


def sources(gpu: bool = True) -> dict[str, str]:
    """The source of every module that travels, by name as in `_files`."""
    return {name: path.read_text("utf-8") for name, path in _files(gpu).items()}


def _imported(name: str) -> str:
    """The name under which a module is imported on the other side."""
    if name.startswith("/"):
        return name[1:]
    return bootstrap.PACKAGE + ("." + name if name else "")


@lru_cache(maxsize=4)
def _encoded(gpu: bool, computing: bool) -> tuple[str, str]:
    """The modules as source, and compiled by this interpreter for those of the same bytecode. Most audited
    interpreters are of the auditor's own version, and each of their children would compile 0.1 s long. computing: with
    those that only operators, jobs and programs need."""
    needed = {name: path for name, path in _files(gpu).items() if computing or not name.startswith(_COMPUTING)}
    files = {_imported(name): path for name, path in needed.items()}
    texts = {name: path.read_text("utf-8") for name, path in files.items()}
    codes = {name: _compiled(name, path) for name, path in files.items()}
    if not computing:
        texts.update((_imported(folder), "") for folder in _COMPUTING)  # a folder is one by what is in it
    packed = (json.dumps(texts).encode("utf-8"), marshal.dumps(codes))
    source, code = (base64.b64encode(zlib.compress(data, 1)).decode("ascii") for data in packed)
    return source, code


def _compiled(name: str, path: Path) -> CodeType:
    """A module's code, of the interpreter's own cache where that is up to date: compiling takes 0.1 s for all. Where
    the file lies on this machine is not in it."""
    code = SourceFileLoader(name, str(path)).get_code(name)
    assert code
    return _renamed(code, f"<audit {name}>")


def _renamed(code: CodeType, name: str) -> CodeType:
    constants = tuple(_renamed(one, name) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=name, co_consts=constants)


def script(token: str, request: dict[str, Any]) -> bytes:
    """What goes to standard input: a line that reads the bootstrap and runs it, the bootstrap, what `start` reads."""
    text = Path(bootstrap.__file__).read_text("utf-8")
    text += f"\n\nstart({token!r}, {MAGIC_NUMBER.hex().upper()!r})\n"
    asked = base64.b64encode(json.dumps(request).encode("utf-8")).decode("ascii")
    modules = _encoded(request["work"] in ("gpu", "report"), request["work"] not in ("gpu", "facts"))
    rest = "\n".join((asked, *modules))
    return f"import sys;exec(sys.stdin.read({len(text)}))\n{text}{rest}\n".encode("ascii")


@lru_cache(maxsize=1)
def digest() -> str:
    """16 hex digits that stand for the probes' sources: reports of equal ones were measured by the same code."""
    body = json.dumps(sources(), sort_keys=True).encode("utf-8")
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def pyz() -> bytes:
    """A zip that `python3 probes.pyz` runs: the probes and their helpers. The same sources give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(probes.__file__).parent
        for path in sorted(folder.rglob("*.py")):
            _add(archive, "probes/" + path.relative_to(folder).as_posix(), path.read_text("utf-8"))
        for name, source in sources().items():
            if name.startswith("/"):
                _add(archive, name[1:] + ".py", source)
        _add(archive, "__main__.py", _MAIN)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: str) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content.encode("utf-8"))
