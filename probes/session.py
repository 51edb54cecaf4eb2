"""What one target is asked, in which order, and how the answers become the target's part of a report.

The launching of processes is not here: `capture` gets a function that starts one child for one request and yields its
records. The `audit` command launches through a prefix, the bundle file forks; the rest is the same.
"""

import signal
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import VERSION

Request = Dict[str, Any]
Record = Dict[str, Any]
Launch = Callable[[Request], Iterator[Record]]
Notify = Callable[[str, int, int], None]
"""Progress: what is being done in words, how much of it is done, of how much (0: not known)."""

DEATHS = 20
"""How many times one battery is started again after a death before the rest of its operators is given up."""


_NAMED = 5


class Died(Exception):
    """A child ended without its last record. status: failed or timeout; the message is the reason ("SIGSEGV")."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Plan(NamedTuple):
    """What to measure. jobs: names, or None for every job that the interpreter can run. repeat: fresh runs of the
    battery and of each job. verify: check installed files against their RECORD. whole: a step to record whole."""

    jobs: Optional[Tuple[str, ...]] = None
    battery: bool = True
    repeat: int = 2
    verify: bool = False
    whole: Optional[int] = None


def plan(names: List[str], repeat: int, verify: bool = False, whole: Optional[int] = None) -> Plan:
    """The plan that `--job` names: auto, none, operators, or jobs."""
    jobs = tuple(dict.fromkeys(name for name in names if name not in ("auto", "none", "operators")))
    return Plan(
        jobs=None if "auto" in names else jobs,
        battery=names != ["none"],
        repeat=repeat,
        verify=verify,
        whole=whole,
    )


def death(status: int) -> str:
    """A dead child's status in words: the signal's name, or the exit status. 128 + n is a shell's word for a signal."""
    number = -status if status < 0 else status - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return "exit status {}".format(status)


def capture(plan: Plan, launch: Launch, notify: Notify) -> Dict[str, Any]:
    """The facts, battery and jobs of one target, in the shape of `reports.report.Target` without its name.

    Raises Died if not even the facts could be had.
    """
    target: Dict[str, Any] = {"probes": VERSION, "facts": {}, "incomplete": []}
    session = _Session(plan, launch, notify, target)
    if plan.battery:
        session.battery()
    else:
        session.facts_only()
    if not target["facts"]:
        raise Died("failed", "it sent no facts")
    for name in session.jobs if plan.jobs is None else plan.jobs:
        session.job(name)
    session.gpu()
    if not target["incomplete"]:
        del target["incomplete"]
    return target


