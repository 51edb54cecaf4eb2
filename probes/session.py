"""What one target is asked, in which order, and how the answers become the target's part of a report.

The launching of processes is not here: `capture` gets a function that starts one child for one request and yields its
records. The `audit` command launches through a prefix, the bundle file forks; the rest is the same.
"""

import signal
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import VERSION, interrupts
from .jobs import ON_CUDA
from .runs import BatteryRun, JobRun, ProgramRun, job_part, operators, program_effects, program_parts, unsteady
from .runs import Record as Record

Request = Dict[str, Any]
Launch = Callable[[Request], Iterator[Record]]
Notify = Callable[[str, int, int], None]
"""Progress: what is being done in words, how much of it is done, of how much (0: not known)."""

SECONDS_WITHOUT_PROGRESS = 120.0
"""How long a child may be silent. An emulated interpreter takes 20 s for what a real one does in 0.5 s."""

SECONDS_WITHOUT_STEP = 1800.0
"""How long a program may neither take a step nor print anything. It may load data first, or compile."""

DEATHS = 20
"""How many times one battery is started again after a death before the rest of its operators is given up."""

ENDING = "audit: your program is being ended, and what it did until then is kept (once more: at once)"
"""What a person is told whose Ctrl-C has reached the program."""

_NAMED = 5

_SECONDS_BEHIND = 0.3


class Died(Exception):
    """A child ended without its last record. status: failed or timeout; reason: "SIGSEGV"; said: its last words, for
    the person at the terminal (never for a report: they may name anything)."""

    def __init__(self, status: str, reason: str, said: str = "") -> None:
        super().__init__(reason + ("; it said: " + said if said else ""))
        self.status = status
        self.reason = reason


class Program(NamedTuple):
    """A person's own program. steps: end it after so many; None: let it run to its end. trace: "steps" or "operators";
    window: the steps from a to before b whose operators are recorded. stall: seconds without a step or output."""

    command: Tuple[str, ...]
    steps: Optional[int] = None
    trace: str = "steps"
    window: Optional[Tuple[int, int]] = None
    stall: float = SECONDS_WITHOUT_STEP


class Plan(NamedTuple):
    """What to measure. jobs: names, or None for every job that the interpreter can run. repeat: fresh runs of the
    battery, of each job and of the program. verify: check installed files against their RECORD. whole: a step to record
    whole. partial: an interruption ends the measuring and keeps what there is; of a program that is always kept.
    device: "cuda" adds the jobs that can on a GPU. deterministic: operators and jobs run under torch's deterministic
    algorithms."""

    jobs: Optional[Tuple[str, ...]] = None
    battery: bool = True
    repeat: int = 2
    verify: bool = False
    whole: Optional[int] = None
    partial: bool = False
    program: Optional[Program] = None
    device: str = "cpu"
    deterministic: bool = False


