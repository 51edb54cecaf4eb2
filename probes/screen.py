"""Every core of this machine computes the same at the same time, round by round: which of them give other bits?

One process asks a worker a core. A worker is forked, pinned before it imports anything (so that a BLAS makes one
thread), and runs whole rounds (`rounds.py`). Inputs of round 0 are those of a report, of other rounds others. Where
cores differ in a round, the values that they differ in are asked for, and the round is run again by fresh workers, all
at the same time as before.

What is said of cores holds of GPUs as well. A GPU is compared with those of its product; one that is alone of it
computes every round twice, and what it gave the second time stands under a number of its own, see `_second`.

Contract: nothing here judges. The records, in the order in which they can come:

    {"refused": words}            these cores cannot be screened
    {"screen": {...}}             cores, of how many, how many at once, the job, what this Python cannot run, and of
                                  GPUs their products
    {"progress": [round, rounds]}
    {"round": {...}}              for each product, see `_Screen.round`
    {"end": seconds}
"""

import base64
import selectors
import string
import time
from functools import partial
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from . import known, rounds, units
from .environment.sources import cgroups
from .facts import Absent, text
from .jobs import ON_CUDA
from .pinned import Emit, Pinned, Record
from .rounds import JOB, Load, Work
from .session import DEATHS
from .sketch import SAMPLES
from .units import Units

RETESTS = 2
"""Fresh processes of each core, once a core differs."""

SHOWN = 64
"""So many operators' values are asked for in a round: one wrong unit makes hundreds differ."""

_BYTES = {"": 100 << 20, "torch": 1 << 30, "jax": 1 << 30, ON_CUDA["torch"]: 4 << 30}
"""Memory of one worker by its job, rounded up [measured: 56 MB with numpy; on a GPU not]."""

_FILES = 4
"""Open files of one worker, with as many again to spare."""

_SLOWER = 1.3
"""A round is begun where it and a re-test of it fit into the time, if they take so many times as long as before."""


def run(request: Record, emit: Emit, load: Load) -> None:
    """Screen as `request` says: "device" ("cpu": cores; "cuda": GPUs), "cores" (None: all that this process may use),
    "rounds" (None: as many as fit), "first" (its number), "job" ("auto", "operators" or a job), "seconds" for all of
    it, "at_once" (None: as many as memory allows)."""
    began = time.monotonic()
    deadline = began + request["seconds"]
    try:
        chosen = units.gpus(load, deadline) if request["device"] == "cuda" else units.cores(request["cores"])
    except Absent as error:
        emit({"refused": str(error)})
    else:
        screen = _Screen(request, emit, load, chosen)
        try:
            screen.run(deadline)
        finally:
            screen.end()
    emit({"end": round(time.monotonic() - began, 4)})


def _second(core: int) -> int:
    """The number that stands for what this core computed the second time."""
    return ~core


def _worker(core: int) -> int:
    """The core that such a number is of, or that number."""
    return core if core >= 0 else ~core