class _Session:
    def __init__(self, plan: Plan, launch: Launch, notify: Notify, target: Dict[str, Any]) -> None:
        self.plan = plan
        self.launch = launch
        self.notify = notify
        self.target = target
        self.jobs: List[str] = []

    def _request(self, work: str, run: int = 0, **more: Any) -> Request:
        # Machine facts stand once: the first child of the target brings them.
        request = dict({"work": work, "run": run}, **more)
        if not self.target["facts"]:
            request.update(machine=True, verify=self.plan.verify)
        return request

    def _machine(self, record: Record) -> None:
        self.target["facts"] = record["machine"]
        self.jobs = record["jobs"]

    def facts_only(self) -> None:
        self.notify("facts", 0, 0)
        effect: Dict[str, Any] = {}
        for record in self.launch(self._request("facts")):
            if "machine" in record:
                self._machine(record)
            effect = record.get("effect", effect)
        self.target["battery"] = {"facts": effect}

    def gpu(self) -> None:
        """NVML in a child of its own: its structures break across versions, and it can hang."""
        if self.target["facts"].get("gpu.nvml", {}).get("value") is None:
            return
        self.notify("GPUs", 0, 0)
        try:
            for record in self.launch({"work": "gpu"}):
                self.target["facts"].update(record.get("gpu", {}))
        except Died as death:
            self.target["facts"]["gpu.count"] = {"status": death.status, "reason": "NVML: " + death.reason}

    def battery(self) -> None:
        runs = []
        for run in range(self.plan.repeat):
            runs.append(self._battery_run(run))
        first = runs[0]
        operators = list(first.operators.values())
        _mark_hazards(operators, first.effect)
        failed: List[str] = []
        for operator in operators:
            digests = [one.digest(operator["name"]) for one in runs]
            known = [digest for digest in digests if digest is not None]
            if len(known) < len(digests):
                # It died or raised in some run: what is not there cannot agree.
                late = next((one.operators[operator["name"]] for one in runs if one.failed(operator["name"])), None)
                if late is not None:
                    operator.pop("result", None)
                    operator.update(status=late["status"], reason=late["reason"])
                    failed.append("operator {}: {}".format(operator["name"], late["reason"]))
                continue
            if len(set(known)) > 1 and not operator.get("hazard"):
                operator["repeats"] = known[1:]
        self.target["incomplete"] += failed[:_NAMED]
        if len(failed) > _NAMED:
            self.target["incomplete"].append("operators: {} more failed".format(len(failed) - _NAMED))
        self.target["battery"] = {
            "runs": len(runs),
            "seconds": [one.seconds for one in runs],
            "facts": first.effect,
            "operators": operators,
            "absent": first.absent,
        }
        self._unsteady([one.effect for one in runs])

    def _battery_run(self, run: int) -> "_Battery":
        battery = _Battery()
        for _ in range(DEATHS):
            dying: Optional[Dict[str, Any]] = None
            try:
                for record in self.launch(self._request("operators", run, skip=list(battery.operators))):
                    if "machine" in record:
                        self._machine(record)
                    dying = record.get("begin", dying)
                    battery.take(record)
                    self.notify("operators, run {} of {}".format(run + 1, self.plan.repeat), len(battery.operators), 0)
                return battery
            except Died as death:
                if dying is None or dying["name"] in battery.operators:
                    # It died before the first operator, or after the last: nothing to leave out next time.
                    if not self.target["facts"]:
                        raise
                    self.target["incomplete"].append("operators: " + death.reason)
                    return battery
                battery.operators[dying["name"]] = dict(dying, status=death.status, reason=death.reason)
        self.target["incomplete"].append("operators: given up after {} dead processes".format(DEATHS))
        return battery

    def job(self, name: str) -> None:
        runs: List[Dict[str, Any]] = []
        seconds: List[float] = []
        effects: List[Dict[str, Any]] = []
        for run in range(self.plan.repeat):
            record, effect, took = self._job_run(name, run)
            if "status" in record:
                self.target["incomplete"].append("job {}: {}".format(name, record["reason"]))
                if not runs:
                    self.target.setdefault("jobs", []).append(record)
                    return
                break
            runs.append(record)
            effects.append(effect)
            seconds.append(took)
        job = runs[0]
        job.update(runs=len(runs), seconds=seconds, facts=effects[0])
        job["repeats"] = [_repeat(job["trace"], other["trace"]) for other in runs[1:]]
        self.target.setdefault("jobs", []).append(job)
        self._unsteady(effects)

    def _job_run(self, name: str, run: int) -> Tuple[Dict[str, Any], Dict[str, Any], float]:
        words = "job {}, run {} of {}".format(name, run + 1, self.plan.repeat)
        self.notify(words, 0, 0)
        job: Dict[str, Any] = {}
        effect: Dict[str, Any] = {}
        seconds = 0.0
        try:
            for record in self.launch(self._request("job", run, name=name, whole=self.plan.whole)):
                if "machine" in record:
                    self._machine(record)
                elif "progress" in record:
                    self.notify(words, *record["progress"])
                job = record.get("job", job)
                effect = record.get("effect", effect)
                seconds = record.get("end", seconds)
        except Died as death:
            if not self.target["facts"]:
                raise
            job = {"name": name, "status": death.status, "reason": death.reason}
        return job, effect, seconds

    def _unsteady(self, effects: List[Dict[str, Any]]) -> None:
        """Facts in effect that were not the same in all runs of one work: they are compared with nothing."""
        names = {name for effect in effects for name in effect}
        values = [{name: effect.get(name, {}).get("value") for name in names} for effect in effects]
        unsteady = {name for name in names if any(one[name] != values[0][name] for one in values)}
        if unsteady:
            self.target["unsteady"] = sorted(unsteady.union(self.target.get("unsteady", [])))


class _Battery:
    """What one run of the battery has given so far, over all the processes that it took."""

    def __init__(self) -> None:
        self.operators: Dict[str, Dict[str, Any]] = {}
        self.absent: Dict[str, str] = {}
        self.effect: Dict[str, Any] = {}
        self.seconds = 0.0

    def take(self, record: Record) -> None:
        if "operator" in record:
            self.operators[record["operator"]["name"]] = record["operator"]
        self.absent = record.get("absent", self.absent)
        self.effect = record.get("effect", self.effect)
        self.seconds += record.get("end", 0.0)

    def failed(self, name: str) -> bool:
        return self.operators.get(name, {}).get("status") in ("failed", "timeout")

    def digest(self, name: str) -> Optional[str]:
        result = self.operators.get(name, {}).get("result")
        return result["digest"] if result else None


def _mark_hazards(operators: List[Dict[str, Any]], effect: Dict[str, Any]) -> None:
    """With a random hash seed, orders of sets vary by design from process to process: shown, never compared."""
    from .operators.ordering import DECIDED_BY_HASH_SEED

    if effect.get("python.hash_seed", {}).get("value") == "random":
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
