"""What `audit screen` does: one child asks a worker on every core, or GPU, within a limit of time; what they gave is
judged."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from audit import inputs
from audit.causes.attribute import Symptom, components
from audit.commands.screen import LIMIT
from audit.compare import cores as judge
from audit.compare.cores import Round
from audit.errors import DIFFERS, INCOMPLETE, SAME, AuditError, TargetError
from audit.progress import Progress
from audit.targets import asked
from audit.targets.beside import Beside
from audit.targets.talk import Talk
from audit.targets.target import Target
from probes import interrupts, orphans, streams
from probes.environment.limits import ranges
from probes.session import Died, Record
from reports.render.escape import visible
from reports.render.pages.words import listed
from reports.screening import FORMAT, VERSION, Differing, Finding, Screening, Silent, Verdict

ENDING = 5.0
"""The most seconds of a limit that are kept for ending what hangs. Of a short limit it is a fifth and 1.5 s: half a
second until a reader notices, one between a request to end and force."""

OVER = "the time limit was reached"

_STARTING = 30.0
"""A process that is older did more than start."""

_NO_MASK = 1000
"""More bits than a mask has."""


class _Seen:
    """What the child has told so far, as it came in from the thread that reads it."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.rounds: list[Round] = []
        self.refused = ""
        self.reason = ""  # why it told no more

    def take(self, record: Record) -> None:
        self.about = record.get("screen", self.about)
        self.refused = record.get("refused", self.refused)
        if "round" in record:
            try:
                self.rounds.append(msgspec.convert(record["round"], Round, str_keys=True))
            except msgspec.ValidationError as error:
                raise TargetError(f"what the cores gave cannot be read: {error}") from None


def run(options: argparse.Namespace) -> Screening:
    """The screening. Raises AuditError if nothing can be measured."""
    if options.device == "cuda":
        _refuse(options)
    interrupts.hold()  # signals are taken up while cores are measured; all else is short
    began = time.monotonic() - _age()
    until = began + options.limit
    report = _reported(options.against) if options.against else {}
    one = asked.host(options)
    if not options.quiet:
        for warning in one.warnings:
            streams.say(visible(f"audit screen: {warning}"))
    ending = min(ENDING, options.limit / 5 + 1.5)
    request = {
        "work": "screen",
        "device": options.device,
        "cores": options.cores,
        "rounds": options.rounds,
        "first": options.seed,
        "job": options.job,
        "at_once": options.at_once,
        "seconds": until - ending - time.monotonic(),
    }
    seen = _Seen()
    with Progress(options.quiet, patience=0) as progress, orphans.ended():
        _measure(one.target, request, seen, progress.notify, until - 0.8 * ending)
    if seen.refused:
        raise TargetError(seen.refused)
    return _screening(seen, options, time.monotonic() - began, report)


def _refuse(options: argparse.Namespace) -> None:
    """Raises AuditError for what is of cores."""
    if options.cores:
        raise AuditError("--cores chooses cores; which GPUs are screened CUDA_VISIBLE_DEVICES says, as for any program")
    if options.job not in ("auto", "operators", "torch"):
        raise AuditError(f"--job {options.job} runs on cores; with --device cuda: auto, torch or operators")


def _reported(name: str) -> dict[str, str]:
    """The digests of a report, as rounds name them. Raises ReportError."""
    there, _ = inputs.one(name)
    found = {one.name: one.result.digest for one in there.operators.values() if one.result and not one.repeats}
    return found | {judge.JOB + job.name: job.trace.digest for job in there.jobs.values() if job.trace}


