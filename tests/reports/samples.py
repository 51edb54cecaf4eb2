"""Comparisons and reports as the engine makes them, one for every verdict, for the tests of the renderings.

Values are invented but realistic (numbers from measured cases in FIELD.md's kind: p50 1, p99 12, max 98,304 ULP).
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec.structs import replace

from reports import checked as checked_format
from reports.checked import Change, Check, Finding
from reports.comparison import (
    FORMAT,
    VERSION,
    Cause,
    Comparison,
    Environment,
    Evidence,
    Example,
    FactDifference,
    FirstDivergence,
    Group,
    Hazard,
    ImagePackage,
    Images,
    JobResult,
    NotCompared,
    OperatorDifference,
    Operators,
    Results,
    RuledOut,
    Side,
    Size,
    Ulp,
)
from reports.report import (
    Auditor,
    Battery,
    Fact,
    Job,
    Observation,
    Operator,
    Outcome,
    Repeat,
    Report,
    Row,
    Score,
    Target,
    Trace,
)

ALL_AGREE = {
    "blas": [25, 25],
    "numpy": [64, 64],
    "libm": [31, 31],
    "fpu": [9, 9],
    "random": [40, 40],
    "python": [12, 12],
    "ordering": [3, 3],
}

GEMM = Size(
    elements=16384,
    differing=885,
    fraction=885 / 16384,
    seen=885,
    ulp=Ulp(p50=1, p99=12, max=98304, at_largest=1),
    smallest_rtol=3.1e-6,
    example=Example([0, 17], ["0x3f1c8a02", "0x3f1c8a03"], ["0.6114808320999146", "0.6114808917045593"]),
)


def side(label: str, **changes: Any) -> Side:
    """A side with two repeated jobs."""
    given: dict[str, Any] = {
        "label": label,
        "target": "host",
        "digest": hashlib.sha256(label.encode()).hexdigest(),
        "file": f"{label}.json",
        "results": {"numpy": "7f3a-91c2", "python": "c811-04be"},
        "environment": "b0d4-5e18",
        "runs": 2,
        "summary": "Python 3.11.9, numpy 2.4.6",
    }
    return Side(**{**given, **changes})


def job(name: str, verdict: Any = "identical", **changes: Any) -> JobResult:
    """A job of 100 steps that learned on both sides."""
    given: dict[str, Any] = {
        "steps": 100,
        "tensors": 83,
        "fingerprints": ["7f3a-91c2", "7f3a-91c2"],
        "loss_last": [0.0021, 0.0021],
        "learned": [True, True],
    }
    return JobResult(name, verdict, **{**given, **changes})


def first(**changes: Any) -> FirstDivergence:
    """The matrix product where the numpy job parts."""
    given: dict[str, Any] = {
        "job": "numpy",
        "step": 0,
        "phase": "forward",
        "tensor": "block 0 attention",
        "operator": "matmul f32",
        "components": ["blas", "fpu"],
        "elements": GEMM.elements,
        "differing": GEMM.differing,
        "ulp": GEMM.ulp,
        "size": GEMM,
    }
    return FirstDivergence(**{**given, **changes})


FACTS = [
    FactDifference("blas.kernel", "numeric", ["blas"], ["Zen", "SkylakeX"], works=["operators", "job numpy"]),
    FactDifference("blas.version", "numeric", ["blas"], ["0.3.17", "0.3.31"]),
    FactDifference("libc.version", "numeric", ["libm"], ["2.31", "2.35"], why="31 of 31 libm operators agree"),
    FactDifference(
        "cpu.flags",
        "numeric",
        ["blas", "numpy", "libm"],
        [["fma", "avx2"], ["fma", "avx2", "avx512f", "avx512dq"]],
        changes=["+avx512f", "+avx512dq"],
        why="both use AVX2 code",
    ),
    FactDifference("cpu.mhz", "performance", [], [2250, 3100], meaning="clock now"),
    FactDifference(
        "host.kernel", "identity", [], ["5.10.0-28-amd64", "6.1.0-18-amd64"], meaning="the kernel's release"
    ),
    FactDifference("host.boot", "volatile", [], ["2026-11-01", "2026-11-20"], meaning="when it was started"),
]


def comparison(**changes: Any) -> Comparison:
    """Two sides with the same results and environments, changed as asked for."""
    given: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "verdict": "same",
        "reports": [side("old"), side("new")],
        "results": Results("identical", None, Operators(184, [], ALL_AGREE), [job("numpy"), job("python")]),
        "environment": Environment([], [], same=412),
        "causes": [],
        "ruled_out": [],
        "groups": [Group(["old", "new"], None)],
        "next": "audit run -o mine.json -- python analysis.py",
    }
    return Comparison(**{**given, **changes})


def ruled_out(*moved: str, **facts: list[str]) -> list[RuledOut]:
    """All components but the moved ones; `facts`: what differs in a component without effect."""
    return [RuledOut(name, total, facts.get(name, [])) for name, (_, total) in ALL_AGREE.items() if name not in moved]


def blas_cause(**changes: Any) -> Cause:
    """Another OpenBLAS kernel, because of the library's version."""
    given: dict[str, Any] = {
        "root": "packages.numpy",
        "components": ["blas"],
        "status": "suspected",
        "facts": ["packages.numpy", "blas.version", "blas.kernel"],
        "operators": ["blas.matmul.f32.64x64x64", "blas.solve.f64.100"],
        "settings": {"OPENBLAS_CORETYPE": "Zen"},
        "plain": "The package numpy (1.21.2 / 2.4.6) is not the same on old and new; it decides matrix multiplication.",
        "title": "the package numpy (1.21.2 / 2.4.6)",
        "evidence": [
            Evidence("packages.numpy", ["1.21.2", "2.4.6"], "", root=True),
            Evidence("blas.version", ["0.3.17", "0.3.31"], "comes in numpy's wheel"),
            Evidence("blas.kernel", ["Zen", "SkylakeX"], "11 of 25 operators differ"),
        ],
    }
    return Cause(**{**given, **changes})


