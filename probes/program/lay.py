"""Lays the folder from which the recorder is injected, on the machine where the program will run."""

import json
import os
from typing import Dict, NamedTuple, Optional, Tuple

from .site import PACKAGE

MODULES = "modules"
_WANTED = "wanted.json"
_HERE = __name__.partition(".")[0]


class Wanted(NamedTuple):
    """What is to be recorded. steps: end the program after so many; None: let it run to its end. trace: "steps" or
    "operators"; window: the steps from a to before b whose operators are recorded."""

    steps: Optional[int] = None
    trace: str = "steps"
    window: Optional[Tuple[int, int]] = None


def lay(folder: str, sources: Dict[str, str], wanted: Wanted) -> Dict[str, str]:
    """Write the recorder into an empty folder; the variables with which the program is to be started. sources: every
    module of the bundle, {name: source text}."""
    for name, source in sources.items():
        parts = name.split(".")
        parts[0] = PACKAGE if parts[0] == _HERE else parts[0]
        if any(other.startswith(name + ".") for other in sources):
            parts.append("__init__")
        _write(os.path.join(folder, MODULES, *parts) + ".py", source)
    _write(os.path.join(folder, "sitecustomize.py"), sources[_HERE + ".program.site"])
    _write(os.path.join(folder, _WANTED), json.dumps(wanted._asdict()))
    path = os.environ.get("PYTHONPATH", "")
    # No separator at its end: an empty entry would put the working folder on the path.
    return {"PYTHONPATH": folder + (os.pathsep + path if path else ""), "AUDIT_RECORDING": folder}


def wanted(folder: str) -> Wanted:
    """What was given to `lay`."""
    with open(os.path.join(folder, _WANTED), encoding="utf-8") as file:
        told = json.load(file)
    window = told["window"]
    return Wanted(told["steps"], told["trace"], None if window is None else (window[0], window[1]))


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
