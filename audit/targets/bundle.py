"""The probes as they travel: as text for `PREFIX python -`, or as one file that runs by itself."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
import zlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import probes
from probes import bootstrap

HELPERS = ("threadpoolctl", "pynvml")
"""Modules of other projects that travel with the probes: each is a single file, and optional to them."""

_GPU_ONLY = {"pynvml"}


def sources(gpu: bool = True) -> dict[str, str]:
    """Every module that travels, by name below no package: "" is the probes' own `__init__`.

    gpu: with pynvml, which is larger than all the rest and needed by one request only.
    """
    folder = Path(probes.__file__).parent
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = path.read_text("utf-8")
    for helper in HELPERS:
        if helper in _GPU_ONLY and not gpu:
            continue
        spec = find_spec(helper)
        if spec and spec.origin:
            found["/" + helper] = Path(spec.origin).read_text("utf-8")
    return found


@lru_cache(maxsize=2)
def _encoded(gpu: bool) -> str:
    modules = {}
    for name, source in sources(gpu).items():
        own = bootstrap.PACKAGE + ("." + name if name else "")
        modules[name[1:] if name.startswith("/") else own] = source
    return base64.b64encode(zlib.compress(json.dumps(modules).encode("utf-8"), 6)).decode("ascii")


def script(token: str, request: dict[str, Any]) -> bytes:
    """What goes to the interpreter's standard input: the bootstrap's own text, and one call of it."""
    text = Path(bootstrap.__file__).read_text("utf-8")
    asked = base64.b64encode(json.dumps(request).encode("utf-8")).decode("ascii")
    return f"{text}\n\nstart({token!r}, {asked!r}, {_encoded(request['work'] == 'gpu')!r})\n".encode("ascii")


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
        _add(archive, "__main__.py", "import sys\n\nfrom probes.__main__ import main\n\nsys.exit(main())\n")
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: str) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content.encode("utf-8"))
