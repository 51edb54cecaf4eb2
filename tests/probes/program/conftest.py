"""Programs that run with the recorder laid ahead of them, as `launch` starts them, and what it made of them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from probes.program import collect, lay

SOURCES = Path(lay.__file__).parent.parent


@dataclass
class Ran:
    """One run of a program. rows: of the job called `name`, by step: (definition, digest) by position."""

    done: subprocess.CompletedProcess[str]
    folder: Path
    collected: collect.Collected = field(init=False)

    def __post_init__(self) -> None:
        self.collected = collect.collect(str(self.folder))

    def job(self, name: str = "program") -> dict[str, Any]:
        (job,) = [job for job in self.collected.jobs if job["name"] == name]
        return job

    def rows(self, step: int, name: str = "program") -> list[tuple[dict[str, Any], str]]:
        trace = self.job(name)["trace"]
        data = base64.b64decode(trace["digests"][step])
        digests = [data[at : at + 8].hex() for at in range(0, len(data), 8)]
        sequence = trace["sequence"].get(str(step), range(len(digests)))
        return [(trace["rows"][row], digest) for row, digest in zip(sequence, digests, strict=True)]

    def names(self, step: int, phase: str = "") -> list[str]:
        return [row["tensor"] for row, _ in self.rows(step) if not phase or row["phase"] == phase]

    def digest(self, step: int, phase: str, tensor: str) -> str:
        """The digest of the row of this phase and tensor."""
        (found,) = [digest for row, digest in self.rows(step) if (row["phase"], row["tensor"]) == (phase, tensor)]
        return found

    def inputs(self, step: int, phase: str, tensor: str, name: str = "program") -> list[str]:
        """The inputs of a row in words: "loss", "before weight:w"."""
        (row,) = [row for row, _ in self.rows(step, name) if (row["phase"], row["tensor"]) == (phase, tensor)]
        named = []
        for position in row["inputs"]:
            if position >= 0:
                named.append(self.rows(step, name)[position][0]["tensor"])
            else:
                named.append("before " + self.rows(step - 1, name)[-position - 1][0]["tensor"])
        return named


Program = Callable[..., Ran]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A function that runs the text of a program, in a file prog.py in a folder of its own, with the recorder."""
    sources = {}
    for path in SOURCES.rglob("*.py"):
        parts = ["probes", *path.relative_to(SOURCES).with_suffix("").parts]
        sources[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    sources["audit"] = (SOURCES.parent / "audit" / "__init__.py").read_text("utf-8")
    runs = iter(range(100))

    def run(
        text: str,
        *arguments: str,
        interpreter: str = sys.executable,
        wanted: lay.Wanted = lay.Wanted(),  # noqa: B008 - immutable
        words: list[str] | None = None,
        **variables: str,
    ) -> Ran:
        run = tmp_path / f"run{next(runs)}"
        laid, work = run / "laid", run / "work"
        laid.mkdir(parents=True)
        work.mkdir()
        (work / "prog.py").write_text(textwrap.dedent(text), encoding="utf-8")
        environment = {**os.environ, **variables}
        path = variables.get("PYTHONPATH")
        environment.update(lay.lay(str(laid), sources, wanted))
        if path:
            environment["PYTHONPATH"] += os.pathsep + path
        done = subprocess.run(
            words or [interpreter, "prog.py", *arguments],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ran(done, laid)

    return run
