"""The README's pictures, made of the recorded machines: `python docs/pictures.py` writes them all.

A test makes them again and fails where one is not as committed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from audit import inputs  # noqa: E402 - the folder above is on the path by now
from audit.compare.engine import compare  # noqa: E402
from fixtures import many  # noqa: E402
from reports import render  # noqa: E402

MACHINES = ROOT / "fixtures" / "machines"

NODES = (*range(20), 249)
"""Twenty nodes of a cluster, and one whose core computes wrongly."""


def pictures() -> Iterator[tuple[str, str]]:
    """The name of every picture's file in docs, and its text."""
    with _folder() as folder:
        for name, file in (("host", "host"), ("nehalem", "host~blas+numpy+libm=cpu.model~nehalem")):
            (folder / f"{name}.json.gz").write_bytes((MACHINES / f"{file}.json.gz").read_bytes())
        yield "diff.svg", render.drawing(compare(inputs.sides(["host.json.gz", "nehalem.json.gz"]).sides))
    with _folder() as folder:
        for number in NODES:
            (folder / f"{many.label(number)}.json").write_bytes(many.report(number))
        yield "nodes.svg", render.drawing(compare(inputs.sides(["."]).sides))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """An empty current folder, so that no path of this machine can be in a picture."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    for name, drawn in pictures():
        (ROOT / "docs" / name).write_text(drawn, "utf-8")
