"""Machines that exist in this file only: what decides their bits is known, so a search for it can be checked.

A machine's operators and its one job are functions of its facts in effect and of nothing else, or of what a test plants
in their place; `Bench` stands in for the laboratory and runs children on such a machine, under whatever the search asks
for. It makes real sides (`Measured`), so all that compares them is the real thing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from audit.causes import settings
from audit.causes.extensions import extensions
from audit.causes.laboratory import OPERATORS, Given, Under
from audit.compare.side import Measured
from probes import trace as recorder
from probes.session import Program
from reports.report import (
    Auditor,
    Battery,
    Fact,
    Facts,
    Job,
    Observation,
    Operator,
    Outcome,
    Repeat,
    Report,
    Target,
    Trace,
)

LEVELS = ("Nehalem", "Sandybridge", "Haswell", "SkylakeX")
SIMD = {"Nehalem": [], "Sandybridge": [], "Haswell": ["X86_V3"], "SkylakeX": ["AVX512_ICL", "X86_V3", "X86_V4"]}
FLAGS = {
    "Nehalem": ["sse4_2"],
    "Sandybridge": ["sse4_2", "avx"],
    "Haswell": ["sse4_2", "avx", "avx2", "fma"],
    "SkylakeX": ["sse4_2", "avx", "avx2", "fma", "avx512f"],
}
LIBM = {
    "Nehalem": ["SSE4_1"],
    "Sandybridge": ["AVX", "SSE4_1"],
    "Haswell": ["AVX", "AVX2", "FMA", "SSE4_1"],
    "SkylakeX": ["AVX", "AVX2", "AVX512F", "FMA", "SSE4_1"],
}

JOB = "matmul"
"""The one row of the one job."""

_OPERATORS = {
    "blas.dot": ("blas", []),
    "blas.gemm": ("blas", []),
    "numpy.exp": ("numpy", []),
    "numpy.sin": ("numpy", ["libm"]),
    "libm.exp": ("libm", []),
    "libm.sin": ("libm", []),
    "fpu.half": ("fpu", []),
    "python.sum": ("python", []),
    "ordering.set": ("ordering", []),
}


@dataclass(frozen=True)
class Machine:
    """What a machine's CPU is, and what is in effect on it where that is another thing. cores: its CPUs; run: how many
    times it was run before."""

    cpu: str = "SkylakeX"
    cores: int = 4
    kernel: str = ""
    simd: tuple[str, ...] | None = None
    libm: tuple[str, ...] | None = None
    threads: int = 0
    seed: object = 1
    flushed: bool = False
    numpy: str = "2.4.6"
    build: str = "ours"
    variables: dict[str, str] = field(default_factory=dict)
    run: int = 0

    @property
    def settled(self) -> Machine:
        """The same with everything named that is in effect."""
        return replace(
            self,
            kernel=self.kernel or self.cpu,
            simd=tuple(SIMD[self.cpu]) if self.simd is None else self.simd,
            libm=tuple(LIBM[self.cpu]) if self.libm is None else self.libm,
            threads=self.threads or self.cores,
        )

    def facts(self) -> Facts:
        found: dict[str, object] = {
            "cpu.model": f"a {self.cpu}",
            "cpu.machine": "x86_64",
            "cpu.flags": FLAGS[self.cpu],
            "cpu.count": self.cores,
            "limits.affinity": self.cores,
            "packages.numpy.version": self.numpy,
            "libc.name": "glibc",
            "libc.version": "2.36",
            "os.release": self.build,
            **{f"variables.{one.name}": None for one in settings.SETTINGS if one.how == "variable"},
            **{f"variables.{name}": value for name, value in self.variables.items()},
        }
        return {name: Fact(value) for name, value in found.items()}  # type: ignore[arg-type]

    def effect(self) -> Facts:
        now = self.settled
        found: dict[str, object] = {
            "blas.implementation": "openblas",
            "blas.version": "0.3.31",
            "blas.kernel": now.kernel,
            "blas.threads": now.threads,
            "numpy.version": self.numpy,
            "numpy.simd_found": list(now.simd or ()),
            "libm.features": list(now.libm or ()),
            "libm.build_id": self.build,
            "fpu.flush_to_zero": self.flushed,
            "python.hash_seed": self.seed,
        }
        return {name: Fact(value) for name, value in found.items()}  # type: ignore[arg-type]

    def bits(self, name: str) -> str:
        """The digest of an operator, or of the job's row, as this machine computes it."""
        now = self.settled
        blas = (now.kernel, now.threads > 1 if name in ("blas.gemm", JOB) else None)
        decides: dict[str, object] = {
            "blas": (blas, self.numpy),
            "numpy": sorted(extensions(now.simd or ())),
            "libm": (sorted(extensions(now.libm or ())), self.build),
            "fpu": self.flushed,
            "ordering": self.seed,
            "python": None,
        }
        component, through = _OPERATORS.get(name, ("blas", []))
        return digest((name, [decides[one] for one in (component, *through)]))


def digest(what: object) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()