def differing_operator(name: str, *components: str, **changes: Any) -> OperatorDifference:
    """An operator whose bits differ in a few elements."""
    size = Size(elements=256, differing=9, fraction=9 / 256, seen=256, ulp=Ulp(1, 1, 1, 1))
    return OperatorDifference(name, list(components), replace(size, **changes), ["11" * 8, "22" * 8])


def diverged(**changes: Any) -> Comparison:
    """Two machines, one cause."""
    differing = [
        differing_operator("blas.matmul.f32.64x64x64", "blas"),
        differing_operator("blas.solve.f64.100", "blas"),
    ]
    jobs = [job("numpy", "diverged", loss_step=9, first_divergence=first()), job("python")]
    given: dict[str, Any] = {
        "verdict": "differs",
        "results": Results("diverged", first(), Operators(184, differing, {**ALL_AGREE, "blas": [14, 25]}), jobs),
        "environment": Environment(FACTS, [NotCompared("job torch", "not installed")], same=405),
        "causes": [blas_cause()],
        "ruled_out": ruled_out("blas", libm=["libc.version"]),
        "groups": [Group(["old"], None), Group(["new"], first())],
        "hazards": [Hazard("listing order", "directory order differs: sort what you list")],
        "exit": 1,
        "next": "on new:  env OPENBLAS_CORETYPE=Zen audit run -o trial.json; audit diff old.json trial.json",
    }
    return comparison(**{**given, **changes})


