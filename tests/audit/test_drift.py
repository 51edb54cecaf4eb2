"""`audit check` on planted drifts, each of which gives exactly the finding that is expected, and on harmless changes,
which give none. A recorded machine is changed as the drift would change it."""

from __future__ import annotations

import datetime
import gzip
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from audit.compare.side import Measured
from audit.policy import baseline, check, policy, says
from audit.policy.against import Asked
from audit.policy.baseline import Baseline
from audit.policy.policy import Policy
from reports import codec
from reports.catalogue import catalogue
from reports.checked import Check
from reports.render.pages.words import count

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
TODAY = datetime.date(2026, 11, 22)
GONE: Any = object()
IMAGE = "image.digests"

Changes = dict[str, Any]


class Drift(NamedTuple):
    """facts: by name, what they become; operators: how many operators of which component give other bits; job: whether
    the numpy job does. rule, fact, severity: of the only finding."""

    what: str
    facts: Changes
    rule: str
    fact: str
    severity: str = "warning"
    operators: dict[str, int] = {}  # noqa: RUF012 - never changed
    job: bool = False
    under: str = ""


NUMPY_LIBRARIES = {
    "libraries.numpy._core._multiarray_umath.build_id": "build-id 1",
    "libraries.numpy.random.mtrand.build_id": "build-id 2",
}
NEWER_NUMPY = {
    "packages.numpy.version": "2.4.7",
    "packages.numpy.record": "aaaa",
    "numpy.version": "2.4.7",
    "blas.version": "0.3.32",
    "blas.build_id": "sha256 1",
    "lapack.version": "0.3.32",
    "lapack.build_id": "sha256 1",
    **NUMPY_LIBRARIES,
}
NUMPY = "packages.numpy.version"
SCIPY = {"packages.scipy.version": "1.17.0", "packages.scipy.record": "aaab"}
TORCH = {"packages.torch.version": "2.6.0", "packages.torch.record": "bbbb"}
GLIBC = {
    "os.release": "debian 13",
    "libc.version": "2.41",
    "libm.build_id": "build-id 3",
    "system_packages.libc6.version": "2.41-1",
    "system_packages.libstdc++6.version": "14.2.0-1",
}
OTHER_IMAGE = {
    IMAGE: ["python@sha256:2"],
    "image.layers": ["a", "c"],
    **GLIBC,
    **NEWER_NUMPY,
    "python.version": "3.11.8",
}
FTZ = {"fpu.mxcsr": "0x9fc0", "fpu.flush_to_zero": True, "fpu.denormals_are_zero": True, "fpu.subnormals": False}
HASWELL = {"blas.kernel": "Haswell", "numpy.simd_found": ["X86_V3"], "libm.features": ["AVX", "AVX2", "FMA", "SSE4_1"]}