def under(machine: Machine, values: Under) -> Machine:
    """What is in effect on a machine under settings beside its variables. Raises ValueError where it would crash."""
    found = machine
    taken = {**machine.variables, **values.settings}
    for name, value in taken.items():
        if name == "OPENBLAS_CORETYPE" and value:
            if value != "Prescott" and value not in LEVELS[: LEVELS.index(machine.cpu) + 1]:
                raise ValueError("SIGILL")
            found = replace(found, kernel="Katmai" if value == "Prescott" else value)  # OpenBLAS has two names for it
        elif name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "blas_threads") and value:
            found = replace(found, threads=int(value))
        elif name == "NPY_DISABLE_CPU_FEATURES":
            found = replace(found, simd=tuple(one for one in SIMD[machine.cpu] if one not in re.split("[, ]", value)))
        elif name == "GLIBC_TUNABLES":
            gone = value.rpartition("glibc.cpu.hwcaps=")[2].split(",")
            found = replace(found, libm=tuple(one for one in LIBM[machine.cpu] if f"-{one}" not in gone))
        elif name == "PYTHONHASHSEED" and value:
            found = replace(found, seed=int(value))
        elif name == "flush_denormals":
            found = replace(found, flushed=True)
    if "numpy" in values.packages:
        found = replace(found, numpy=values.packages["numpy"])
    return found


Bits = Callable[[Machine, str], str]
"""The digest of an operator, or of the job's row, as a machine computes it."""


def measured(
    machine: Machine, label: str = "there", battery: bool = True, jobs: bool = True, runs: int = 2
) -> Measured:
    """Everything that an `audit run` on it would say."""
    return _side([under(machine, Under())] * runs, label, battery, jobs, Machine.bits)


def _side(
    runs: Sequence[Machine],
    label: str,
    battery: bool,
    jobs: bool,
    bits: Bits,
    seconds: Callable[[Machine], float] = lambda machine: 1.0,
    dead: Callable[[Machine], str] = lambda machine: "",
) -> Measured:
    """A machine's target from its runs, of which the first stands for all."""
    target = Target(
        "host",
        facts=runs[0].facts(),
        battery=_battery(runs, bits) if battery else None,
        jobs=[_job(runs, bits, seconds, dead)] if jobs else [],
    )
    identity = hashlib.blake2b(msgspec.json.encode(target), digest_size=32).hexdigest()
    report = Report("audit-report", 1, label, identity, "", Auditor(), [target])
    return Measured(label, f"{label}.json", report, target)


def _battery(runs: Sequence[Machine], bits: Bits) -> Battery:
    operators = []
    for name, (component, through) in _OPERATORS.items():
        given = [bits(one, name) for one in runs]
        repeats = given[1:] if len(set(given)) > 1 else None
        result = Observation(given[0], "float64", [1])
        operators.append(
            Operator(name, component, through=through, threaded=name == "blas.gemm", result=result, repeats=repeats)
        )
    return Battery(len(runs), [1.0] * len(runs), runs[0].effect(), operators)


def _job(
    runs: Sequence[Machine], bits: Bits, seconds: Callable[[Machine], float], dead: Callable[[Machine], str]
) -> Job:
    why = next(filter(None, map(dead, runs)), "")
    if why:
        return Job("numpy", status="failed", reason=why)
    traces = [_trace(bits(one, JOB)) for one in runs]
    loss = 0.5 + int(traces[0].digest, 16) % 7 / 100
    return Job(
        "numpy",
        configuration="c0ffee",
        runs=len(runs),
        seconds=[seconds(one) for one in runs],
        facts=runs[0].effect(),
        trace=traces[0],
        outcome=Outcome(1.0, loss, [loss], 1, 1, True),
        repeats=[Repeat(one.digest, *((None, None) if one == traces[0] else (0, 0))) for one in traces[1:]],
    )


def _trace(bits: str) -> Trace:
    recording = recorder.Trace()
    for _ in range(2):
        recording.begin_step()
        recording.phase("forward")
        product = float(int(bits[:8], 16))
        recording.call(JOB, "matmul f64", ("blas",), lambda *_, value=product: [value])
    return msgspec.convert(recording.record(), Trace)


class Bench:
    """The laboratory's methods over a simulated machine.

    bits: what it computes, where that is not decided as usual; seconds: what the job takes; dead: why the job fails;
    crash: for what is run, why its process dies ("" if it does not); refused: settings that its libraries do not take;
    interrupt: before so many measurements Ctrl-C comes; has_job: whether its interpreter can run it.
    """

    def __init__(
        self,
        machine: Machine,
        bits: Bits = Machine.bits,
        seconds: Callable[[Machine], float] = lambda machine: 1.0,
        dead: Callable[[Machine], str] = lambda machine: "",
        crash: Callable[[Under], str] = lambda values: "",
        refused: tuple[str, ...] = (),
        interrupt: int | None = None,
        has_job: bool = True,
    ) -> None:
        self.machine = machine
        self.bits, self.time, self.dead, self.crash = bits, seconds, dead, crash
        self.refused, self.interrupt, self.has_job = refused, interrupt, has_job
        self.times = 0
        self.runs = 0
        self.seconds = 0.0
        self.environments = None
        self.program: Program | None = None
        self.asked: list[tuple[Under, bool, tuple[str, ...] | None]] = []

    def measure(
        self, values: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        if self.interrupt is not None and len(self.asked) >= self.interrupt:
            raise KeyboardInterrupt
        self.asked.append((values, battery, jobs))
        names = ("numpy",) * self.has_job if jobs is None else jobs
        works = [OPERATORS] * battery + [f"job {name}" for name in names]
        self.runs += repeat * len(works)
        died = self.crash(values)
        try:
            runs = [self.under(values) for _ in range(repeat)]
        except ValueError as error:
            died = died or str(error)
        if died:
            return Given(values, works, died=died)
        return Given(values, works, _side(runs, "here", battery, bool(names), self.bits, self.time, self.dead))

    def under(self, values: Under) -> Machine:
        """One more run of the machine, with what is in effect then."""
        self.times += 1
        taken = {name: value for name, value in values.settings.items() if name not in self.refused}
        return replace(under(self.machine, Under(taken, values.packages)).settled, run=self.times)
