"""What the recorders of a program have written, as jobs of a report. Runs outside the program."""

import base64
import hashlib
import json
import math
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from ..digest import DIGEST_BYTES
from ..trace import Definition, Step, assembled
from .lay import Wanted, wanted
from .recorder import FILE
from .site import FAILED, STARTED

VERSION = 3
"""Of the job. 2: digests add words and multiply none; collective operations have rows. 3: columns of all rows."""

_TAIL = 1 << 16

Record = Dict[str, Any]


class Collected(NamedTuple):
    """jobs: records of `reports.report.Job` without runs and seconds; facts: of the program; notes: what was unseen."""

    jobs: List[Record]
    facts: Dict[str, Record]
    notes: List[str]


def progress(folder: str) -> int:
    """The steps done by the process that is furthest."""
    return max([_done(path) for path in _paths(folder)], default=0)


def collect(folder: str) -> Collected:
    """Everything recorded so far, a line that was not finished left out."""
    processes = [_Process(path) for path in _paths(folder)]
    processes.sort(key=lambda process: (process.rank or 0, process.began))
    recorded = [process for process in processes if process.steps]
    asked = wanted(folder)
    names = _names(recorded)
    notes = dict.fromkeys(note for process in processes for note in process.notes)
    facts: Dict[str, Record] = {}
    for process in reversed(recorded or processes):
        facts.update(process.facts)
    return Collected(
        [process.job(name, asked) for name, process in zip(names, recorded)],
        facts,
        [*notes, *_silence(folder, bool(recorded))],
    )


def _names(processes: "List[_Process]") -> List[str]:
    """The names of the jobs: by rank where ranks tell them apart, else by the order in which the processes began."""
    if len(processes) == 1 and (processes[0].world or 1) == 1:
        return ["program"]
    ranks = [process.rank for process in processes]
    if None not in ranks and len(set(ranks)) == len(ranks):
        return ["program.rank{}".format(rank) for rank in ranks]
    return ["program.process{}".format(number) for number in range(len(processes))]


def _silence(folder: str, recorded: bool) -> List[str]:
    """Why there is nothing, as far as that can be known."""
    names = os.listdir(folder)
    if FAILED in names:
        return ["the recorder could not be loaded in the program"]
    if recorded or STARTED in names:
        return []
    return [
        "it started no Python that reads the PYTHONPATH it was given; a script that sets PYTHONPATH keeps what stands"
        " there with PYTHONPATH=FOLDER:$PYTHONPATH"
    ]


class _Process:
    """One recording."""

    def __init__(self, path: str) -> None:
        self.rank: Optional[int] = None
        self.world: Optional[int] = None
        self.began = 0.0
        self.steps: List[Step] = []
        self.facts: Dict[str, Record] = {}
        self.notes: List[str] = []
        self._definitions: List[Definition] = []
        self._lists: List[List[int]] = []
        self._values: List[Record] = []
        self._losses: List[Optional[float]] = []
        self._effect: Record = {}
        self._scores: List[Record] = []
        for line in _lines(path):
            self._take(line)

    def job(self, name: str, asked: Wanted) -> Record:
        values = [value for value in self._values if self._has(value)]
        for value in values:
            value["digest"] = self.steps[value["step"]].digests[value["row"]].hex()
        phases: Dict[str, None] = {}
        for step in self.steps:
            for number in step.definitions:
                phases.setdefault(self._definitions[number].phase)
        record: Record = {
            "name": name,
            "version": VERSION,
            "configuration": _configuration(asked),
            "facts": self._effect,
            "trace": assembled(self._definitions, list(phases), self.steps, values),
        }
        if self._scores:
            record["scores"] = self._scores
        outcome = _outcome(self._losses)
        if outcome:
            record["outcome"] = outcome
        return record

    def _has(self, value: Record) -> bool:
        """Whether the row of a value was written: the process may have ended between the two."""
        step, row = value["step"], value["row"]
        return bool(step < len(self.steps) and row < len(self.steps[step].digests))

    def _take(self, line: Record) -> None:
        if "process" in line:
            self.rank, self.world, self.began = (line["process"][key] for key in ("rank", "world", "began"))
        elif "row" in line:
            row = dict(line["row"])
            row.update({key: tuple(row[key]) for key in ("components", "inputs", "shape")})
            self._definitions.append(Definition(**row))
        elif "rows" in line:
            self._lists.append(line["rows"])
        elif "part" in line:
            while len(self.steps) <= line["step"]:
                self.steps.append(Step([], []))
            data = base64.b64decode(line["digests"])
            step = self.steps[line["step"]]
            step.definitions.extend(self._lists[line["part"]])
            step.digests.extend(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))
        elif "value" in line:
            self._values.append(line["value"])
        elif "effect" in line:
            self._effect = line["effect"]
        elif "fact" in line:
            self.facts[line["fact"]] = line["record"]
        elif "note" in line:
            self.notes.append(line["note"])
        elif "score" in line:
            self._scores.append(line["score"])
        elif "done" in line:
            self._losses.append(line["loss"])


def _outcome(losses: List[Optional[float]]) -> Record:
    """What the training came to, as far as its losses are numbers that a report can hold."""
    known = [loss if loss is not None and math.isfinite(loss) else None for loss in losses]
    ends = {"loss_first": known[0], "loss_last": known[-1]} if known else {}
    told: Record = {name: loss for name, loss in ends.items() if loss is not None}
    return dict(told, losses=known) if None not in known else told


def _configuration(asked: Wanted) -> str:
    """What makes two recordings comparable: how they were made, whatever the program."""
    window = list(asked.window) if asked.window and asked.trace == "operators" else None
    told = json.dumps(["program", 1, asked.trace, window])
    return hashlib.blake2b(told.encode("ascii"), digest_size=DIGEST_BYTES).hexdigest()


def _paths(folder: str) -> List[str]:
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(FILE))


def _lines(path: str) -> Iterator[Record]:
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _done(path: str) -> int:
    """The steps that a recording says are over: its last such line, near its end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for reach in (_TAIL, size):
            file.seek(max(0, size - reach))
            _, found, rest = file.read().rpartition(b'{"done":')
            if found and b"," in rest:
                return int(rest.partition(b",")[0]) + 1
    return 0
