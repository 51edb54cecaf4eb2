"""What one target is asked, in which order, and how the answers become the target's part of a report.

The launching of processes is not here: `capture` gets a function that starts one child for one request and yields its
records. The `audit` command launches through a prefix, the bundle file forks; the rest is the same.
"""

import signal
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import VERSION, interrupts

Request = Dict[str, Any]
Record = Dict[str, Any]
Launch = Callable[[Request], Iterator[Record]]
Notify = Callable[[str, int, int], None]
"""Progress: what is being done in words, how much of it is done, of how much (0: not known)."""

SECONDS_WITHOUT_PROGRESS = 120.0
"""How long a child may be silent. An emulated interpreter takes 20 s for what a real one does in 0.5 s."""

DEATHS = 20
"""How many times one battery is started again after a death before the rest of its operators is given up."""

_NAMED = 5

_SECONDS_BEHIND = 0.3


class Died(Exception):
    """A child ended without its last record. status: failed or timeout; reason: "SIGSEGV"; said: its last words, for
    the person at the terminal (never for a report: they may name anything)."""

    def __init__(self, status: str, reason: str, said: str = "") -> None:
        super().__init__(reason + ("; it said: " + said if said else ""))
        self.status = status
        self.reason = reason


class Plan(NamedTuple):
    """What to measure. jobs: names, or None for every job that the interpreter can run. repeat: fresh runs of the
    battery and of each job. verify: check installed files against their RECORD. whole: a step to record whole.
    partial: an interruption ends the measuring and keeps what there is."""

    jobs: Optional[Tuple[str, ...]] = None
    battery: bool = True
    repeat: int = 2
    verify: bool = False
    whole: Optional[int] = None
    partial: bool = False


def plan(
    names: List[str], repeat: int, verify: bool = False, whole: Optional[int] = None, partial: bool = False
) -> Plan:
    """The plan that `--job` names: auto, none, operators, or jobs."""
    jobs = tuple(dict.fromkeys(name for name in names if name not in ("auto", "none", "operators")))
    return Plan(
        jobs=None if "auto" in names else jobs,
        battery=names != ["none"],
        repeat=repeat,
        verify=verify,
        whole=whole,
        partial=partial,
    )


def death(status: int) -> str:
    """A dead child's status in words: the signal's name, or the exit status. 128 + n is a shell's word for a signal."""
    number = -status if status < 0 else status - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return "exit status {}".format(status)


class Known(NamedTuple):
    """What an earlier capture of the same target has told and a later one need not ask again."""

    facts: Dict[str, Any]
    jobs: List[str]


def capture(plan: Plan, launch: Launch, notify: Notify, known: Optional[Known] = None) -> Dict[str, Any]:
    """The facts, battery and jobs of one target, in the shape of `reports.report.Target` without its name.

    Raises Died if not even the facts could be had, KeyboardInterrupt if it was interrupted and nothing is to be kept.
    """
    session = _Session(plan, launch, notify, known)
    try:
        with interrupts.allowed():
            session.measure()
    except KeyboardInterrupt:
        if not (plan.partial and session.facts):
            raise
        session.interrupted = True
    return session.target()


