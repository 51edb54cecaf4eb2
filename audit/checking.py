"""What `audit check` and `audit baseline` do: read or capture a target, hold it against the baseline, or make one."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
from collections.abc import Collection

from audit.commands.options import refuse_unwritable
from audit.compare.side import Measured
from audit.errors import AuditError, TargetError
from audit.policy import against, baseline, check, findings, policy, says
from audit.policy.against import Asked
from audit.policy.baseline import Baseline
from audit.policy.policy import Policy
from reports import source
from reports.catalogue import catalogue
from reports.checked import FORMAT, Check
from reports.render.pages.words import count

_TARGET_OPTIONS = ("python", "via", "container")


def run(options: argparse.Namespace) -> tuple[Check, list[str]]:
    """The check and the files that were read. Whatever can be refused is, before anything is measured.

    Raises AuditError if there is nothing to check, or nothing to check it against.
    """
    rules = policy.chosen(options.policy)
    path, target = _split(options.baseline)
    held = baseline.read(path, target, options.allow_edited, rules.also_held)
    previous = _previous(options.previous) if options.previous else None
    _refuse_both(options)
    now, notes = _now(options)
    words = says.Words(path, rules.name, options.report or "", _again(options), whole=held.whole is not None)
    found = check.check(
        held, now, rules, catalogue(), _asked(options, held), words, datetime.date.today(), previous, notes
    )
    read = [path, *filter(None, [_split(options.report)[0] if options.report else "", options.previous])]
    return found, [*read, *rules.files]


def make(options: argparse.Namespace) -> tuple[str, str, list[str]]:
    """The text of a baseline, the file that it goes to, and what must be said. Raises AuditError."""
    old = options.update or options.update_new_only
    path = options.output or old
    if not path:
        raise AuditError("name the file to write with -o FILE, or one that is there with --update FILE")
    if not options.reports and not old:
        raise AuditError("name a report of audit run, or with --update FILE the baseline that this machine goes into")
    rules = policy.chosen(options.policy)
    refuse_unwritable(path, "-o")
    before = baseline.read(old) if old else None
    if before and before.whole:
        raise AuditError(f"{old}: a report, which is never changed; make a baseline: audit baseline {old} -o FILE")
    if options.reports:
        from audit import inputs

        found = [inputs.one(name, options.allow_edited) for name in options.reports]
    else:
        options.report = None
        found = [_now(options)]
    sides, notes = [side for side, _ in found], [note for _, notes in found for note in notes]
    _refuse_replacing(path, [side.file for side in sides])
    rows = catalogue()
    if options.update_new_only:
        assert before
        made = baseline.added(sides, rows, rules.also_held, before, _of(rules))
    else:
        made = baseline.made(sides, rows, rules.also_held, before, _of(rules))
    return baseline.text(made, rows), path, [*notes, *_said(before, made)]


def _of(rules: Policy) -> baseline.Of:
    """Which class of a baseline a target is: the nearest, unless it is other hardware."""
    rows = catalogue()

    def of(before: Baseline, side: Measured) -> str | None:
        compared = against.compare(before, side, rules, rows, Asked())
        return None if findings.hardware(compared, rows) else compared.of

    return of


def _said(before: Baseline | None, made: Baseline) -> list[str]:
    """What a reviewer will see in the diff, in words."""
    if before is None:
        facts = max(len(one.facts) + len(one.known_by) for one in made.classes.values())
        operators = max(len(one.operators) for one in made.classes.values())
        whole = f"{count(facts, 'fact')} and {count(operators, 'operator')}"
        return [f"holds {whole} for {count(len(made.classes), 'class', 'classes')}: {', '.join(made.classes)}"]
    lines = [f"new class: {name}" for name in list(made.classes)[len(before.classes) :]]
    for (name, old), held in zip(before.classes.items(), made.classes.values(), strict=False):
        if old != held:
            moved = [key for key in {**old.facts, **held.facts} if old.facts.get(key) != held.facts.get(key)]
            other = [key for key in held.operators if old.operators.get(key) != held.operators[key]]
            lines.append(f"{name}: {count(len(moved), 'fact')} and {count(len(other), 'operator')} changed")
    return lines or ["nothing changed"]


# What is checked


def _asked(options: argparse.Namespace, held: Baseline) -> Asked:
    names = options.job or ["operators"]
    jobs = {name for name in names if name not in ("auto", "none", "operators")}
    if "auto" in names:
        results = {name for one in held.classes.values() for name in one.results}
        jobs |= {name.removeprefix("job ") for name in results if name.startswith("job ")}
    return Asked(operators=names != ["none"], jobs=frozenset(jobs))


def _refuse_both(options: argparse.Namespace) -> None:
    named = [name for name in _TARGET_OPTIONS if getattr(options, name)]
    if options.report and named:
        raise AuditError(f"a report and --{named[0]}: check the one or the other")
    if len(options.container) > 1:
        raise AuditError("one image is checked at a time; run audit check once for each")


def _split(name: str) -> tuple[str, str | None]:
    if "#" not in name:
        return name, None
    from audit import inputs

    return inputs.split(name)


def _now(options: argparse.Namespace) -> tuple[Measured, list[str]]:
    if options.report:
        from audit import inputs

        return inputs.one(options.report, options.allow_edited)
    return _captured(options), []


def _captured(options: argparse.Namespace) -> Measured:
    """This machine, or the one that the options reach, measured once. Raises TargetError."""
    from audit.progress import Progress
    from audit.targets.asked import asked
    from audit.targets.report import report
    from probes import interrupts, orphans, session

    interrupts.hold()
    with interrupts.allowed():
        chosen = asked(options)[-1]  # the image, where one is named; else the only one
    wanted = session.plan(options.job or ["operators"], 1)
    with Progress(options.quiet) as progress, orphans.ended():
        for warning in chosen.warnings:
            progress.say(f"audit check: {warning}")
        try:
            captured = session.capture(wanted, chosen.target.launch, progress.notify)
        except session.Died as error:
            raise TargetError(f"{chosen.target.words} cannot run the probes: {error}") from None
        else:
            part = chosen.part(captured, progress.notify, False)
        finally:
            chosen.target.close()
    _, found = report("here", [part], chosen.target.words)
    return Measured("here", "", found, found.targets[0])


def _again(options: argparse.Namespace) -> str:
    """The options that name the target, as they can be typed again."""
    words: list[str] = []
    for name in _TARGET_OPTIONS:
        given = getattr(options, name)
        for one in given if isinstance(given, list) else [given] if given else []:
            words += [f"--{name}", shlex.quote(one)]
    for job in options.job or ():
        words += ["--job", job]
    return " ".join(["", *words])


def _previous(path: str) -> Collection[str]:
    """The identities of the findings of a saved check. Raises AuditError."""
    again = "save one: audit check --report json=FILE"
    try:
        tree = source.tree(path, source.read(path))
    except (source.CodecError, RecursionError) as error:
        raise AuditError(f"{error}; --previous reads what audit check saved as JSON") from None
    found = tree.get("findings")
    if tree.get("format") != FORMAT or not isinstance(found, list):
        raise AuditError(f"{path}: not a saved check ({json.dumps(tree.get('format'))[:40]}); {again}")
    return {str(one.get("identity")) for one in found if isinstance(one, dict)}


def _refuse_replacing(path: str, read: list[str]) -> None:
    for name in read:
        if name and os.path.exists(path) and os.path.samefile(path, name):
            raise AuditError(f"-o {path} would replace a report that was read; choose another file")
