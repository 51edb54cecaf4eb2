"""Mutation testing: every small change of a module must make a test fail, or be explained in survivors.md.

    .venv/bin/python tests/mutation/run.py [--processes N] [--digits DIGITS] [MODULE ...]

Works in a temporary copy of the tree, so the checkout is never mutated. Exits 1 if a mutant survives that is not
explained, or if an explanation explains nothing any more. With `--digits 37` only the mutants whose number ends in one
of these digits: a fixed sample, here of a fifth. To add a module: a row in MODULES.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("audit", "probes", "reports", "tests", "pyproject.toml")
SURVIVORS = Path(__file__).with_name("survivors.md")

MUTMUT = "3.8.1"
"""The version whose mutants survivors.md explains; another one may make others."""

MODULES = {
    "audit/compare/ulp.py": ["tests/audit/test_ulp.py"],
    "audit/compare/size.py": ["tests/audit/test_size.py"],
    "audit/compare/sketch.py": ["tests/probes/test_sketch.py"],
    "audit/compare/results.py": ["tests/audit/test_results_fuzz.py"],
    "audit/compare/groups.py": ["tests/audit/test_groups.py"],
    "audit/compare/environment.py": ["tests/audit/test_environment.py"],
    "audit/compare/side.py": ["tests/audit/test_groups.py", "tests/audit/test_results.py"],
    "audit/compare/engine.py": ["tests/audit/test_groups.py", "tests/audit/test_results.py"],
    "probes/sketch.py": ["tests/probes/test_sketch.py"],
}
"""Each module with the tests that must notice its mutants: few and fast, as each of them runs for every mutant."""

SETTINGS = """
[mutmut]
source_paths =
    audit/
    probes/
    reports/
only_mutate =
    {module}
timeout_multiplier = 3
also_copy =
    tests/
pytest_add_cli_args =
    -n0
    -pno:cacheprovider
pytest_add_cli_args_test_selection =
    {tests}
"""

PROFILE = """
import hypothesis

quick = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure is enough: the smallest one takes long
hypothesis.settings.register_profile("mutation", phases=quick, database=None, derandomize=True)
hypothesis.settings.load_profile("mutation")
"""

ENTRY = re.compile(r"^- `(?P<function>[^`]+)`: `(?P<before>[^`]*)` → `(?P<after>[^`]*)`: .+", re.MULTILINE)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Mutation testing of the modules that decide what differs.")
    parser.add_argument("modules", nargs="*", default=[*MODULES], help=f"of {', '.join(MODULES)}")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--digits", default="", help="only mutants whose number ends in one of these digits")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("mutmut") is None:
        parser.error(f"mutmut is not installed: {sys.executable} -m pip install mutmut=={MUTMUT}")
    status = 0
    for module in options.modules:
        print(f"{module}: mutating", flush=True)
        with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
            counts, survivors = mutate(module, Path(folder), options.processes, options.digits)
        entries = explained(module)
        unexplained = [one for one in survivors if not any(fits(entry, one) for entry in entries)]
        useless = (
            [] if options.digits else [entry for entry in entries if not any(fits(entry, one) for one in survivors)]
        )
        for name, before, after in unexplained:
            print(f"  survived, not explained: {name}\n    - {before}\n    + {after}")
        for entry in useless:
            print(f"  explains nothing: {' '.join(entry)}")
        told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        print(f"{module}: {sum(counts.values())} mutants, {told}, {len(unexplained)} not explained", flush=True)
        status |= bool(unexplained or useless)
    return status


def mutate(module: str, folder: Path, processes: int, digits: str) -> tuple[Counter[str], list[tuple[str, str, str]]]:
    """Counts of mutants by what became of them, and the survivors: function, line before and line after."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    settings = SETTINGS.format(module=module, tests="\n    ".join(MODULES[module]))
    (folder / "setup.cfg").write_text(settings, encoding="utf-8")
    with open(folder / "tests" / "conftest.py", "a", encoding="utf-8") as conftest:
        conftest.write(PROFILE)
    mutmut = [sys.executable, "-m", "mutmut"]
    with open(folder / "log", "w", encoding="utf-8") as log:
        run = [*mutmut, "run", "--max-children", str(processes), *(f"*{digit}" for digit in digits)]
        done = subprocess.run(run, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    listed = subprocess.run(
        [*mutmut, "results", "--all", "true"], cwd=folder, capture_output=True, text=True, check=True
    )
    results = dict(line.strip().split(": ") for line in listed.stdout.splitlines() if ": " in line)
    results = {name: result for name, result in results.items() if not digits or name[-1] in digits}
    if done.returncode or not results:
        raise SystemExit((folder / "log").read_text(encoding="utf-8")[-3000:])
    survivors = []
    for name in (name for name, result in results.items() if result not in ("killed", "timeout")):
        shown = subprocess.run([*mutmut, "show", name], cwd=folder, capture_output=True, text=True, check=False)
        if shown.returncode:
            raise SystemExit(f"{name}: {results[name]}; mutmut cannot show it: {shown.stderr[-500:]}")
        lines = [
            line for line in shown.stdout.splitlines() if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")
        ]
        before, after = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        survivors.append((function(name), before, after))
    return Counter(results.values()), survivors


def function(name: str) -> str:
    """The function of mutmut's name for a mutant: `audit.compare.size.x__rtol__mutmut_3` is in `_rtol`."""
    return re.sub(r"^x_|^xǁ", "", name.split(".")[-1].rsplit("__mutmut_", 1)[0]).replace("ǁ", ".")


def explained(module: str) -> list[tuple[str, str, str]]:
    """The entries of survivors.md under a module's heading: function (or `*`), fragment before and after."""
    sections = dict(re.findall(r"^## `(.+)`\n((?:(?!## ).*\n?)*)", SURVIVORS.read_text(encoding="utf-8"), re.MULTILINE))
    return [(one["function"], one["before"], one["after"]) for one in ENTRY.finditer(sections.get(module, ""))]


def fits(entry: tuple[str, str, str], survivor: tuple[str, str, str]) -> bool:
    """Whether the survivor is, in the entry's function, the entry's `before` with `after` in its place."""
    (where, before, after), (name, old, new) = entry, survivor
    places = [match.start() for match in re.finditer(re.escape(before), old)]
    return where in ("*", name) and any(old[:at] + after + old[at + len(before) :] == new for at in places)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
