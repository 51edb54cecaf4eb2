"""What `audit vary` does: choose the interpreter, vary it, write the pins, say what to type next."""

from __future__ import annotations

import argparse
import os
import shlex

import msgspec

from audit import __version__, own
from audit.causes import settings
from audit.causes.laboratory import Laboratory
from audit.causes.vary import vary
from audit.commands.options import refuse_unwritable, write
from audit.errors import AuditError
from audit.progress import Progress
from audit.targets import asked
from audit.targets.prefix import PrefixTarget
from audit.targets.target import Target
from probes import interrupts, orphans, session, streams
from reports.programs import NAME
from reports.render.escape import visible
from reports.render.pages.variation import cost, noun, pinned, runs
from reports.variation import Variation


def run(options: argparse.Namespace) -> Variation:
    """The variation; the pins are written where `--pins` says. Raises AuditError if nothing can be measured."""
    interrupts.hold()  # signals are taken up while something is measured; all else is short
    for path, option in ((options.pins, "--pins"), (options.output, "-o")):
        if path:
            refuse_unwritable(path, option)
    if options.pins and options.output and os.path.abspath(options.pins) == os.path.abspath(options.output):
        raise AuditError(f"--pins and -o are the same file ({options.pins}); name two")
    program = own.asked(options, "audit vary")
    if program and options.job:
        raise AuditError("--job is for reference jobs; with COMMAND that is what is varied")
    wanted = session.plan(options.job or ["auto"], repeat=1)
    one = asked.host(options)
    if one.missing:
        raise AuditError(f"cannot start {options.program[0]}: {one.missing}")
    if not options.quiet:
        for warning in one.warnings:
            streams.say(visible(f"audit vary: {warning}"))
    with Progress(options.quiet, patience=0) as progress, orphans.ended():

        def notify(words: str, done: int, total: int) -> None:
            progress.notify(words.partition(":")[0], 0, 0)  # a line a run: that it goes on is what counts

        def announce(times: int, each: float) -> None:
            if program:
                progress.say(f"audit vary: {own.varied(times, each, bool(options.pins))}")

        if program:
            progress.say("audit vary: runs your program twice as it is, then once under each setting")
        jobs = (NAME,) if program else wanted.jobs
        one.target.outlet = (lambda data: None) if program else one.target.outlet
        laboratory = Laboratory(one.target, notify, program=program)
        # The program is what it is about; under each setting the battery would take longer than most programs.
        found = vary(laboratory, jobs, wanted.battery and not program, bool(options.pins) or not program, announce)
    found = msgspec.structs.replace(found, next=_next(found, options, one.target, program))
    if options.pins:
        note = f"No pins, so {options.pins} was not written"
        if found.pins:
            write(options.pins, pins_file(found))
            note = f"Wrote {options.pins}"
        found = msgspec.structs.replace(found, notes=[*found.notes, note])
    return found


def pins_file(found: Variation) -> str:
    """The pins as NAME=VALUE lines, which mean the same to a shell and in an env file; what they hold for is above."""
    head = [
        f"Under these settings {noun(found.works)} gives the same bits on all of:",
        *(f"  {one.machine}" for one in found.pins_verified),
        f"Verified in {runs(found)} runs by audit {__version__}, on one machine that imitated these.",
        f"Cost: {cost(found)}.",
        f"Holds for {', '.join(found.validity)}; an upgrade of one of them can end it: run audit vary again.",
        "Other code than that job's may need other pins.",
        "Use: set -a; . ./FILE; set +a   or   env $(grep -v '^#' FILE) COMMAND   or   docker run --env-file FILE",
    ]
    lines = [*(f"# {visible(line)}" for line in head), *(f"{name}={value}" for name, value in found.pins.items())]
    return "\n".join(lines) + "\n"


def _next(found: Variation, options: argparse.Namespace, target: Target, program: session.Program | None = None) -> str:
    """The last line: the job under the pins, where there are any; else what there is to compare it with."""
    given = {name: getattr(options, name) for name in ("python", "via")}
    words = settings.shell(found.pins)
    if words and isinstance(target, PrefixTarget) and target.prefix:  # they must reach the machine at its end
        given["via"], words = shlex.join(target.under(found.pins, {}).command()[:-1]), ""
    jobs = "".join(f" --job {name}" for name in options.job or ())
    again = jobs + "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value)
    again += f" {own.again(program, options.format == 'terminal')}" if program else ""
    if pinned(found):
        return f"Next, under the pins:  {words + ' ' if words else ''}audit run -o pinned.json{again}"
    if found.nondeterministic and program and "PYTHONHASHSEED" not in found.kept:
        return f"Next, with one order of sets:  env PYTHONHASHSEED=0 audit vary{again}"
    if found.nondeterministic:
        return f"Next, to see what is not repeated:  audit run --repeat 5 -o again.json{again}"
    return f"Next, to compare with another machine:  audit run -o here.json{again}"