class _Screen:
    """The workers of one machine, and the rounds that they are asked."""

    def __init__(self, request: Record, emit: Emit, load: Load, chosen: Units) -> None:
        self.request = request
        self.emit = emit
        self.load = load
        self.kind, self.machine = chosen.kind, chosen.machine
        self.take = {unit.number: unit.take for unit in chosen.all}
        self.products: Dict[str, List[int]] = {}
        for unit in chosen.all:
            self.products.setdefault(unit.product, []).append(unit.number)
        self.alone = {mine[0] for product, mine in self.products.items() if product and len(mine) == 1}
        self.cores = list(self.take)
        job = ON_CUDA["torch"] if request["device"] == "cuda" else request["job"]
        self.at_once = min(len(self.cores), request["at_once"] or _fitting(job))
        self.workers: Dict[int, Pinned] = {}
        self.deadly: Dict[str, str] = {}
        self.deadline = 0.0
        self.differed: Dict[Tuple[int, str], Set[str]] = {}
        self.introduced = False

    def run(self, deadline: float) -> None:
        """All rounds, and those again in which cores differ."""
        self.deadline = deadline
        most, longest, last = self.request["rounds"], 0.0, 0.0
        retested: Set[int] = set()
        first = number = self.request["first"]
        while self.cores and (most is None or number < first + most) and self._fits(last + longest):
            self.emit({"progress": [number - first, most or 0]})
            began = time.monotonic()
            found = self.round(number, 0, self.cores)
            if self._all_died(found):
                continue
            last = time.monotonic() - began
            longest = max(longest, last)
            odd = self._report(found)
            if odd - retested:
                retested |= odd
                self._again(number, sorted(odd), longest)
            number += 1

    def _all_died(self, found: List[Record]) -> bool:
        """Whether an operator kills the process of every core: that is no core's fault, so it is left out from here on.
        A round of which nothing was told is run again."""
        died = [death for one in found for death in one["died"].values()]
        places = {(reason, at) for reason, at in died}
        if len(died) < len(self.cores) or len(places) > 1 or len(self.deadly) == DEATHS:
            return False
        if self.kind == "GPU" and len(died) == 1:
            return False  # nothing tells the operator's fault from the GPU's
        ((reason, at),) = places
        if "." not in at or at in self.deadly:
            return False
        self.deadly[at] = "{} on every {}".format(reason, self.kind)
        return True

    def _report(self, found: List[Record]) -> Set[int]:
        """Emit a round; the cores of which it is not clear that they are right. Those that died are asked no more."""
        odd: Set[int] = set()
        for one in found:
            self.emit({"round": one})
            self.cores = [core for core in self.cores if core not in one["died"]]
            odd |= _odd(one["digests"]) | set(one["died"])
        return odd

    def _fits(self, longest: float) -> bool:
        return time.monotonic() + _SLOWER * longest < self.deadline

    def _again(self, number: int, odd: List[int], longest: float) -> None:
        """The same round by fresh workers: of the odd cores and, beside them, of as many others as there is room for,
        but of more than are odd, of each product."""
        chosen = list(odd)
        for product in self.products.values():
            mine = [core for core in odd if core in product]
            others = [core for core in self.cores if core in product and core not in odd] if mine else []
            chosen += others[: max(len(mine) + 1, self.at_once - len(odd))]
        for again in range(1, RETESTS + 1):
            if self._fits(longest):
                self.end()
                self._report(self.round(number, again, chosen))

    def round(self, number: int, again: int, cores: List[int]) -> List[Record]:
        """Run one round. A record for each product of which there are cores:

        number; again (0: first, else which re-test); product: "" of cores; twice: whether the one GPU of it computed
        all twice; cores: that gave an answer; operators: how many were compared; digests: {operator: {core: digest}}
        of those that differ, or did when this round was run before; components: {operator: its own, then those it
        passes through}; values: {operator: {core: what `_unequal` leaves, or of the job parts of what `Trace.record`
        gives}}, one core a digest; wrong: {core: names} of operators of `known.py`; died: {core: [reason, at]};
        silent: {core: at}.
        """
        answers: Dict[int, Record] = {}
        died: Dict[int, List[str]] = {}
        silent: Dict[int, str] = {}
        for first in range(0, len(cores), self.at_once):
            self._ready(cores[first : first + self.at_once])
            answers.update(self._asked({"round": number}, list(self.workers)))
            for core, worker in list(self.workers.items()):
                if worker.reason:
                    died[core] = [worker.reason, worker.at]
                    self.end([core])
                elif core not in answers:
                    silent[core] = worker.at
        return [
            {
                "number": number,
                "again": again,
                "product": product,
                "twice": not self.alone.isdisjoint(mine),
                **self._compared((number, product), {core: answers[core] for core in mine if core in answers}),
                "died": {core: died[core] for core in mine if core in died},
                "silent": {core: silent[core] for core in mine if core in silent},
            }
            for product, mine in self.products.items()
            if not set(cores).isdisjoint(mine)
        ]

    def _compared(self, place: Tuple[int, str], answers: Dict[int, Record]) -> Record:
        """What a record says of the answers of a product in a round."""
        digests = {core: one["digests"] for core, one in answers.items()}
        digests.update({_second(core): one["second"] for core, one in answers.items() if one["second"]})
        differing = _differing(digests, self.differed.get(place, ()))
        self.differed.setdefault(place, set()).update(differing)
        return {
            "cores": sorted(answers),
            "operators": max((len(one["components"]) for one in answers.values()), default=0),
            "digests": differing,
            "components": _components(answers, differing),
            "values": self._values(differing),
            "wrong": {core: one["wrong"] for core, one in answers.items() if one["wrong"]},
        }

    def _ready(self, batch: List[int]) -> None:
        """Workers of these cores, and of no others: as many as there is room for."""
        self.end([core for core in self.workers if core not in batch])
        for core in batch:
            if core not in self.workers:
                work = Work(self.request["device"], self.request["job"], self.deadly, core in self.alone)
                serve = partial(rounds.serve, work, self.load)
                self.workers[core] = Pinned(self.take[core], serve, list(self.workers.values()))

    def _asked(self, command: Record, cores: Iterable[int]) -> Dict[int, Record]:
        """The answers of those cores that give one in time. A worker that dies says why in `reason`."""
        answers: Dict[int, Record] = {}
        with selectors.DefaultSelector() as selector:
            for core in cores:
                if self.workers[core].tell(command):
                    selector.register(self.workers[core].answers, selectors.EVENT_READ, core)
            while selector.get_map():
                ready = selector.select(max(0.0, self.deadline - time.monotonic()))
                if not ready:
                    return answers
                for key, _ in ready:
                    answer = self.workers[key.data].answer()
                    if answer is not None:
                        self._introduce(answer)
                        answers[key.data] = answer
                    if answer is not None or self.workers[key.data].reason:
                        selector.unregister(key.fileobj)
        return answers

    def _introduce(self, answer: Record) -> None:
        """Say once what is screened: the first worker that has imported everything knows."""
        if not self.introduced and "digests" in answer:
            self.introduced = True
            self.emit(
                {
                    "screen": {
                        "cores": self.cores,
                        "products": {name: mine for name, mine in self.products.items() if name},
                        "machine_cores": self.machine,
                        "at_once": self.at_once,
                        "job": answer["job"],
                        "absent": {**answer["absent"], **self.deadly},
                    }
                }
            )

    def _values(self, differing: Dict[str, Dict[int, str]]) -> Record:
        """What the cores gave that differ: of each digest one core's."""
        wanted: Dict[int, List[str]] = {}
        unequal = [(name, digests) for name, digests in differing.items() if len(set(digests.values())) > 1]
        for name, digests in sorted(unequal, key=lambda one: not one[0].startswith((JOB, known.PREFIX)))[:SHOWN]:
            for digest in dict.fromkeys(digests.values()):
                gave = (core for core in digests if digests[core] == digest and _worker(core) in self.workers)
                core = next(gave, None)
                if core is not None:
                    wanted.setdefault(core, []).append(name)
        values: Dict[str, Dict[int, Any]] = {}
        for core, names in wanted.items():
            for one in self._asked({"show": names, "second": core < 0}, [_worker(core)]).values():
                for name, value in one["values"].items():
                    values.setdefault(name, {})[core] = value
        return {name: _unequal(given) for name, given in values.items()}

    def end(self, cores: Optional[List[int]] = None) -> None:
        """These workers (None: all) are ended."""
        chosen = [self.workers.pop(core) for core in (list(self.workers) if cores is None else cores)]
        for worker in chosen:
            worker.kill()
        for worker in chosen:
            worker.reap()