DRIFTS = [
    Drift("a package newer, bits too", NEWER_NUMPY, "results-changed", NUMPY, "error", {"blas": 3}),
    Drift("a package newer, bits alike", NEWER_NUMPY, "numeric-drift", NUMPY),
    Drift("a package older", {**NEWER_NUMPY, NUMPY: "2.3.5"}, "results-changed", NUMPY, "error", {"blas": 2}, True),
    Drift("a package more", SCIPY, "numeric-drift", "packages.scipy.version"),
    # What it computes with is a component that nothing here measured: no operator says that it is harmless.
    Drift("a framework more, not measured", TORCH, "numeric-drift", "packages.torch.version", "error"),
    Drift(
        "a package gone",
        {"packages.extra.version": GONE, "packages.extra.record": GONE},
        "numeric-drift",
        "packages.extra.version",
    ),
    Drift(
        "a package patched in place",
        {"packages.numpy.record": "aaaa", **NUMPY_LIBRARIES},
        "numeric-drift",
        "packages.numpy.record",
    ),
    Drift(
        "patched in place, bits too",
        {"packages.numpy.record": "aaaa", **NUMPY_LIBRARIES},
        "results-changed",
        "packages.numpy.record",
        "error",
        {"numpy": 4},
    ),
    Drift("five packages more", {f"packages.p{n}.version": "1" for n in range(5)}, "numeric-drift", "packages.*"),
    Drift(
        "BLAS swapped",
        {
            "blas.implementation": "mkl",
            "blas.version": "2024.2",
            "blas.build_id": "sha256 2",
            "lapack.implementation": "mkl",
            "lapack.version": "2024.2",
            "lapack.build_id": "sha256 2",
        },
        "results-changed",
        "blas.implementation",
        "error",
        {"blas": 40},
        True,
    ),
    Drift(
        "BLAS of another build",
        {"blas.build_id": "sha256 2", "lapack.build_id": "sha256 2"},
        "numeric-drift",
        "blas.build_id",
    ),
    Drift(
        "another kernel of the system",
        {"os.kernel": "6.19.0", "os.kernel_build": "#2"},
        "identity-drift",
        "os.kernel",
        "warning",
        under="kernel",
    ),
    Drift(
        "another driver of the GPU", {"gpu.driver": "570.1", "gpu.cuda_driver": "12.8"}, "numeric-drift", "gpu.driver"
    ),
    Drift("the driver gone", {"gpu.driver": None}, "unreadable", "gpu.driver"),
    Drift(
        "another locale",
        {"variables.LC_ALL": "tr_TR.ISO8859-9", "locale.encoding": "iso8859-9"},
        "numeric-drift",
        "locale.encoding",
    ),
    Drift(
        "fewer threads, bits too",
        {"variables.OMP_NUM_THREADS": "1", "blas.threads": 1},
        "results-changed",
        "variables.OMP_NUM_THREADS",
        "error",
        {"blas": 7},
        True,
    ),
    Drift(
        "fewer threads, bits alike",
        {"variables.OMP_NUM_THREADS": "1", "blas.threads": 1},
        "numeric-drift",
        "variables.OMP_NUM_THREADS",
    ),
    Drift("a quota of the cgroup", {"limits.cpu_quota": 1.0, "blas.threads": 1}, "numeric-drift", "limits.cpu_quota"),
    Drift("a quota without effect", {"limits.cpu_quota": 4.0}, "performance-drift", "limits.cpu_quota"),
    Drift("fewer CPUs", {"cpu.count": 1, "limits.affinity": 1, "blas.threads": 1}, "numeric-drift", "cpu.count"),
    Drift("less memory allowed", {"limits.memory": 1 << 30}, "performance-drift", "limits.memory"),
    Drift("a smaller stack", {"limits.stack": 1 << 20}, "performance-drift", "limits.stack"),
    Drift(
        "a hash seed",
        {"variables.PYTHONHASHSEED": "1", "python.hash_seed": "1"},
        "numeric-drift",
        "variables.PYTHONHASHSEED",
    ),
    Drift(
        "a library that flushes to zero",
        {"variables.LD_PRELOAD": "libftz.so", **FTZ},
        "results-changed",
        "variables.LD_PRELOAD",
        "error",
        {"fpu": 9},
    ),
    Drift("flushed to zero by nobody knows what", FTZ, "results-changed", "fpu.mxcsr", "error", {"fpu": 9}),
    Drift("a variable set", {"variables.MKL_CBWR": "AVX2"}, "numeric-drift", "variables.MKL_CBWR"),
    Drift("a variable unset", {"variables.XLA_FLAGS": None}, "numeric-drift", "variables.XLA_FLAGS"),
    Drift(
        "another kernel of BLAS by a variable",
        {"variables.OPENBLAS_CORETYPE": "Haswell", "blas.kernel": "Haswell"},
        "results-changed",
        "variables.OPENBLAS_CORETYPE",
        "error",
        {"blas": 75},
        True,
    ),
    Drift(
        "another libm by a variable",
        {"variables.GLIBC_TUNABLES": "x", "libm.features": ["SSE4_1"]},
        "results-changed",
        "variables.GLIBC_TUNABLES",
        "error",
        {"libm": 21},
    ),
    Drift("another system", GLIBC, "results-changed", "os.release", "error", {"libm": 9}),
    Drift("another system, bits alike", GLIBC, "numeric-drift", "os.release"),
    Drift("another image", OTHER_IMAGE, "results-changed", IMAGE, "error", {"libm": 9, "blas": 3, "numpy": 2}, True),
    Drift("another image, bits alike", OTHER_IMAGE, "numeric-drift", IMAGE),
    Drift(
        "another Python",
        {"python.version": "3.12.1", "python.compiler": "GCC 13"},
        "results-changed",
        "python.version",
        "error",
        {"python": 4},
    ),
    Drift(
        "another class of CPU",
        HASWELL,
        "unknown-class",
        "blas.kernel",
        "error",
        {"blas": 70, "numpy": 40, "libm": 20},
        True,
    ),
    Drift("another class of CPU, bits alike", HASWELL, "unknown-class", "blas.kernel"),
    Drift("results by nobody knows what", {}, "results-changed", "results.random", "error", {"random": 2}),
    Drift("only the training", {}, "results-changed", "results.job numpy", "error", {}, True),
]

