"""What `audit reproduce` does: read the report, search on this machine, save the proof, say what to type next."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
from pathlib import Path

import msgspec

from audit import inputs, own
from audit.causes import place, settings
from audit.causes.laboratory import Laboratory
from audit.causes.reproduce import reproduce
from audit.commands.options import refuse_unwritable, write
from audit.compare.programs import cut
from audit.errors import AuditError
from audit.progress import Progress
from audit.targets import environments
from audit.targets.target import Target
from probes import interrupts, orphans
from probes.session import Program
from reports import render
from reports.render.escape import visible
from reports.reproduction import Reproduction


def run(options: argparse.Namespace) -> tuple[Reproduction, list[str]]:
    """The reproduction and the file that was read. Raises AuditError if nothing can be compared or measured."""
    interrupts.hold()
    there, notes = inputs.one(options.report, options.allow_edited)
    program = own.of_report(options, there)
    if program:
        there = cut(there, program.steps or 0)
    path = options.save or _beside(there.file, options)
    if path:
        _check(path, there.file)
    if not (there.operators or there.jobs):
        raise AuditError(f"{there.file}: it has facts only; what is to be reproduced is measured by: audit run -o FILE")
    with Progress(options.quiet, patience=0) as progress, orphans.ended():
        with interrupts.allowed():
            where = place.chosen(options, there, progress.notify)
        for warning in where.warnings:
            progress.say(visible(f"audit reproduce: {warning}"))
        if program:
            where.target.outlet = lambda data: None  # what it prints was seen when it was recorded
            progress.say(visible(f"audit reproduce: {own.announcement(there, program)}"))
        laboratory = Laboratory(where.target, progress.notify, where.environments, where.outside, program)
        found = reproduce(there, laboratory)
        if where.environments:
            where.environments.close()
    found = msgspec.structs.replace(found, image=where.image, notes=[*notes, *where.notes, *found.notes])
    kept = msgspec.structs.replace(found, next=_next(found, options, where.target, program, shown=False))
    said = _saved(kept, path)  # a command line is in no file
    following = _next(found, options, where.target, program, shown=options.format == "terminal")
    return msgspec.structs.replace(found, next=following, notes=[*said, *found.notes]), [there.file]


def _saved(found: Reproduction, path: str) -> list[str]:
    """Write the proof, and beside it the variables as a file that `docker run --env-file` takes; what was written."""
    if not path:
        return []
    write(path, render.reproduction(found, "json"))
    said = [f"saved {path}" + ("; audit diff --proof takes it" if found.verdict == "reproduced" else "")]
    kept = {name: value for name, value in settings.variables(found.settings).items() if value}
    file = path.removesuffix(".json") + ".env"
    if found.verdict == "reproduced" and kept and not os.path.exists(file):
        write(file, "".join(f"{name}={value}\n" for name, value in kept.items()))
        said.append(f"wrote {file} (an env file, as docker run --env-file takes it)")
    return said


def _beside(report: str, options: argparse.Namespace) -> str:
    """Where the proof is saved if nobody says: in this folder, named after the report; nothing is ever replaced. With
    JSON asked for as output the proof is that."""
    if options.format == "json":
        return ""
    stem = Path(report).name.removesuffix(".gz").removesuffix(".json") + "-reproduction"
    names = [f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, 10_000))]
    return next((name for name in names if not os.path.exists(name)), names[0])


def _check(path: str, report: str) -> None:
    """Refuse what cannot be written before a minute of work. Raises AuditError."""
    if os.path.exists(path) and os.path.samefile(path, report):
        raise AuditError(f"--save {path} would replace the report itself; choose another file")
    refuse_unwritable(path, "--save")


def _next(
    found: Reproduction, options: argparse.Namespace, target: Target, program: Program | None, shown: bool
) -> str:
    """The last line: a run under what was found, which anyone can compare; or the way on."""
    report, python = shlex.quote(options.report), shlex.quote(str(getattr(target, "python", "python3")))
    chosen = [f"{name} {shlex.quote(value)}" for name in ("python", "via") if (value := getattr(options, name))]
    again = " ".join(["", *(f"--{one}" for one in chosen)])
    again += f" {own.again(program, shown)}" if program else ""
    then = f"    # then: audit diff {report} fixed.json"
    if found.image and found.verdict in ("reproduced", "same") and not found.code:
        return f"Next, to see it:  {_in_image(found.image.name, found.settings)} --python {python}{then}"
    if found.verdict == "reproduced" and not found.code and "numpy" in found.packages and not options.via:
        return f"Next, to see it:  {_in_environment(python, found, options.wheels)}{then}"
    if found.verdict == "reproduced" and not found.code and not found.packages:
        words = settings.shell(found.settings)
        if options.via:  # the variables belong on the machine that it reaches
            inside = shlex.quote(f"{options.via} {words}")
            return f"Next, to see it:  audit run -o fixed.json{again.replace(shlex.quote(options.via), inside)}{then}"
        return f"Next, to see it:  {words} audit run -o fixed.json{again}{then}"
    if found.verdict == "same":
        return f"Next:  audit run -o here.json{again}    # then: audit diff {report} here.json"
    if found.verdict == "nondeterministic":
        return "Next, on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    package = next((one.root for one in found.causes if re.match(r"packages\.", one.root or "")), None)
    if package and not options.packages and not found.image:
        return (
            f"Next, with the other's packages, in a throw-away environment:  audit reproduce {report} --packages{again}"
        )
    if found.meeting:
        return "Next, when both lines of Meet have run:  audit diff meet-here.json meet-there.json"
    of_cpu = any((one.root or "").startswith("cpu.") for one in found.causes)
    if found.verdict == "irreducible" and not of_cpu and not found.image:
        return "Next, on both machines, in one image:  audit run --container IMAGE -o boxed.json"
    return f"Next, to see all that differs:  audit run -o here.json{again}    # then: audit diff {report} here.json"


def _in_image(image: str, values: dict[str, str]) -> str:
    """A run in a container in which these variables are set, whatever the image would start."""
    assigned = [word for name, value in values.items() for word in ("-e", f"{name}={value}")]
    start = ["docker", "run", "-i", "--rm", "--network", "none", *assigned, "--entrypoint", "env", image]
    return f"audit run -o fixed.json --via {shlex.quote(shlex.join(start))}"


def _in_environment(python: str, found: Reproduction, wheels: str | None) -> str:
    """A run with other packages, in an environment to be thrown away, and under the settings beside them."""
    uv = "uv" if shutil.which("uv") else shlex.quote(environments.find_uv())
    words = [f"{name}=={version}" for name, version in found.packages.items()]
    words += ["--no-index", "--find-links", wheels] if wheels is not None else []
    make = f"{uv} venv --python {python} trial && {uv} pip install --python trial {shlex.join(words)}"
    return f"{make} && {settings.shell(found.settings)} audit run --python trial/bin/python -o fixed.json".replace(
        "  ", " "
    )
