"""A TEST DOUBLE of a defective core: a library, made by gcc of wrong_core.c, that one core is wrong under."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
FIRST, WRONG = CORES[0], CORES[-1]
"""Of the cores that the tests may use, and of these the one that is made wrong."""


def missing() -> str:
    """What this machine lacks for it, or nothing."""
    if len(CORES) < 2:
        return "one core cannot disagree"
    return "" if shutil.which("gcc") else "no gcc, which makes the test double"


class WrongCore:
    """Makes the libraries in a folder, one for each function that goes wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, function: str, **variables: object) -> str:
        """The variables under which WRONG is wrong in this function of the C library, as a shell assigns them."""
        library = self.folder / f"{function}.so"
        if not library.exists():
            source = str(Path(__file__).with_suffix(".c"))
            build = ["gcc", "-O1", "-Wall", "-Werror", "-fno-builtin", "-shared", "-fPIC", f"-DFUNCTION={function}"]
            subprocess.run([*build, "-o", str(library), source, "-ldl"], check=True)
        assigned = {"LD_PRELOAD": library, "CORE": WRONG, **variables}
        return " ".join(f"{name}={value}" for name, value in assigned.items())
