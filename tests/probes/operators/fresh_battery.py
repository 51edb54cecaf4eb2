"""The battery in a fresh process under any prefix, interpreter and variables; and what moved between two of them.

As a script it is the child: it runs every operator and prints a line before each and one after, so that an operator
that kills the process (emulators do) is known and left out when the parent starts it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

NUMERIC_VARIABLES = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)


def battery(*, python: str = sys.executable, prefix: tuple[str, ...] = (), **variables: str) -> dict[str, Any]:
    """Every operator's record by name: labels, flags, digest. The hash seed is 1 unless `variables` say another."""
    environment = {name: value for name, value in os.environ.items() if name not in NUMERIC_VARIABLES}
    environment.update({"PYTHONHASHSEED": "1", "PYTHONWARNINGS": "ignore"}, **variables)
    records: dict[str, Any] = {}
    killers: list[str] = []
    while True:
        command = [*prefix, python, __file__, json.dumps([*records, *killers])]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        begun = ""
        for line in child.stdout.splitlines():
            record = json.loads(line)
            begun = record["name"]
            if "digest" in record:
                records[begun] = record
        if child.returncode == 0:
            return records
        assert child.returncode < 0, child.stderr
        assert begun not in records, child.stderr
        killers.append(begun)


def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Operators of both with other bits, hazards left out."""
    common = [name for name in one if name in other and not one[name]["hazard"]]
    return {name for name in common if one[name]["digest"] != other[name]["digest"]}


def _child(skip: list[str]) -> None:
    sys.dont_write_bytecode = True
    sys.path[0] = str(ROOT)  # not this folder
    import importlib

    from probes.digest import tensor
    from probes.facts import Absent, Wrong
    from probes.operators import COMPONENTS, FRAMEWORKS

    for component in (name for name in COMPONENTS if name not in FRAMEWORKS):
        try:
            operators = importlib.import_module("probes.operators." + component).operators()
        except Absent:
            continue
        for operator in operators:
            if operator.name in skip:
                continue
            print(json.dumps({"name": operator.name}), flush=True)
            record = {field: getattr(operator, field) for field in operator._fields if field != "function"}
            with contextlib.suppress(Wrong):  # an emulator's own mistake is nothing that moved
                print(json.dumps({**record, "digest": tensor(operator.function()).digest().hex()}), flush=True)


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