def agree() -> Comparison:
    """The same results in different environments."""
    return comparison(
        verdict="differs",
        reports=[side("laptop"), side("server")],
        environment=Environment(
            [
                FactDifference(
                    "libc.version", "numeric", ["libm"], ["2.36", "2.41"], why="31 of 31 libm operators agree"
                ),
                FactDifference(
                    "cpu.model",
                    "numeric",
                    ["blas", "numpy"],
                    ["Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "AMD EPYC 9454 48-Core Processor"],
                    why="both use SkylakeX and AVX-512 code",
                ),
                FactDifference(
                    "blas.threads",
                    "numeric",
                    ["blas"],
                    [4, 16],
                    why="blas operators agree (sizes to 1,000; larger sizes were not measured)",
                ),
                *FACTS[4:],
            ],
            [
                NotCompared("job torch", "not installed"),
                NotCompared("gpu.name", "neither has one"),
                NotCompared("gpu.driver", "neither has one"),
            ],
            same=381,
        ),
        hazards=[Hazard("listing order", "directory order differs: sort what you list")],
        exit=1,
        next="on both machines:  audit run -o mine.json -- python analysis.py",
    )


def facts_only() -> Comparison:
    """--job none on both sides."""
    return comparison(
        verdict="differs",
        reports=[side("old", results={}, runs=0), side("new", results={}, runs=0)],
        results=Results("not-measured", None, Operators(0, [])),
        environment=Environment(FACTS, [], same=405),
        groups=[],
        exit=1,
        next="audit run --label old -o old.json",
    )


def nondeterministic() -> Comparison:
    """A machine that does not repeat itself; what came before is still attributed."""
    return comparison(
        verdict="differs",
        reports=[side("old"), side("new", nondeterministic=["job numpy"])],
        results=Results(
            "nondeterministic",
            None,
            Operators(184, [], ALL_AGREE),
            [
                job(
                    "numpy",
                    "nondeterministic",
                    reason="new does not repeat itself from step 3, backward, grad w1",
                ),
                job("python"),
            ],
            nondeterministic=["job numpy on new: step 3, backward, grad w1"],
        ),
        environment=Environment(FACTS[4:], [], same=405),
        ruled_out=ruled_out(),
        exit=1,
        next="on new:  OPENBLAS_NUM_THREADS=1 audit run -o new1.json",
    )


def not_comparable() -> Comparison:
    """Other configurations of the same job."""
    return comparison(
        verdict="not-comparable",
        results=Results(
            "not-comparable",
            None,
            Operators(0, []),
            [
                job(
                    "numpy",
                    "not-comparable",
                    reason="another configuration (100 steps, 50 steps)",
                    fingerprints=[],
                )
            ],
        ),
        environment=Environment(FACTS[4:5], [], same=411),
        groups=[],
        exit=3,
        next="on new:  audit run -o new.json",
    )


def incomplete() -> Comparison:
    """One side's job died."""
    return comparison(
        verdict="incomplete",
        reports=[side("old"), side("new", incomplete=["job numpy failed: SIGSEGV"])],
        results=Results("identical", None, Operators(180, [], ALL_AGREE), [job("python")]),
        environment=Environment([], [NotCompared("job numpy", "failed on new: SIGSEGV")], same=412),
        exit=3,
        next="on new:  audit run -o new.json",
    )


def several_reports() -> Comparison:
    """Five reports in three groups."""
    labels = ["node1", "node2", "node3", "laptop", "ci"]
    libm = first(tensor="softmax", operator="exp f32", components=["libm"], labels=["node1", "ci"])
    gemm = first(labels=["node1", "laptop"])
    return diverged(
        reports=[side(label) for label in labels],
        results=Results(
            "diverged",
            gemm,
            Operators(184, [], {**ALL_AGREE, "blas": [14, 25], "libm": [22, 31]}),
            [
                job(
                    "numpy",
                    "diverged",
                    loss_step=9,
                    loss_last=[0.0021, 0.0021, 0.0021, 0.0022, 0.0021],
                    learned=[True] * 5,
                    first_divergence=gemm,
                ),
                job("python"),
            ],
        ),
        environment=Environment(
            [replace(fact, values=[fact.values[0]] * 3 + [fact.values[1]] + [fact.values[0]]) for fact in FACTS],
            [],
        ),
        causes=[
            blas_cause(
                labels=["node1", "laptop"],
                evidence=[Evidence("blas.kernel", ["Zen", "SkylakeX"], "11 of 25 operators differ", True)],
            ),
            libm_cause(
                labels=["node1", "ci"],
                evidence=[Evidence("libc.version", ["2.31", "2.35"], "9 of 31 operators", True)],
            ),
        ],
        ruled_out=ruled_out("blas", "libm"),
        groups=[Group(labels[:3], None), Group(["laptop"], gemm), Group(["ci"], libm)],
    )


def libm_cause(**changes: Any) -> Cause:
    """Another variant of the mathematical library."""
    given: dict[str, Any] = {
        "root": "variables.GLIBC_TUNABLES",
        "components": ["libm"],
        "status": "suspected",
        "facts": ["variables.GLIBC_TUNABLES", "libc.active_features"],
        "operators": ["libm.exp.f64"],
        "settings": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
        "plain": "new runs with GLIBC_TUNABLES, so its exp, log and sin do without FMA instructions.",
        "title": "the variable GLIBC_TUNABLES (not set / glibc.cpu.hwcaps=-AVX2,-FMA)",
        "evidence": [
            Evidence(
                "variables.GLIBC_TUNABLES",
                [None, "glibc.cpu.hwcaps=-AVX2,-FMA"],
                "set on new only",
                root=True,
            ),
            Evidence("libc.active_features", [["AVX2", "FMA"], []], "9 of 31 operators differ"),
        ],
    }
    return Cause(**{**given, **changes})


def several_causes() -> Comparison:
    """Two independent causes between two machines."""
    return diverged(
        causes=[blas_cause(), libm_cause()],
        ruled_out=ruled_out("blas", "libm"),
    )


def unknown_cause() -> Comparison:
    """A divergence that no differing fact explains; its size is not known exactly."""
    size = Size(elements=4096, fraction=0.0039, seen=256, ulp_norm=31.4, reason="more than 20 elements differ")
    where = first(size=size, ulp=Ulp(), elements=4096, differing=None)
    cause = Cause(
        None,
        ["blas"],
        "unknown",
        [],
        ["blas.matmul.f32.64x64x64"],
        {},
        "No fact of matrix multiplication differs.",
    )
    return diverged(
        results=Results(
            "diverged",
            where,
            Operators(184, [], {**ALL_AGREE, "blas": [14, 25]}),
            [job("numpy", "diverged", loss_step=None, first_divergence=where)],
        ),
        causes=[cause],
        environment=Environment([], [], same=412),
        ruled_out=ruled_out("blas"),
    )


def operators_only() -> Comparison:
    """Training agrees; one operator does not, and one side was run once."""
    size = Size(elements=256, differing=1, fraction=1 / 256, seen=256, ulp=Ulp(1, 1, 1, 1))
    where = FirstDivergence("operators", None, None, None, "libm.exp.f64", ["libm"], 256, 1, size.ulp, size)
    return diverged(
        reports=[side("old"), side("new", runs=1)],
        results=Results(
            "diverged",
            where,
            Operators(184, [differing_operator("libm.exp.f64", "libm")], {**ALL_AGREE, "libm": [30, 31]}),
            [job("numpy"), job("python")],
        ),
        causes=[libm_cause(status="proven")],
        ruled_out=ruled_out("libm"),
    )


def same() -> Comparison:
    """Two runs on one unchanged machine."""
    return comparison(environment=Environment(FACTS[6:], [], same=411))


def rebuilt_images() -> Comparison:
    """One recipe built twice: its base moved on, and a package that it does not pin."""
    on_4 = "4 of 5: RUN pip install numpy"
    packages = [
        ImagePackage("numpy", ["1.21.2", "2.4.6"], [on_4, on_4], "packages.numpy.version"),
        ImagePackage("libopenblas0-pthread", ["0.3.17+ds-1", "0.3.31+ds-2"], ["1 of 5: (imported)"] * 2,
                     "system_packages.libopenblas0-pthread.version"),
        ImagePackage("scipy", ["1.11.4", None], [on_4, None], "packages.scipy.version"),
    ]  # fmt: skip
    return diverged(images=Images([5, 5], 0, ["recipe.base"], packages))


COMPARISONS = {
    "diverged": diverged,
    "rebuilt_images": rebuilt_images,
    "agree": agree,
    "same": same,
    "facts_only": facts_only,
    "nondeterministic": nondeterministic,
    "not_comparable": not_comparable,
    "incomplete": incomplete,
    "several_reports": several_reports,
    "several_causes": several_causes,
    "unknown_cause": unknown_cause,
    "operators_only": operators_only,
}


# Reports, as `audit run` writes them


def facts() -> dict[str, Fact]:
    """Machine facts and facts in effect of one machine, with each reason for which one may be missing."""
    values: dict[str, Any] = {
        "cpu.name": "AMD EPYC 9454 48-Core Processor",
        "cpu.level": "x86-64-v4",
        "cpu.count": 16,
        "cpu.emulated": False,
        "cpu.flags": [f"flag{n}" for n in range(200)],
        "python.version": "3.11.9",
        "python.compiler": "GCC 12.2.0",
        "python.hash_seed": "random",
        "numpy.version": "2.4.6",
        "numpy.simd_found": ["X86_V3", "X86_V4", "AVX512_ICL"],
        "blas.implementation": "openblas",
        "blas.version": "0.3.31",
        "blas.kernel": "SkylakeX",
        "blas.threads": 16,
        "libc.name": "glibc",
        "libc.version": "2.36",
        "libc.tunables": [],
        "libm.features": ["AVX2", "AVX512F", "FMA"],
        "fpu.flush_to_zero": False,
        "fpu.denormals_are_zero": False,
        "fpu.rounding": "nearest",
        "packages.numpy": {"version": "2.4.6", "record": "9f2c11aa"},
    }
    known = {name: Fact(value, source="/proc/cpuinfo" if "cpu" in name else "sys") for name, value in values.items()}
    return {
        **known,
        "cpu.governor": Fact(status="absent", reason="no cpufreq folder"),
        "cpu.microcode": Fact(status="denied", reason="/proc/cpuinfo: Permission denied"),
        "gpu.name": Fact(status="absent", reason="no NVIDIA driver"),
        "gpu.driver": Fact(status="absent", reason="no NVIDIA driver"),
    }


def reference_job(name: str = "numpy", **changes: Any) -> Job:
    """A job of two rows that learned in 100 steps, run twice with the same bits."""
    rows = [
        Row("forward", "block 0 attention", "matmul f32", ["blas"], [], "f4", [32, 507]),
        Row("backward", "grad w1", "matmul f32", ["blas"], [0], "f4", [507, 64]),
    ]
    digest = {"numpy": "7f3a91c2", "python": "c81104be"}[name] + "00" * 28
    given: dict[str, Any] = {
        "configuration": "ab12",
        "runs": 2,
        "seconds": [0.61, 0.58],
        "facts": {"blas.threads": Fact(16, "threadpoolctl")},
        "trace": Trace(100, ["forward", "backward"], rows, digest=digest),
        "outcome": Outcome(2.9, 0.0021, correct=169, examples=169, learned=True),
        "repeats": [Repeat(digest)],
    }
    return Job(name, **{**given, **changes})


def battery(**changes: Any) -> Battery:
    """Three operators, one without a result, run twice."""
    operators = [
        Operator("blas.matmul.f32.64x64x64", "blas", result=Observation("11" * 8)),
        Operator("libm.exp.f64", "libm", result=Observation("22" * 8)),
        Operator("random.numpy.beta", "random", status="failed", reason="SIGSEGV"),
    ]
    given: dict[str, Any] = {"runs": 2, "seconds": [0.21, 0.2], "operators": operators}
    return Battery(**{**given, **changes})


def target(**changes: Any) -> Target:
    """This machine's interpreter with everything measured."""
    given: dict[str, Any] = {
        "name": "host",
        "interpreter": "~/envs/ft/bin/python",
        "chosen": "your active virtual environment, not audit's own",
        "facts": facts(),
        "battery": battery(),
        "jobs": [reference_job("python"), reference_job("numpy")],
    }
    return Target(**{**given, **changes})


def report(*targets: Target, label: str = "new-gpu") -> Report:
    """A report of these targets; without any, of one that repeats itself."""
    auditor = Auditor("0.1.0", "5a5a5a5a")
    written = "2026-11-22T15:00:00Z"
    return Report("audit-report", 1, label, "d1" * 32, written, auditor, list(targets) or [target()])


def shaky_target() -> Target:
    """A machine that does not repeat one job and one operator."""
    other = [Repeat("ffff" + "00" * 30, step=3, row=1)]
    operators = battery().operators
    operators = [replace(operators[0], repeats=["99" * 8]), *operators[1:]]
    return target(jobs=[reference_job("numpy", repeats=other)], battery=battery(operators=operators))


def facts_target() -> Target:
    """--job none: facts alone."""
    return target(battery=Battery(facts={"fpu.flush_to_zero": Fact(True, "fpu.mxcsr")}), jobs=[])


def broken_target() -> Target:
    """A job that died, through an emulator."""
    dead = Job("numpy", status="failed", reason="SIGSEGV")
    return target(via="qemu-x86_64-static", jobs=[dead], incomplete=["job numpy: SIGSEGV"])


def recipe_target() -> Target:
    """A Dockerfile, built twice, that leaves open what it installs."""
    values: dict[str, Any] = {
        "recipe.layers_repeat": False,
        "recipe.layers_changed": ["2 of 5", "4 of 5", "5 of 5"],
        "recipe.packages_changed": ["numpy", "other system packages"],
        "recipe.results_repeat": False,
        "recipe.unpinned": ["FROM debian:12: no digest", "pip install torch: no version", "pip install x: no version"],
        "image.unpinned": ["pip install torch: no version", "apt-get upgrade: no versions", "pip install y>1: no exact"
                           " version"],
    }  # fmt: skip
    return target(
        name="dockerfile:train", facts={**facts(), **{name: Fact(value, "x") for name, value in values.items()}}
    )


def recorded_process(name: str = "program", steps: int = 20, **changes: Any) -> Job:
    """A process of a person's own program, recorded step by step, run once."""
    rows = [
        Row("data", "batch.0", "constant", [], [], "f4", [32, 3, 28, 28]),
        Row("loss", "loss", "loss", ["aten"], [0], "f4", [], "", "train.py:41"),
    ]
    given: dict[str, Any] = {
        "configuration": "cd34",
        "runs": 1,
        "seconds": [12.3],
        "facts": {"program.status": Fact(0, "its end"), "blas.threads": Fact(16, "threadpoolctl")},
        "trace": Trace(
            steps, ["data", "loss"], rows, digests=["AAAAAAAAAAAAAAAAAAAAAA=="] * steps, digest="35bcd928" * 2
        ),
        "outcome": Outcome(2.9, 2.3071),
    }
    return Job(name, **{**given, **changes})


def recorded_target(*jobs: Job, **changes: Any) -> Target:
    """`audit run -- COMMAND`: the battery and the program."""
    chosen = "your program's own"
    return target(
        **{"chosen": chosen, "jobs": list(jobs) or [recorded_process()], "battery": battery(runs=1), **changes}
    )


def killed_target() -> Target:
    """A program of two processes, of which something could not be seen, and which something killed."""
    notes = ["torch.compile: operators inside compiled regions are one row", "3 data loader workers are not recorded"]
    reason = "program ended by SIGKILL after 41 steps"
    ranks = [recorded_process("program.rank0", 41, notes=notes), recorded_process("program.rank1", 40)]
    return recorded_target(*ranks, incomplete=[reason])


def untrained_target() -> Target:
    """A program that trains nothing."""
    reason = "no step was seen: a step is one of an optimizer"
    return recorded_target(Job("program", status="failed", reason=reason), incomplete=[reason])


def repeated_target(digest: str = "35bcd928" * 2) -> Target:
    """A program that was run three times, with its scores."""
    repeats = [Repeat("35bcd928" * 2), Repeat(digest, *((3, 1) if digest != "35bcd928" * 2 else ()))]
    scores = [Score("accuracy", 0.9123), Score("bleu", 27.41, 0.31)]
    job = recorded_process(runs=3, seconds=[12.3, 12.1, 12.6], repeats=repeats, scores=scores)
    return recorded_target(job, battery=battery(runs=3))


REPORTS = {
    "repeatable": lambda: report(),
    "not_repeatable": lambda: report(shaky_target()),
    "facts_only": lambda: report(facts_target()),
    "incomplete": lambda: report(broken_target()),
    "once": lambda: report(target(jobs=[reference_job("numpy", runs=1, repeats=[])], battery=None)),
    "recipe": lambda: report(recipe_target()),
    "two_targets": lambda: report(target(), target(name="python:3.12-slim", chosen="the image's python3")),
    "recorded": lambda: report(recorded_target()),
    "recorded_killed": lambda: report(killed_target()),
    "recorded_nothing": lambda: report(untrained_target()),
    "recorded_repeatable": lambda: report(repeated_target()),
    "recorded_not_repeatable": lambda: report(repeated_target("ffff" * 4)),
    "recorded_two_targets": lambda: report(recorded_target(), recorded_target(name="python:3.12-slim")),
}


def image_bump() -> Check:
    """A base image that moved glibc and with it the bits, and fewer CPUs: the check of OUTPUT.md."""
    moved = [Change("libc.version", "2.36", "2.41", 118), Change("os.release", "Debian 12", "Debian 13", 131)]
    folded = [Change(f"packages.system.lib{n}.version", f"1.{n}", f"1.{n + 1}", 140 + n) for n in range(45)]
    accept = "commit the update below; one line per changed fact"
    postpone = "waiver with reason and expiry in audit.toml"
    return checked(
        verdict="fail",
        findings=[
            Finding(
                "performance-drift",
                "limits.cpu_quota",
                "warning",
                "limits.cpu_quota 8 -> 4",
                identity="d4" * 16,
                new=False,
                changes=[Change("limits.cpu_quota", 8, 4, 97)],
                effect="no result changed",
                keep="limits.cpu_quota = 8, as in the baseline",
                accept=accept,
                postpone=postpone,
                line=97,
            ),
            Finding(
                "results-changed",
                "image.layers",
                "error",
                "9 of 31 libm operators give other bits",
                identity="a1" * 16,
                new=True,
                components=["libm"],
                changes=[*moved, *folded],
                operators=["libm.exp.f64", "libm.log.f64"],
                because="the base image moved from Debian 12 to 13, so libc.version 2.36 -> 2.41",
                came_with="another image; 46 other changes folded into this finding",
                effect="training differs at step 0, softmax; final loss equal",
                keep="FROM python:3.12-slim@sha256:4f2c91aa (the baseline's digest)",
                accept=accept,
                postpone=postpone,
                line=118,
            ),
        ],
        operators=[148, 148],
        fine=['this runner is class "x86 AVX2", 1 of 3 in the baseline', "58 changes that cannot alter results"],
        policy="audit.toml",
        exit=1,
        next="on a machine with the new image:  audit baseline --update audit-baseline.json",
    )


def waived_and_stale() -> Check:
    """A drift that a waiver covers, and a waiver that is of no use any more."""
    return checked(
        findings=[
            Finding(
                "numeric-drift",
                "packages.numpy.version",
                "warning",
                "packages.numpy.version 2.4.6 -> 2.4.7",
                waived=True,
                identity="b2" * 16,
                changes=[Change("packages.numpy.version", "2.4.6", "2.4.7", 60)],
                waiver="until 2027-01-31: CVE fix",
            ),
            Finding(
                "stale-waiver",
                "blas.threads",
                "warning",
                "The waiver of blas.threads expired on 2026-10-31",
                identity="c3" * 16,
                keep="remove it from audit.toml",
            ),
        ],
        operators=[148, 148],
        fine=['this runner is class "x86 AVX2", 1 of 3 in the baseline'],
        policy="audit.toml",
        next="audit check --baseline audit-baseline.json --all",
    )


def new_class() -> Check:
    """A runner of a kind that the baseline does not know."""
    return checked(
        verdict="fail",
        findings=[
            Finding(
                "unknown-class",
                "hardware",
                "warning",
                'This machine is of class "x86 AVX-512", which the baseline does not hold',
                identity="e5" * 16,
                keep="run on one of the baseline's classes: x86 AVX2, aarch64 NEON",
                accept="audit baseline --update-new-only audit-baseline.json",
                postpone="waiver for hardware in audit.toml",
            )
        ],
        held=[980, 1104],
        exit=1,
        next="on this machine:  audit baseline --update-new-only audit-baseline.json",
    )


def unread() -> Check:
    """A container that may not read what the baseline holds."""
    return checked(
        verdict="incomplete",
        missing={"gpu.driver": "denied: NVML may not be loaded here", "image.id": "absent: not in a container"},
        held=[1102, 1104],
        operators=[0, 148],
        exit=3,
        next="on this machine:  audit run -o here.json",
    )


def passed() -> Check:
    """Nothing to report."""
    return checked(
        operators=[148, 148],
        fine=['this runner is class "x86 AVX2", 1 of 3 in the baseline', "58 changes that cannot alter results"],
        next="audit check --baseline audit-baseline.json --job numpy    # the training as well",
    )


def drifted(count: int) -> Check:
    """As many errors as asked for."""
    findings = [
        Finding(
            "numeric-drift", f"variables.X{n}", "error", f"X{n} is set, 100%: a,b", line=n + 1, identity=f"{n:032x}"
        )
        for n in range(count)
    ]
    return checked(verdict="fail", findings=findings, exit=1, next="audit baseline --update audit-baseline.json")


def checked(**changes: Any) -> Check:
    """A check without a finding, changed as asked for."""
    given: dict[str, Any] = {
        "format": checked_format.FORMAT,
        "version": checked_format.VERSION,
        "verdict": "pass",
        "findings": [],
        "baseline": "audit-baseline.json",
        "policy": "",
        "report": side("here"),
        "held": [1104, 1104],
    }
    return Check(**{**given, **changes})


CHECKS = {
    "image_bump": image_bump,
    "waived_and_stale": waived_and_stale,
    "new_class": new_class,
    "incomplete": unread,
    "pass": passed,
    "many": lambda: drifted(40),
}
