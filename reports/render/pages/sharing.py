"""What leaves a machine with its report (`audit show --sharing`): what is in the file, what never is, what to look at.

A report may come from anywhere, so it is not taken at its word: facts that this auditor's probes do not write and texts
that hold a folder are counted in the answer and named.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from msgspec import Struct

from ...catalogue import catalogue
from ...programs import is_program
from ...report import Fact, Facts, Operator, Report, Target, Value
from . import measured, recorded
from .page import Block, Code, Page, Row, Section, page, section, sentence
from .words import count, listed, value

NEVER = (
    "host and user name",
    "UUIDs",
    "addresses",
    "data",
    "source code",
    "command lines",
    "folders",
    "other variables",
)
"""What no probe writes. `tests/audit/test_leaks.py` plants each of them, audits, and looks for it in the report."""

MOST = 12
"""Variables, and odd facts, that are named at most."""

_SAMPLES = "at most 256 numbers each of some weights, gradients and outputs of your program; of its data only digests"

_DEFAULT_LABEL = re.compile("machine-[0-9a-f]{6}")
# A folder but the system's own, which sources and reasons name, and those that stand for the environment or the home.
_FOLDER = re.compile(r"(?<![\w.>~/])(?:~|/(?!proc/|sys/|dev/|etc/|usr/|lib\w*/|bin/|var/lib/|run/)[^\s/]+)/|\b[A-Z]:\\")


class Sharing(Struct, frozen=True):
    """What a report holds, over all its targets.

    program: a person's own program was recorded. kinds: what it says, by what it is about. variables, packages: value
    and version by name. editable: packages that are imported from a working tree, with its commit. unknown: facts that
    the catalogue does not have. folders: facts whose text holds a folder.
    """

    label: str
    facts: int
    operators: int
    jobs: int
    program: bool
    kinds: dict[str, str]
    variables: dict[str, str]
    packages: dict[str, str]
    editable: list[str]
    unknown: list[str]
    folders: list[str]

    @property
    def plain(self) -> str:
        """ "382 facts, 695 operator results and 2 trainings"."""
        parts = [count(self.facts, "fact")]
        parts += [count(self.operators, "operator result")] if self.operators else []
        parts += [count(self.jobs, "training")] if self.jobs else []
        parts += ["a program's course"] if self.program else []
        return listed(parts)

    @property
    def odd(self) -> list[str]:
        """What a person must look at before sending the file, in words."""
        found = [f"{count(len(self.unknown), 'fact')} that this auditor does not know"] if self.unknown else []
        return found + ([f"{count(len(self.folders), 'fact')} with a folder's name"] if self.folders else [])


def sharing(report: Report) -> Sharing:
    """What `report` holds."""
    every = [measured.every(target) for target in report.targets]
    given = _given(every)
    return Sharing(
        label=report.label,
        facts=sum(map(len, every)),
        operators=sum(one.result is not None for target in report.targets for one in _operators(target)),
        jobs=sum(
            job.trace is not None and not is_program(job.name) for target in report.targets for job in target.jobs
        ),
        program=any(recorded.programs(target) for target in report.targets),
        kinds=_kinds(report, given),
        variables=_family("variables.", "", given),
        packages=_family("packages.", ".version", given),
        editable=sorted(_editable(given)),
        unknown=sorted({name for name, _ in _texts(report) if catalogue().row(name) is None}),
        folders=sorted({name for name, text in _texts(report) if _FOLDER.search(text)}),
    )


def sharing_page(report: Report, file: str) -> Page:
    """The page of `audit show --sharing`. file: what the report is called here, for the next command."""
    found = sharing(report)
    following = f"Next, to see every fact:  audit show {shlex.quote(file)} --all"
    sections = [_odd(found), _in_it(found), _not_in_it(), _still(found)]
    less = "To send less: audit run --label NAME; --job none (facts only); --python of a smaller environment"
    if found.odd:
        answer = f"The file has {listed(found.odd)}; the rest says what {found.label} computes with."
        return page(("unsure", "LOOK BEFORE YOU SEND IT.", answer), sections, less, following)
    answer = f"What {found.label} computes with: {found.plain}."
    if found.program:
        answer = f"{answer[:-1]}, with names of its parts and samples of its numbers."
        return page(("unsure", "THE MACHINE AND YOUR PROGRAM.", answer), sections, less, following)
    return page(("good", "THE MACHINE, NOT YOU.", answer), sections, less, following)


# -- sections ---------------------------------------------------------------------------------------------------------


def _odd(found: Sharing) -> Section:
    names = [("unknown", name) for name in found.unknown] + [("folder", name) for name in found.folders]
    rows = [Row((Code(name),), mark) for mark, name in names[:MOST]]
    rows += [Row((f"... {len(names) - MOST} more (--all)",))] if len(names) > MOST else []
    return section(Block("", tuple(rows)), title="Look at these")


def _in_it(found: Sharing) -> Section:
    blocks = [sentence(kind, text) for kind, text in found.kinds.items()]
    named = [f"{name} {version}" for name, version in sorted(found.packages.items())]
    blocks += (
        [sentence("Packages", f"{count(len(named), 'name')} with version and digest: {listed(named)}")] if named else []
    )
    blocks += [sentence("Editable", listed(found.editable))] if found.editable else []
    blocks.append(Block("Variables", _settings(found.variables)))
    if found.operators or found.jobs:
        numbers = [count(found.operators, "operator result")] if found.operators else []
        numbers += [count(found.jobs, "training")] if found.jobs else []
        blocks.append(sentence("Numbers", f"{listed(numbers)}, from seeds that are the same on every machine"))
    if found.program:
        blocks.append(sentence("Samples", _SAMPLES))
    return section(*blocks, title="In the file")


def _settings(variables: dict[str, str]) -> tuple[Row, ...]:
    rows = [Row((Code(f"{name}={text}"),)) for name, text in sorted(variables.items())]
    if len(rows) > MOST:
        rows[MOST:] = [Row((f"... {len(rows) - MOST} more (--all)",))]
    return tuple(rows) or (Row(("none of those that can be recorded is set",)),)


def _not_in_it() -> Section:
    kept_out = 'what a setting or a version cannot mean: "(not recorded)" stands there instead'
    return section(sentence("", ", ".join(NEVER)), sentence("", kept_out), title="Never written by audit run")


def _still(found: Sharing) -> Section:
    named = "Packages, libraries and extension modules are named, your own ones too."
    return section(
        sentence("", "All of it together is a fingerprint: two reports of one machine can be recognised as such."),
        sentence("", named) if found.packages else None,
        title="What it still tells",
    )


def _given(every: list[Facts]) -> dict[str, str]:
    """Every fact that some target has a value of; where targets have several, all of them: each is in the file."""
    values: dict[str, dict[str, None]] = {}
    for facts in every:
        for name, fact in facts.items():
            if fact.value is not None:
                values.setdefault(name, {})[value(fact.value)] = None
    return {name: " or ".join(texts) for name, texts in values.items()}


# -- what is in a report ----------------------------------------------------------------------------------------------


def _kinds(report: Report, given: dict[str, str]) -> dict[str, str]:
    """What stands in the file by what it is about, each in one line; without what is not there."""

    def some(*names: str) -> list[str]:
        return [given[name] for name in names if given.get(name)]

    made = " (a digest of the host name; --label NAME replaces it)" if _DEFAULT_LABEL.fullmatch(report.label) else ""
    named = sorted(_family("system_packages.", ".version", given))
    libraries = sorted(_family("libraries.", ".build_id", given))
    gpus = [text for name, text in sorted(given.items()) if re.fullmatch(r"gpu\.\d+\.name", name)]
    memory = f"{int(given['memory.total']) / 1e9:.0f} GB memory" if given.get("memory.total", "").isdecimal() else ""
    kinds = {
        "Label": report.label + made,
        "Machine": [
            *some("cpu.name", "cpu.model"),
            *([count(int(given["cpu.count"]), "CPU")] if given.get("cpu.count", "").isdecimal() else []),
            *([memory] if memory else []),
            *gpus,
        ],
        "System": [
            *some("os.variant"),
            *(f"kernel {text}" for text in some("os.kernel")),
            *(f"{text} packages as one digest{_of_them(named)}" for text in some("system_packages.count")),
            *(f"in {text}" for text in some("container.kind")),
        ],
        "Place": some("time.zone", "locale.language"),
        "Time": [f"written {report.created}, and how long each run took"],
        "Python": [_interpreter(target) for target in report.targets],
        "Libraries": [f"{count(len(libraries), 'file name')} with build and owner"] if libraries else [],
        "Engine": [" ".join(some("engine.name", "engine.version")), *some("engine.storage_driver")]
        if some("engine.name")
        else [],
        "Images": [target.name for target in report.targets if target.name != "host"],
        "Recipes": some("image.recipe"),
        "Program": _program(report),
    }
    return {kind: text if isinstance(text, str) else ", ".join(text) for kind, text in kinds.items() if text}


def _program(report: Report) -> list[str]:
    """What is told of a person's own program: what its parts are called."""
    jobs = [job for target in report.targets for job in recorded.programs(target)]
    if not jobs:
        return []
    files = sorted({name for job in jobs for name in _names(job.facts.get("program.sources", Fact()).value)})
    told = [f"{count(len(files), 'file')} by name and digest ({listed(files, 3)})"] if files else []
    return [*told, "modules, tensors and lines by name", "a digest of its arguments"]