class _Session:
    """What was measured so far, as it came in. Nothing is derived before `target`, so that what an interruption leaves
    is as consistent as what an end leaves."""

    def __init__(self, plan: Plan, launch: Launch, notify: Notify, known: Optional[Known]) -> None:
        self.plan = plan
        self.launch = launch
        self.notify = notify
        self.doing = ""
        self.interrupted = False
        self.known = known
        self.facts: Dict[str, Any] = known.facts if known else {}
        self.effect: Dict[str, Any] = {}  # where there is no battery to hold it
        self.available: List[str] = known.jobs if known else []
        self.without: Dict[str, str] = {}
        self.lost: List[str] = []
        self.begun: List[str] = []
        self.batteries: List[_Battery] = []
        self.jobs: Dict[str, List[_JobRun]] = {}

    def measure(self) -> None:
        if self.plan.battery:
            for run in range(self.plan.repeat):
                self._battery(run)
        elif not self.known:
            self._facts_only()
        if not self.facts:
            raise Died("failed", "it sent no facts")
        for name in self._wanted():
            self.begun.append(name)
            for run in range(self.plan.repeat):
                if not self._job(name, run).whole:
                    break
        if not self.known:
            self._gpu()

    def _wanted(self) -> Tuple[str, ...]:
        return tuple(self.available) if self.plan.jobs is None else self.plan.jobs

    def _say(self, words: str, done: int = 0, total: int = 0) -> None:
        self.doing = words
        self.notify(words, done, total)

    def _ask(self, work: str, run: int = 0, **more: Any) -> Iterator[Record]:
        """The records of one child. One that dies of importing a library is asked again, of another process, without
        that library."""
        while True:
            request = dict({"work": work, "run": run}, **more)
            if not self.facts:  # machine facts stand once: the first child of the target brings them
                request.update(machine=True, verify=self.plan.verify)
            if self.without:
                request["without"] = sorted(self.without)
            loading = None
            try:
                for record in self.launch(request):
                    loading = record.get("loading")
                    self.facts = record.get("machine", self.facts)
                    self.available = record.get("jobs", self.available)
                    self.without.update(record.get("broken", {}))
                    yield record
                return
            except Died as death:
                if death.reason in interrupts.SIGNALS:
                    # A scheduler ends all processes of a job together: our own signal may be a little behind.
                    time.sleep(_SECONDS_BEHIND)
                if loading is None or loading in self.without:
                    raise
                self.without[loading] = death.reason + " while it was imported"

    def _facts_only(self) -> None:
        self._say("facts")
        try:
            for record in self._ask("facts"):
                self.effect = record.get("effect", self.effect)
        except Died as death:
            if not self.facts:
                raise
            self.lost.append("facts in effect: " + death.reason)

    def _gpu(self) -> None:
        """NVML in a child of its own: its structures break across versions, and it can hang."""
        if self.facts.get("gpu.nvml", {}).get("value") is None:
            return
        self._say("GPUs")
        try:
            for record in self.launch({"work": "gpu"}):
                self.facts.update(record.get("gpu", {}))
        except Died as death:
            self.facts["gpu.count"] = {"status": death.status, "reason": "NVML: " + death.reason}

    def _battery(self, run: int) -> None:
        words = "operators, run {} of {}".format(run + 1, self.plan.repeat)
        self._say(words)
        battery = _Battery()
        self.batteries.append(battery)
        for _ in range(DEATHS):
            dying: Optional[Dict[str, Any]] = None
            try:
                for record in self._ask("operators", run, skip=list(battery.operators)):
                    dying = record.get("begin", dying)
                    battery.take(record)
                    self._say(words, len(battery.operators))
                battery.over = True
                return
            except Died as death:
                if dying is None or dying["name"] in battery.operators:
                    # It died before the first operator, or after the last: nothing to leave out next time.
                    if not self.facts:
                        raise
                    battery.give_up(death.reason)
                    return
                battery.operators[dying["name"]] = dict(dying, status=death.status, reason=death.reason)
        battery.give_up("given up after {} dead processes".format(DEATHS))

    def _job(self, name: str, run: int) -> "_JobRun":
        words = "job {}, run {} of {}".format(name, run + 1, self.plan.repeat)
        self._say(words)
        one = _JobRun()
        try:
            for record in self._ask("job", run, name=name, whole=self.plan.whole):
                if "progress" in record:
                    self._say(words, *record["progress"])
                one.take(record)
        except Died as death:
            one.record = {"name": name, "status": death.status, "reason": death.reason}
        self.jobs.setdefault(name, []).append(one)
        return one

    def target(self) -> Dict[str, Any]:
        """The target's part of a report, of whatever there is."""
        # A run that was not whole counts only where there is no whole one: it is no evidence of repeatability.
        whole = [one for one in self.batteries if one.over and not one.reason] or self.batteries[:1]
        operators = _operators(whole[0], [one for one in self.batteries if one.over]) if whole else []
        target: Dict[str, Any] = {"probes": VERSION, "facts": self.facts, "battery": {"facts": self.effect}}
        if whole:
            target["battery"] = {
                "runs": len(whole),
                "seconds": [one.seconds for one in whole if one.over],
                "facts": whole[0].effect,
                "operators": operators,
                "absent": whole[0].absent,
            }
        if self.jobs:
            target["jobs"] = [_job_part(runs) for runs in self.jobs.values()]
        unsteady = _unsteady([one.effect for one in whole])
        for runs in self.jobs.values():
            unsteady.update(_unsteady([one.effect for one in runs if one.whole]))
        if unsteady:
            target["unsteady"] = sorted(unsteady)
        incomplete = self._incomplete(operators)
        if incomplete:
            target["incomplete"] = incomplete
        return target

    def _incomplete(self, operators: List[Dict[str, Any]]) -> List[str]:
        """What was asked for and is not there, or not as often; an interruption first, it explains the rest."""
        told = []
        if self.interrupted:
            ahead = ["job " + name for name in self._wanted() if name not in self.begun]
            more = "; not begun: " + ", ".join(ahead) if ahead else ""
            told.append("interrupted during {}{}".format(self.doing, more))
        told += self.lost
        told += ["{}: {}".format(name, reason) for name, reason in sorted(self.without.items())]
        told += ["operators: " + one.reason for one in self.batteries if one.reason]
        failed = [one for one in operators if one.get("status") in ("failed", "timeout")]
        told += ["operator {}: {}".format(one["name"], one["reason"]) for one in failed[:_NAMED]]
        if len(failed) > _NAMED:
            told.append("operators: {} more failed".format(len(failed) - _NAMED))
        for name, runs in self.jobs.items():
            told += ["job {}: {}".format(name, one.record["reason"]) for one in runs if not one.whole]
        return told