HARMLESS: dict[str, Changes] = {
    "time": {"time.load": [9.0, 9.0, 9.0]},
    "time zone": {"time.zone": "Europe/Paris", "variables.TZ": "Europe/Paris"},
    "memory": {"memory.total": 1 << 34},
    "swap": {"memory.swap": 1 << 30},
    "huge pages": {"memory.huge_pages": 12, "memory.huge_pages_transparent": "always"},
    "the kernel of the system": {"os.kernel": "6.19.1", "os.kernel_build": "#7"},
    "microcode": {"cpu.microcode": "0x2000065"},
    "another CPU with the same code paths": {
        "cpu.model": "GenuineIntel 6-143",
        "cpu.name": "Xeon",
        "cpu.vendor": "GenuineIntel",
    },
    "a flag of the CPU that nothing uses": {"cpu.flags": ["abm", "adx"], "cpu.stepping": 3},
    "caches": {"cpu.caches": {"L1d": 49152}, "cpu.smt": True, "cpu.sockets": 2, "cpu.numa_nodes": 2},
    "governor": {"cpu.governor": "performance"},
    "which CPUs": {"limits.affinity_list": "2-3", "limits.cpuset": "2-3"},
    "hypervisor": {"system.hypervisor": ["none"]},
    "container": {"container.kind": ["podman"], "container.evidence": ["/run/.containerenv"]},
    "installer": {"packages.pip.version": "26.0", "packages.pip.record": "cc", "packages.numpy.installer": "uv"},
    "tools": {"packages.pytest.version": "9.0", "packages.ruff.version": "0.9", "packages.count": 5},
    "where Python is from": {"python.origin": "uv", "python.build": "main Jan  1 2027", "python.environment": "conda"},
    "language": {"variables.LANG": "de_DE.UTF-8", "locale.language": "de_DE.UTF-8"},
    "library path": {"variables.LD_LIBRARY_PATH": "/opt"},
    "processes": {"limits.processes": 1000, "limits.cgroup_processes": 5000},
    "what a library is called": {"libraries.libz.build_id": "build-id 9", "libraries.libz.version": "1.3"},
    "debugging": {"variables.PYTHONFAULTHANDLER": "1", "variables.OPENBLAS_VERBOSE": "2"},
}

HELD = {
    IMAGE: ["python@sha256:1"],
    "image.layers": ["a", "b"],
    "gpu.driver": "560.35",
    "gpu.cuda_driver": "12.6",
    "variables.XLA_FLAGS": "--xla_cpu_x=1",
    "packages.extra.version": "1.0",
    "packages.extra.record": "dd",
}
"""What the recorded machine has not got and a drift takes away."""


def machine(changes: Changes, operators: dict[str, int] | None = None, job: bool = False) -> Measured:
    """The recorded machine with some facts and results changed, wherever they stand."""
    tree = json.loads(_recorded())
    target = tree["targets"][0]
    places = [target["battery"]["facts"], *(one["facts"] for one in target["jobs"])]
    for name, value in {**HELD, **changes}.items():
        there = [facts for facts in places if name in facts and "status" not in facts[name]] or [target["facts"]]
        for facts in there:
            facts.pop(name, None)
            if value is None and not name.startswith("variables."):
                facts[name] = {"status": "absent", "reason": "no driver"}
            elif value is not GONE:
                facts[name] = {"value": value, "source": "planted"}
    for component, number in (operators or {}).items():
        of = [
            one
            for one in target["battery"]["operators"]
            if one["component"] == component and one["name"].startswith(component)
        ]
        of.sort(key=lambda one: "blas.threads" in changes and not one.get("threaded"))
        for one in [one for one in of if not one.get("hazard")][:number]:
            one["result"]["digest"] = "0" * 16
    for one in target["jobs"] if job else ():
        if one["name"] == "numpy":
            one["trace"]["digest"] = "0" * 16
            one["repeats"] = [{"digest": "0" * 16}]
    report = codec.check(tree)
    return Measured("here", "", report, report.targets[0])


@lru_cache
def _recorded() -> bytes:
    return gzip.decompress((MACHINES / "host.json.gz").read_bytes())


@lru_cache
def held(also: tuple[str, ...] = ()) -> Baseline:
    return baseline.made([machine({})], catalogue(), also)


