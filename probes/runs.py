"""The runs of one work, as they come in, and what a report says of them together."""

from typing import Any, Dict, List, Optional, Set

Record = Dict[str, Any]


class JobRun:
    """What one run of a job has given: its record, facts in effect after it, the seconds that it took."""

    def __init__(self, record: Optional[Record] = None, effect: Optional[Record] = None) -> None:
        self.record: Record = record or {}
        self.effect: Record = effect or {}
        self.seconds = 0.0

    def take(self, record: Record) -> None:
        self.record = record.get("job", self.record)
        self.effect = record.get("effect", self.effect)
        self.seconds = record.get("end", self.seconds)

    @property
    def whole(self) -> bool:
        return "status" not in self.record


class ProgramRun:
    """What one run of a program has given: the processes of it that took steps, each as a run of a job, and why it is
    not all that was asked for."""

    def __init__(self) -> None:
        self.processes: Dict[str, JobRun] = {}
        self.steps = 0
        self.reason = ""
        self.asked = False  # to end: it was not wanted any more
        self.over = False

    def take(self, record: Record) -> None:
        if "job" in record:
            process = dict(record["job"])
            self.processes[process["name"]] = JobRun(process, process.pop("facts", None))
        told = record.get("program", {})
        self.steps = told.get("steps", self.steps)
        self.reason = told.get("reason", self.reason)
        self.asked = told.get("asked", self.asked)
        if "end" in record:
            self.over = True
            for one in self.processes.values():
                one.seconds = record["end"]

    @property
    def whole(self) -> bool:
        return self.over and not self.reason

    @property
    def recorded(self) -> bool:
        return any(one.whole for one in self.processes.values())


class BatteryRun:
    """What one run of the battery has given so far, over all the processes that it took."""

    def __init__(self) -> None:
        self.operators: Dict[str, Record] = {}
        self.absent: Dict[str, str] = {}
        self.over = False  # or it was interrupted
        self.reason = ""  # why it ended before its end
        self.effect: Record = {}
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


def job_part(runs: List[JobRun]) -> Record:
    """One job of a report: its first run, what the further ones had else; or why there is none. Of a program whose
    runs take more or fewer steps, a longest run is the first: then the others end at a step that it has."""
    whole = [one for one in runs if one.whole]
    if not whole:
        return runs[0].record
    whole.sort(key=lambda one: -len(one.record["trace"]["digests"]))
    first = whole[0]
    return dict(
        first.record,
        runs=len(whole),
        seconds=[one.seconds for one in whole],
        facts=first.effect,
        repeats=[_repeat(first.record["trace"], other.record) for other in whole[1:]],
    )


def program_parts(runs: List[ProgramRun]) -> List[Record]:
    """What a report says of a program: a job for each process that took steps in the runs that were whole, or else in
    the first run. A run that was not whole is no evidence of repeatability."""
    parts = []
    for processes in _processes(runs):
        part = job_part(processes)
        parts.append(part if "status" not in part else dict(part, facts=processes[0].effect))
    return parts


def program_effects(runs: List[ProgramRun]) -> List[List[Record]]:
    """The facts in effect of all runs, process by process."""
    return [[one.effect for one in processes] for processes in _processes(runs)]


def _processes(runs: List[ProgramRun]) -> List[List[JobRun]]:
    counted = [one for one in runs if one.whole] or runs[:1]
    names = dict.fromkeys(name for one in counted for name in one.processes)
    return [[one.processes[name] for one in counted if name in one.processes] for name in names]


def operators(first: BatteryRun, batteries: List[BatteryRun]) -> List[Record]:
    """Every operator as the first run had it, with the digests of the further runs where they are others."""
    found = [dict(one) for one in first.operators.values()]
    _mark_hazards(found, first.effect)
    for operator in found:
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
    return found


def unsteady(effects: List[Record]) -> Set[str]:
    """Facts in effect that were not the same in all runs of one work: they are compared with nothing."""
    names = {name for effect in effects for name in effect}
    values = [{name: effect.get(name, {}).get("value") for name in names} for effect in effects]
    return {name for name in names if any(one[name] != values[0][name] for one in values)}


def _mark_hazards(operators: List[Record], effect: Record) -> None:
    """With a random hash seed, orders of sets vary by design from process to process: shown, never compared. Where the
    seed is not known, because the process did not reach its end, it may have been random."""
    from .operators.ordering import DECIDED_BY_HASH_SEED

    if effect.get("python.hash_seed", {}).get("value", "random") == "random":
        for operator in operators:
            if operator["name"] in DECIDED_BY_HASH_SEED:
                operator["hazard"] = True


def _repeat(first: Record, run: Record) -> Record:
    """Where a further run left the first one: the first step and row, in the order of work; nothing if it did not."""
    other = run["trace"]
    record: Record = {"digest": other["digest"]}
    if run.get("scores"):
        record["scores"] = run["scores"]
    if other["digest"] == first["digest"]:
        return record
    for step, (mine, its) in enumerate(zip(first["digests"], other["digests"])):
        if mine != its:
            record["step"] = step
            record["row"] = _first_unequal(mine, its)
            return record
    if len(other["digests"]) < len(first["digests"]):  # it ended there
        record.update(step=len(other["digests"]), row=0)
    return record


def _first_unequal(mine: str, its: str) -> int:
    import base64

    from .digest import DIGEST_BYTES

    one, two = base64.b64decode(mine), base64.b64decode(its)
    position = next(i for i in range(max(len(one), len(two))) if one[i : i + 1] != two[i : i + 1])
    return position // DIGEST_BYTES
