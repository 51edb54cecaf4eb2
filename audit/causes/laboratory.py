"""Runs children of one target under settings and packages, and keeps the digests that each gave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.causes import settings
from audit.compare.side import Measured
from audit.errors import TargetError
from audit.targets.environments import Environments
from audit.targets.report import report
from audit.targets.target import Facts, Target
from probes import session
from probes.session import Died, Known, Notify, Plan, Program, Record, Request
from reports.programs import NAME, is_program
from reports.proof import combined, of_work
from reports.report import Job
from reports.reproduction import Child

OPERATORS = "operators"


@dataclass(frozen=True)
class Under:
    """What children run under: values of settings, and versions of packages where the environment is another."""

    settings: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)

    def __or__(self, other: Under) -> Under:
        return Under({**self.settings, **other.settings}, {**self.packages, **other.packages})

    def __bool__(self) -> bool:
        return bool(self.settings or self.packages)

    @property
    def items(self) -> list[tuple[str, str, str]]:
        """Every setting and package as (which, name, value)."""
        found = [("settings", name, value) for name, value in self.settings.items()]
        return found + [("packages", name, value) for name, value in self.packages.items()]

    @staticmethod
    def of(items: Iterable[tuple[str, str, str]]) -> Under:
        found: dict[str, dict[str, str]] = {"settings": {}, "packages": {}}
        for which, name, value in items:
            found[which][name] = value
        return Under(**found)


@dataclass
class Given:
    """What children gave: results by name (`results`), or why there are none."""

    under: Under
    works: list[str]
    side: Measured | None = None
    died: str = ""

    def child(self, wanted: Mapping[str, str], run: int = 0) -> Child:
        """The record that proves it, against the results that are wanted. run: which of its runs, from 0."""
        found = results(self.side, run) if self.side else {}
        asked = {name: one for work in self.works for name, one in of_work(wanted, work).items()}
        changed = {name: found[name] for name, one in asked.items() if found.get(name, one) != one}
        failed = {} if self.died else {name: _why(self.side, name) for name in asked if name not in found}
        mine = {name: found[name] for name in asked if name in found}
        digests = {} if self.died else {work: combined(of_work(mine, work)) for work in self.works}
        return Child(
            settings=self.under.settings,
            packages=self.under.packages,
            works=self.works,
            digests=digests,
            changed=changed,
            failed=failed,
            seconds=_seconds(self.side) if self.side else {},
            died=self.died,
        )


def results(side: Measured, run: int = 0) -> dict[str, str]:
    """The digest of everything that a side measured and repeats, by name: operators, and jobs as "job NAME", which
    tell their further runs apart."""
    found = {one.name: one.result.digest for one in side.operators.values() if one.result and not one.hazard}
    for name, job in side.jobs.items():
        runs = [job.trace.digest if job.trace else "", *(repeat.digest for repeat in job.repeats)]
        found[f"job {name}"] = runs[min(run, len(runs) - 1)]
    return found


def _why(side: Measured | None, name: str) -> str:
    assert side
    one = side.operators.get(name)
    if one:
        return one.reason or "no result"
    jobs: dict[str, Job] = {f"job {job.name}": job for job in side.target.jobs}
    return jobs[name].reason if name in jobs else "it was not run"


def _seconds(side: Measured) -> dict[str, float]:
    found = {f"job {name}": min(job.seconds) for name, job in side.jobs.items() if job.seconds}
    if side.target.battery and side.target.battery.seconds:
        found[OPERATORS] = min(side.target.battery.seconds)
    return found


def _whole(part: dict[str, Any], program: Program | None) -> None:
    """Raise Died where the program did not do all that was asked for, KeyboardInterrupt where it was interrupted: what
    it did until then is no answer here."""
    if program is None:
        return
    lacking = [line for line in part.get("incomplete", []) if line.startswith(("interrupted", "program", "no step"))]
    if any(line.startswith("interrupted") for line in lacking):
        raise KeyboardInterrupt
    steps = [job["trace"]["steps"] for job in part.get("jobs", []) if is_program(job["name"]) and "trace" in job]
    if lacking or not steps or max(steps) < (program.steps or 1):
        raise Died("failed", lacking[0] if lacking else f"program ended after {max(steps, default=0)} steps")


class Laboratory:
    """Measures one target under one thing after another.

    environments: where it may have other packages, too; outside: facts that the target cannot know of itself; program:
    a person's own, which jobs of its name run. runs: children started so far; seconds: since the laboratory was made.
    """

    def __init__(
        self,
        target: Target,
        notify: Notify,
        environments: Environments | None = None,
        outside: Callable[[], Facts] = dict,
        program: Program | None = None,
    ) -> None:
        self.target = target
        self.program = program
        self.notify = notify
        self.environments = environments
        self.outside = outside
        self.runs = 0
        self.began = time.monotonic()
        self.known: dict[str, Known] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def measure(
        self, under: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        """What the works give under it, each in a fresh process. jobs: None for all that this interpreter has; NAME
        alone for every process of the program.

        Raises TargetError if the target itself cannot be measured, as it is; what cannot be under settings is said in
        what is given, for it says something of the settings.
        """
        works = [OPERATORS] * battery + [f"job {name}" for name in jobs or ()]
        own = self.program if any(map(is_program, jobs or ())) else None
        others = None if jobs is None else tuple(name for name in jobs if not is_program(name))
        try:
            side = self._capture(under, Plan(jobs=others, battery=battery, repeat=repeat, program=own), words)
        except (Died, TargetError) as error:
            if not under:
                raise TargetError(str(error)) from None
            return Given(under, works, died=error.reason if isinstance(error, Died) else str(error))
        if jobs in (None, (NAME,)):
            works = [OPERATORS] * battery + [f"job {name}" for name in side.jobs]
        return Given(under, works, side)

    def _capture(self, under: Under, plan: Plan, words: str) -> Measured:
        target = self._target(under.packages).under(settings.variables(under.settings), settings.calls(under.settings))

        def launch(request: Request) -> Iterator[Record]:
            self.runs += 1
            return target.launch(request)

        def notify(doing: str, done: int, total: int) -> None:
            self.notify(f"{words}: {doing.partition(',')[0]}" if words else doing, done, total)

        environment = repr(sorted(under.packages.items()))  # facts of the machine are asked for once an environment
        with contextlib.closing(target):
            part = session.capture(plan, launch, notify, self.known.get(environment))
        _whole(part, plan.program)
        if environment not in self.known:
            part["facts"] = {**part["facts"], **self.outside()}
        jobs = ["python", *(["numpy"] if "numpy" not in part.get("battery", {}).get("absent", {}) else [])]
        self.known.setdefault(environment, Known(part["facts"], jobs))
        _, found = report("here", [{"name": "host", **part}], target.words)
        return Measured("here", "", found, found.targets[0])

    def _target(self, packages: dict[str, str]) -> Target:
        if not packages:
            return self.target
        assert self.environments
        return self.environments.target(packages)