RULES = {"": Policy(), "kernel": Policy("p", facts={"os.kernel": "warning"}), "strict": policy.BUILT_IN["strict"]}


def checked(now: Measured, rules: Policy | None = None, against: Baseline | None = None, **more: Any) -> Check:
    rules = rules or Policy()
    words = says.Words("baseline.json", rules.name)
    return check.check(
        against or held(rules.also_held), now, rules, catalogue(), more.pop("asked", Asked()), words, TODAY, **more
    )


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.what)
def test_a_planted_drift_gives_exactly_its_finding(drift: Drift) -> None:
    found = checked(machine(drift.facts, drift.operators, drift.job), RULES[drift.under])
    assert [(one.rule, one.fact, one.severity) for one in found.findings] == [(drift.rule, drift.fact, drift.severity)]
    one = found.findings[0]
    expected = {"error": ("fail", 1), "warning": ("pass", 0)}[drift.severity]
    assert (found.verdict, found.exit) == (("incomplete", 3) if drift.rule == "unreadable" else expected)
    assert len(one.operators) == sum(drift.operators.values()) + drift.job
    assert one.message
    assert one.keep or drift.fact.startswith("results.")
    assert one.accept.startswith("audit baseline ")
    assert str(TODAY + datetime.timedelta(days=30)) in one.postpone
    changed = {name for name, value in drift.facts.items() if value is not HELD.get(name)}
    assert {change.fact for change in one.changes} <= changed


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_change_gives_none(what: str) -> None:
    found = checked(machine(HARMLESS[what]))
    assert (found.verdict, found.findings, found.missing, found.exit) == ("pass", [], {}, 0)
    assert found.operators[0] == found.operators[1] > 600
    assert found.held[0] == found.held[1] > 100


@pytest.mark.parametrize("under", RULES)
def test_what_changes_by_itself_is_never_held_not_even_by_a_baseline_that_names_it(under: str) -> None:
    """Edited by hand, or made when the catalogue had another kind for it."""
    of = held(RULES[under].also_held)
    ((name, one),) = of.classes.items()
    edited = replace(of, classes={name: replace(one, facts={**one.facts, "time.load": [1.0, 1.0, 1.0]})})
    for now in (machine({"time.load": [9.0, 9.0, 9.0]}), machine({"time.load": GONE})):
        found = checked(now, RULES[under], edited)
        assert (found.verdict, found.findings, found.missing, found.exit) == ("pass", [], {}, 0)
        assert found.held == checked(machine({}), RULES[under], of).held


def lacking(side: Measured, operators: int, why: str = "SIGSEGV") -> Measured:
    """A machine on which so many operators of blas died."""
    battery = side.target.battery
    assert battery
    left = operators
    found = []
    for one in battery.operators:
        if left and one.component == "blas" and not one.hazard:
            one, left = msgspec.structs.replace(one, status="failed", reason=why, result=None), left - 1
        found.append(one)
    target = msgspec.structs.replace(
        side.target,
        battery=msgspec.structs.replace(battery, operators=found),
        incomplete=[f"operator {one.name}: {why}" for one in found if one.status],
    )
    return Measured("here", "", msgspec.structs.replace(side.report, targets=[target]), target)


CI = policy.read(Path(__file__).parent.parent.parent / ".ci" / "audit.toml")


@pytest.mark.parametrize("rules", [Policy(), CI, policy.BUILT_IN["strict"]], ids=["usual", "ci", "strict"])
@pytest.mark.parametrize("changes", [{}, HASWELL], ids=["known class", "unknown class"])
@pytest.mark.parametrize("operators", [1, 9])
def test_what_died_is_a_gap_on_any_hardware(operators: int, changes: Changes, rules: Policy) -> None:
    found = checked(lacking(machine(changes), operators), rules)
    errors = [one for one in found.findings if one.severity == "error"]
    assert (found.verdict, found.exit) == (("fail", 1) if errors else ("incomplete", 3))
    assert bool(errors) is (rules.name == "strict")
    assert [one.rule for one in found.findings] == (["unknown-class"] if changes else ["unreadable"])
    assert len(found.missing) == (not changes)
    told = (
        f"{count(operators, 'operator')} could not be compared" if changes else "cannot be compared: failed (SIGSEGV)"
    )
    assert told in found.findings[0].message
    assert found.notes[0].startswith("host is incomplete: operator blas.")


def test_there_are_as_many_as_promised() -> None:
    assert len({drift.what for drift in DRIFTS}) >= 30
    assert len(HARMLESS) >= 20