def _differing(given: Dict[int, Dict[str, str]], before: Iterable[str]) -> Dict[str, Dict[int, str]]:
    """The operators in which not all have one digest, or had not before, with the digests."""
    found = {}
    for name in dict.fromkeys(name for one in given.values() for name in one):
        digests = {core: one.get(name, "") for core, one in sorted(given.items())}
        if len(set(digests.values())) > 1 or name in before:
            found[name] = digests
    return found


def _unequal(given: Dict[int, Record]) -> Dict[int, Record]:
    """Of what cores gave, only the first elements in which not all are equal, as `values`; besides of how many
    `elements`, and how many are `unequal`. What has no values to compare, as a job, stays as it is."""
    if len({(one.get("dtype"), len(one.get("values", ""))) for one in given.values()}) > 1 or not all(
        one.get("values") for one in given.values()
    ):
        return given
    whole = {core: base64.b64decode(one["values"]) for core, one in given.items()}
    dtype = next(iter(given.values()))["dtype"]
    size = int(dtype.lstrip(string.ascii_letters))
    count = len(next(iter(whole.values()))) // size
    places = [at for at in range(0, count * size, size) if len({data[at : at + size] for data in whole.values()}) > 1]
    return {
        core: {
            "dtype": dtype,
            "values": base64.b64encode(b"".join(data[at : at + size] for at in places[:SAMPLES])).decode("ascii"),
            "elements": count,
            "unequal": len(places),
        }
        for core, data in whole.items()
    }


def _odd(differing: Dict[str, Dict[int, str]]) -> Set[int]:
    """The cores that differ from more than half of them; all, where no digest has so many."""
    found: Set[int] = set()
    for digests in differing.values():
        given = list(digests.values())
        usual = [digest for digest in given if 2 * given.count(digest) > len(given)][:1]
        found |= {_worker(core) for core, digest in digests.items() if digest not in usual}
    return found


def _components(answers: Dict[int, Record], names: Iterable[str]) -> Dict[str, List[str]]:
    found = {name: components for one in answers.values() for name, components in one["components"].items()}
    return {name: found.get(name, []) for name in names}


def _fitting(job: str) -> int:
    """How many workers free memory and open files allow; at least one."""
    import resource  # not where `run` has refused

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        free = next(int(line.split()[1]) << 10 for line in text("/proc/meminfo").splitlines() if "MemAvailable" in line)
        free = min(free, cgroups.memory() or free)
    except (OSError, Absent, StopIteration):
        return 1
    fitting = free // _BYTES.get(job, _BYTES[""])
    return max(1, fitting if files < 0 else min(fitting, files // _FILES))