def _names(value: Value) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _of_them(names: list[str]) -> str:
    """ " (with version: libc6, libgomp1 and 3 more)"."""
    return f" (with version: {listed(names, 3)})" if names else ""


def _interpreter(target: Target) -> str:
    facts = measured.every(target)
    version = value(facts["python.version"].value) if "python.version" in facts else ""
    via = f" through {target.via}" if target.via else ""
    return " ".join(filter(None, (target.interpreter, version))) + via


def _editable(given: dict[str, str]) -> Iterator[str]:
    commits = _family("packages.", ".commit", given)
    for name in _family("packages.", ".editable", given):
        yield f"{name} at commit {commits[name][:12]}" if name in commits else name


def _family(prefix: str, suffix: str, given: dict[str, str]) -> dict[str, str]:
    """The values of a family of facts by the member's name."""
    return {
        name.removeprefix(prefix).removesuffix(suffix): text
        for name, text in given.items()
        if name.startswith(prefix) and name.endswith(suffix)
    }


def _operators(target: Target) -> list[Operator]:
    return target.battery.operators if target.battery else []


def _texts(report: Report) -> Iterator[tuple[str, str]]:
    """Every fact's name with everything that it says, those in effect too."""
    for target in report.targets:
        works = [target.facts, *(job.facts for job in target.jobs)]
        for facts in [*works, target.battery.facts] if target.battery else works:
            for name, fact in facts.items():
                yield name, " ".join((name, *_strings(fact.value), fact.reason))


def _strings(shown: object) -> Iterator[str]:
    if isinstance(shown, str):
        yield shown
    elif isinstance(shown, list):
        for item in shown:
            yield from _strings(item)
    elif isinstance(shown, dict):
        for key, item in shown.items():
            yield key
            yield from _strings(item)