def _age() -> float:
    """Seconds since this process was started: a limit counts from there. Linux tells; elsewhere what it computed."""
    try:
        ticks = int(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = time.process_time()
    return age if 0 <= age < _STARTING else 0.0


def _measure(
    target: Target, request: Record, seen: _Seen, notify: Callable[[str, int, int], None], until: float
) -> None:
    """Let one child measure, and give it up when its time is over, whatever it does. Raises TargetError."""
    target.seconds = max(0.1, until - time.monotonic())
    talks: list[Talk] = []

    def read() -> None:
        for record in target.beside(request, talks.append):
            seen.take(record)
            if "progress" in record:
                done, rounds = record["progress"]
                notify(f"round {done + 1}" + (f" of {rounds}" if rounds else ""), done, rounds)

    reading = Beside(read, daemon=True)  # what cannot even be ended is not waited for
    try:
        with interrupts.allowed():
            reading.done(max(0.0, until - time.monotonic()))
    finally:
        if not reading.done(0):
            for talk in talks:
                talk.stop(OVER)
            seen.reason = OVER
        over = reading.done(ENDING / 2)
    try:
        if over:
            reading.result()
    except (Died, TargetError) as error:
        if any(talk.timed_out or talk.reason == OVER for talk in talks):
            seen.reason = OVER
        elif seen.rounds and isinstance(error, Died):
            seen.reason = error.reason
        else:
            said = f"{target.words} cannot screen: {error}" if isinstance(error, Died) else str(error)
            raise TargetError(said) from None


def _screening(seen: _Seen, options: argparse.Namespace, seconds: float, report: dict[str, str]) -> Screening:
    """What was seen, judged. Raises TargetError where every core's process dies of the same."""
    runs = seen.rounds
    asked_for = seen.about.get("cores") or sorted(
        {core for one in runs for core in (*one.cores, *one.died, *one.silent)}
    )
    silent = {core: at for one in _beside(runs, -1) for core, at in one.silent.items()}
    if runs and not any(one.cores for one in runs) and not silent:
        (reason, at), *others = [death for one in _beside(runs, 0) for death in one.died.values()]
        if all(other == (reason, at) for other in others):
            every = "GPU" if options.device == "cuda" else "core"
            raise TargetError(f"the process of every {every} died during {at}: {reason}")
    findings = [_attributed(one, runs) for one in judge.findings(runs, report)]
    rounds = judge.whole(runs)
    verdict, status = _verdict(findings, whole=bool(rounds) and not silent and not seen.reason)
    found = Screening(
        FORMAT,
        VERSION,
        verdict,
        cores=asked_for,
        rounds=rounds,
        operators=max((one.operators for one in runs), default=0),
        job=seen.about.get("job", ""),
        findings=findings,
        seconds=round(seconds, 1),
        limit=options.limit,
        at_once=seen.about.get("at_once", 0),
        unit="gpu" if options.device == "cuda" else "core",
        products=seen.about.get("products", {}),
        silent=[Silent(core, at) for core, at in sorted(silent.items())],
        not_covered=_not_covered(seen.about, options, rounds),
        reason=seen.reason,
        exit=status,
    )
    return msgspec.structs.replace(found, next=_next(found, options))


def _beside(runs: list[Round], place: int) -> list[Round]:
    """What was told of the same run as here: of GPUs, each product's."""
    return [one for one in runs if (one.number, one.again) == (runs[place].number, runs[place].again)]


def _attributed(one: Finding, runs: list[Round]) -> Finding:
    """A finding with the components that it is about; its operators in the order in which they tell most."""
    through = {name: tuple(given) for run in runs for name, given in run.components.items() if given}
    rows = [other for other in one.operators if other.component]
    chosen = components([Symptom(row.operator, through.get(row.operator, (row.component,))) for row in rows], [], False)

    def telling(row: Differing) -> tuple[bool, int, str]:
        return row.component not in chosen, bin(int(row.mask, 16)).count("1") if row.mask else _NO_MASK, row.operator

    return msgspec.structs.replace(one, components=chosen, operators=sorted(one.operators, key=telling))


def _verdict(findings: list[Finding], whole: bool) -> tuple[Verdict, int]:
    if any(one.kind != "disagree" for one in findings):
        return "wrong", DIFFERS
    if findings:
        return "disagree", DIFFERS
    return ("agrees", SAME) if whole else ("incomplete", INCOMPLETE)


def _not_covered(about: dict[str, Any], options: argparse.Namespace, rounds: int) -> list[str]:
    """What agreement says nothing about."""
    of_gpus = options.device == "cuda"
    found = ["CPU cores"] if of_gpus else ["GPUs (--device cuda)"]
    if options.rounds and 0 < rounds < options.rounds:
        found.append(f"{options.rounds - rounds} of {options.rounds} rounds (--limit)")
    idle = about.get("machine_cores", 0) - len(about.get("cores", ()))
    if idle > 0:
        found.append(f"{idle} of {about['machine_cores']} {'GPUs' if of_gpus else 'cores'}")
    if of_gpus:
        found.append("what PyTorch computes by algorithms that do not repeat")
    else:
        found += [f"{name} (--job {name})" for name in ("torch", "jax") if options.job != name]
    reasons: dict[str, list[str]] = {}
    for name, reason in about.get("absent", {}).items():
        reasons.setdefault(reason, []).append(name)
    found += [f"{listed(names)}: {reason}" for reason, names in reasons.items()]
    return [*found, "memory beyond what these operators touch", "other loads, clock rates and temperatures"]


def _next(found: Screening, options: argparse.Namespace) -> str:
    """The last line: longer, with inputs that were not tried."""
    device = options.device if options.device != "cpu" else None
    job = options.job if options.job != "auto" else None
    given = {"device": device, "python": options.python, "via": options.via, "job": job}
    words = [f" --{name} {shlex.quote(value)}" for name, value in given.items() if value]
    named = sorted({core for one in found.findings for core in one.cores})
    others = [core for core in found.cores if core not in named]
    if named and len(found.cores) > 2 and not device:
        words.append(f" --cores {ranges(sorted({*named, *others[:2]}))}")
    elif options.cores:
        words.append(f" --cores {ranges(found.cores)}")
    longer = f"audit screen --limit {12 * max(options.limit, LIMIT):.0f}{''.join(words)}"
    if len(found.cores) == 1 and not device:
        return f"Next, where more cores may be used:  {longer}"
    if found.verdict == "disagree" and not options.against:
        return (
            f"Next, if there is an earlier report of this environment:  audit screen --against REPORT{''.join(words)}"
        )
    if found.verdict == "incomplete" and not found.rounds:
        return f"Next, with more time:  {longer}"
    return f"Next, for longer and with other inputs:  {longer} --seed {options.seed + found.rounds}"