class _JobRun:
    """What one run of a job has given: its record, facts in effect after it, the seconds that it took."""

    def __init__(self) -> None:
        self.record: Dict[str, Any] = {}
        self.effect: Dict[str, Any] = {}
        self.seconds = 0.0

    def take(self, record: Record) -> None:
        self.record = record.get("job", self.record)
        self.effect = record.get("effect", self.effect)
        self.seconds = record.get("end", self.seconds)

    @property
    def whole(self) -> bool:
        return "status" not in self.record


def _job_part(runs: List[_JobRun]) -> Dict[str, Any]:
    """One job of a report: its first run, what the further ones had else; or why there is none."""
    whole = [one for one in runs if one.whole]
    if not whole:
        return runs[0].record
    first = whole[0]
    return dict(
        first.record,
        runs=len(whole),
        seconds=[one.seconds for one in whole],
        facts=first.effect,
        repeats=[_repeat(first.record["trace"], other.record["trace"]) for other in whole[1:]],
    )


def _operators(first: "_Battery", batteries: "List[_Battery]") -> List[Dict[str, Any]]:
    """Every operator as the first run had it, with the digests of the further runs where they are others."""
    operators = [dict(one) for one in first.operators.values()]
    _mark_hazards(operators, first.effect)
    for operator in operators:
        name = operator["name"]
        digests = [one.digest(name) for one in batteries]
        if None in digests:
            # It died or raised in some run: what is not there cannot agree.
            late = next((one.operators[name] for one in batteries if one.failed(name)), None)
            if late is not None:
                operator.pop("result", None)
                operator.update(status=late["status"], reason=late["reason"])
        elif len(set(digests)) > 1 and not operator.get("hazard"):
            operator["repeats"] = digests[1:]
    return operators


def _unsteady(effects: List[Dict[str, Any]]) -> Set[str]:
    """Facts in effect that were not the same in all runs of one work: they are compared with nothing."""
    names = {name for effect in effects for name in effect}
    values = [{name: effect.get(name, {}).get("value") for name in names} for effect in effects]
    return {name for name in names if any(one[name] != values[0][name] for one in values)}


class _Battery:
    """What one run of the battery has given so far, over all the processes that it took."""

    def __init__(self) -> None:
        self.operators: Dict[str, Dict[str, Any]] = {}
        self.absent: Dict[str, str] = {}
        self.over = False  # or it was interrupted
        self.reason = ""  # why it ended before its end
        self.effect: Dict[str, Any] = {}
        self.seconds = 0.0

    def take(self, record: Record) -> None:
        if "operator" in record:
            self.operators[record["operator"]["name"]] = record["operator"]
        self.absent = record.get("absent", self.absent)
        self.effect = record.get("effect", self.effect)
        self.seconds += record.get("end", 0.0)

    def give_up(self, reason: str) -> None:
        self.over, self.reason = True, reason

    def failed(self, name: str) -> bool:
        return self.operators.get(name, {}).get("status") in ("failed", "timeout")

    def digest(self, name: str) -> Optional[str]:
        result = self.operators.get(name, {}).get("result")
        return result["digest"] if result else None


def _mark_hazards(operators: List[Dict[str, Any]], effect: Dict[str, Any]) -> None:
    """With a random hash seed, orders of sets vary by design from process to process: shown, never compared. Where the
    seed is not known, because the process did not reach its end, it may have been random."""
    from .operators.ordering import DECIDED_BY_HASH_SEED

    if effect.get("python.hash_seed", {}).get("value", "random") == "random":
        for operator in operators:
            if operator["name"] in DECIDED_BY_HASH_SEED:
                operator["hazard"] = True


def _repeat(first: Dict[str, Any], other: Dict[str, Any]) -> Dict[str, Any]:
    """Where a further run left the first one: the first step and row, in the order of work; nothing if it did not."""
    record: Dict[str, Any] = {"digest": other["digest"]}
    if other["digest"] == first["digest"]:
        return record
    for step, (mine, its) in enumerate(zip(first["digests"], other["digests"])):
        if mine != its:
            record["step"] = step
            record["row"] = _first_unequal(mine, its)
            break
    return record


def _first_unequal(mine: str, its: str) -> int:
    import base64

    from .digest import DIGEST_BYTES

    one, two = base64.b64decode(mine), base64.b64decode(its)
    position = next(i for i in range(max(len(one), len(two))) if one[i : i + 1] != two[i : i + 1])
    return position // DIGEST_BYTES
