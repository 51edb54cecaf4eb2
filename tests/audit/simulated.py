"""Machines that exist in this file only: what decides their bits is known, so a search for it can be checked.

A machine's operators and its one job are functions of its facts in effect and of nothing else; `Bench` stands in for
the laboratory and runs children on such a machine, under whatever the search asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from audit.causes import settings
from audit.causes.laboratory import OPERATORS, Given, Under
from audit.compare.side import Measured
from probes import trace as recorder
from reports.report import Auditor, Battery, Fact, Facts, Job, Observation, Operator, Report, Target, Trace

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
    """What a machine's CPU is, and what is in effect on it where that is another thing. cores: its CPUs."""

    cpu: str = "SkylakeX"
    cores: int = 4
    kernel: str = ""
    simd: tuple[str, ...] | None = None
    libm: tuple[str, ...] | None = None
    threads: int = 0
    seed: int = 1
    flushed: bool = False
    numpy: str = "2.4.6"
    build: str = "ours"
    variables: dict[str, str] = field(default_factory=dict)

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
            **{
                f"variables.{one.name}": self.variables.get(one.name)
                for one in settings.SETTINGS
                if one.how == "variable"
            },
        }
        return {name: Fact(value) for name, value in found.items()}  # type: ignore[arg-type]

    def effect(self) -> Facts:
        found: dict[str, object] = {
            "blas.implementation": "openblas",
            "blas.version": "0.3.31",
            "blas.kernel": self.kernel or self.cpu,
            "blas.threads": self.threads or self.cores,
            "numpy.version": self.numpy,
            "numpy.simd_found": list(SIMD[self.cpu] if self.simd is None else self.simd),
            "libm.features": list(LIBM[self.cpu] if self.libm is None else self.libm),
            "libm.build_id": self.build,
            "fpu.flush_to_zero": self.flushed,
            "python.hash_seed": self.seed,
        }
        return {name: Fact(value) for name, value in found.items()}  # type: ignore[arg-type]

    def bits(self, name: str) -> str:
        """The digest of an operator, or of the job's row, as this machine computes it."""
        effect = {fact: one.value for fact, one in self.effect().items()}
        blas = (effect["blas.kernel"], effect["blas.threads"] > 1 if name in ("blas.gemm", "matmul") else None)  # type: ignore[operator]
        decides: dict[str, object] = {
            "blas": (blas, self.numpy),
            "numpy": settings.extensions(effect["numpy.simd_found"]),  # type: ignore[arg-type]
            "libm": (settings.extensions(effect["libm.features"]), self.build),  # type: ignore[arg-type]
            "fpu": self.flushed,
            "ordering": self.seed,
            "python": None,
        }
        component, through = _OPERATORS.get(name, (name, []))
        by = [decides[one] for one in (component, *through)] if name != "matmul" else [decides["blas"]]
        words = [sorted(one) if isinstance(one, frozenset) else one for one in by]
        return hashlib.blake2b(repr((name, words)).encode(), digest_size=8).hexdigest()


def under(machine: Machine, values: Under) -> Machine:
    """What is in effect on a machine under settings. Raises ValueError where it would crash."""
    found = machine
    for name, value in values.settings.items():
        if name == "OPENBLAS_CORETYPE" and value:
            kernel = {"Prescott": "Nehalem"}.get(value, value)
            if kernel not in LEVELS or LEVELS.index(kernel) > LEVELS.index(machine.cpu):
                raise ValueError("SIGILL")
            found = replace(found, kernel=kernel)
        elif name in ("OPENBLAS_NUM_THREADS", "blas_threads"):
            found = replace(found, threads=int(value))
        elif name == "NPY_DISABLE_CPU_FEATURES":
            found = replace(found, simd=tuple(one for one in SIMD[machine.cpu] if one not in value.split(",")))
        elif name == "GLIBC_TUNABLES":
            gone = value.replace("glibc.cpu.hwcaps=", "").split(",")
            found = replace(found, libm=tuple(one for one in LIBM[machine.cpu] if f"-{one}" not in gone))
        elif name == "PYTHONHASHSEED":
            found = replace(found, seed=int(value))
        elif name == "flush_denormals":
            found = replace(found, flushed=True)
    if "numpy" in values.packages:
        found = replace(found, numpy=values.packages["numpy"])
    return found


def measured(
    machine: Machine, label: str = "there", battery: bool = True, jobs: bool = True, runs: int = 2
) -> Measured:
    """Everything that an `audit run` on it would say."""
    operators = [
        Operator(name, component, through=through, threaded=name == "blas.gemm",
                 result=Observation(machine.bits(name), "float64", [1]))
        for name, (component, through) in _OPERATORS.items()
    ]  # fmt: skip
    effect = machine.effect()
    target = Target(
        "host",
        facts=machine.facts(),
        battery=Battery(runs, [1.0] * runs, effect, operators) if battery else None,
        jobs=[Job("numpy", runs=runs, seconds=[2.0] * runs, facts=effect, trace=_trace(machine))] if jobs else [],
    )
    digest = hashlib.blake2b(msgspec.json.encode(target), digest_size=32).hexdigest()
    report = Report("audit-report", 1, label, digest, "", Auditor(), [target])
    return Measured(label, f"{label}.json", report, target)


def _trace(machine: Machine) -> Trace:
    recording = recorder.Trace()
    for _ in range(2):
        recording.begin_step()
        recording.phase("forward")
        product = float(int(machine.bits("matmul")[:8], 16))
        recording.call("matmul", "matmul f64", ("blas",), lambda *_, value=product: [value])
    return msgspec.convert(recording.record(), Trace)


class Bench:
    """The laboratory's methods over a simulated machine. crash: for what is run, why its process dies ("" if it does
    not); interrupt: before so many measurements Ctrl-C comes."""

    def __init__(
        self, machine: Machine, crash: Callable[[Under], str] = lambda under: "", interrupt: int | None = None
    ) -> None:
        self.machine = machine
        self.crash = crash
        self.interrupt = interrupt
        self.runs = 0
        self.seconds = 0.0
        self.environments = None
        self.asked: list[tuple[Under, bool, tuple[str, ...] | None]] = []

    def measure(
        self, values: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        if self.interrupt is not None and len(self.asked) >= self.interrupt:
            raise KeyboardInterrupt
        self.asked.append((values, battery, jobs))
        names = ("numpy",) if jobs is None else jobs
        works = [OPERATORS] * battery + [f"job {name}" for name in names]
        self.runs += repeat * len(works)
        died = self.crash(values)
        try:
            now = under(self.machine, values)
        except ValueError as error:
            died = died or str(error)
        if died:
            return Given(values, works, died=died)
        return Given(values, works, measured(now, "here", battery, bool(names), repeat))