def plan(
    names: List[str],
    repeat: int,
    verify: bool = False,
    whole: Optional[int] = None,
    partial: bool = False,
    program: Optional[Program] = None,
    device: str = "cpu",
    deterministic: bool = False,
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
        program=program,
        device=device,
        deterministic=deterministic,
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


def request(plan: Plan, work: str, run: int = 0, machine: bool = True, **more: Any) -> Request:
    """What one child is asked. machine: for the facts of the machine, too, as the first one is."""
    asked = dict({"work": work, "run": run}, **more)
    if machine:
        asked.update(machine=True, verify=plan.verify)
    if plan.deterministic:
        asked["calls"] = {"torch_deterministic": True}
    return asked


def capture(plan: Plan, launch: Launch, notify: Notify, known: Optional[Known] = None) -> Dict[str, Any]:
    """The facts, battery and jobs of one target, in the shape of `reports.report.Target` without its name.

    Raises Died if not even the facts could be had, KeyboardInterrupt if it was interrupted and nothing is to be kept.
    """
    session = _Session(plan, launch, notify, known)
    try:
        with interrupts.allowed():
            session.measure()
    except KeyboardInterrupt:
        if not session.facts or not (plan.partial or any(one.recorded for one in session.programs)):
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
        self.batteries: List[BatteryRun] = []
        self.jobs: Dict[str, List[JobRun]] = {}
        self.programs: List[ProgramRun] = []

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
        if self.plan.program:
            for run in range(self.plan.repeat):
                if not self._program(run, self.plan.program).whole:
                    break
        if not self.known:
            self._gpu()

    def _wanted(self) -> Tuple[str, ...]:
        names = tuple(self.available) if self.plan.jobs is None else self.plan.jobs
        return names + tuple(ON_CUDA[name] for name in names if self.plan.device == "cuda" and name in ON_CUDA)

    def _say(self, words: str, done: int = 0, total: int = 0) -> None:
        self.doing = words
        self.notify(words, done, total)

    def _ask(self, work: str, run: int = 0, **more: Any) -> Iterator[Record]:
        """The records of one child. One that dies of importing a library is asked again, of another process, without
        that library."""
        while True:
            # Machine facts stand once: the first child of the target brings them.
            asked = request(self.plan, work, run, machine=not self.facts, **more)
            if self.without:
                asked["without"] = sorted(self.without)
            loading = None
            try:
                for record in self.launch(asked):
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
        battery = BatteryRun()
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

    def _job(self, name: str, run: int) -> JobRun:
        words = "job {}, run {} of {}".format(name, run + 1, self.plan.repeat)
        self._say(words)
        one = JobRun()
        try:
            for record in self._ask("job", run, name=name, whole=self.plan.whole):
                if "progress" in record:
                    self._say(words, *record["progress"])
                one.take(record)
        except Died as death:
            one.record = {"name": name, "status": death.status, "reason": death.reason}
        self.jobs.setdefault(name, []).append(one)
        return one

    def _program(self, run: int, program: Program) -> ProgramRun:
        """One run of the program. Raises KeyboardInterrupt where it was interrupted; what it gave is there then."""
        words = "program, run {} of {}".format(run + 1, self.plan.repeat)
        self._say(words, 0, program.steps or 0)
        one = ProgramRun()
        self.programs.append(one)
        try:
            for record in self._ask("program", run, **program._asdict()):
                if "progress" in record:
                    self._say(words, *record["progress"])
                one.take(record)
        except Died as death:
            one.reason = "program: " + death.reason
        if one.asked:
            self.doing = "{}, after {:,} step{}".format(words, one.steps, "" if one.steps == 1 else "s")
            raise KeyboardInterrupt
        return one

    def target(self) -> Dict[str, Any]:
        """The target's part of a report, of whatever there is."""
        # A run that was not whole counts only where there is no whole one: it is no evidence of repeatability.
        whole = [one for one in self.batteries if one.over and not one.reason] or self.batteries[:1]
        measured = operators(whole[0], [one for one in self.batteries if one.over]) if whole else []
        target: Dict[str, Any] = {"probes": VERSION, "facts": self.facts, "battery": {"facts": self.effect}}
        if whole:
            target["battery"] = {
                "runs": len(whole),
                "seconds": [one.seconds for one in whole if one.over],
                "facts": whole[0].effect,
                "operators": measured,
                "absent": whole[0].absent,
            }
        jobs = [job_part(runs) for runs in self.jobs.values()] + program_parts(self.programs)
        if jobs:
            target["jobs"] = jobs
        moved = unsteady([one.effect for one in whole])
        for runs in self.jobs.values():
            moved.update(unsteady([one.effect for one in runs if one.whole]))
        for effects in program_effects(self.programs):
            moved.update(unsteady(effects))
        if moved:
            target["unsteady"] = sorted(moved)
        incomplete = self._incomplete(measured)
        if incomplete:
            target["incomplete"] = incomplete
        return target

    def _incomplete(self, operators: List[Dict[str, Any]]) -> List[str]:
        """What was asked for and is not there, or not as often; an interruption first, it explains the rest."""
        told = []
        if self.interrupted:
            ahead = ["job " + name for name in self._wanted() if name not in self.begun]
            ahead += ["program"] if self.plan.program and not self.programs else []
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
            # Of all that are there, one whose framework is too old was not asked for.
            usual = self.plan.jobs is None and name in self.available
            missing = [one for one in runs if not one.whole and not (usual and one.record["status"] == "absent")]
            told += ["job {}: {}".format(name, one.record["reason"]) for one in missing]
        return told + [one.reason for one in self.programs if one.reason and not one.asked]
