"""The search of `audit vary`, on machines whose answers are planted: what it must find, and what it must not believe.

`Planted` stands for a laboratory. It makes real sides (`Measured`), so all that compares them is the real thing; which
bits they have, what they take, and what dies is a function of what is in effect. The last tests run the real command.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audit.causes import machines
from audit.causes.bench import NothingToVary
from audit.causes.laboratory import Given, Under
from audit.causes.vary import vary
from audit.compare import gap
from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.errors import ReportError
from audit.targets.prefix import PrefixTarget
from audit.varying import _next as next_command
from audit.varying import pins_file
from fixtures import record
from reports import codec, render
from reports.render.pages.variation import runs
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
    Target,
    Trace,
)
from reports.variation import Variation, Varied

SIMD = ["AVX512_ICL", "X86_V3", "X86_V4"]
FEATURES = ["AVX", "AVX2", "AVX512F", "FMA", "SSE4_1"]

LEVELS = ["a CPU without AVX-512", "a CPU without AVX2 and FMA", "a CPU without AVX"]
MASKS = ["AVX512_ICL,X86_V4", "AVX512_ICL,X86_V3,X86_V4"]


@dataclass(frozen=True)
class State:
    """What is in effect in a child."""

    kernel: str = "SkylakeX"
    threads: int = 2
    simd: tuple[str, ...] = tuple(SIMD)
    features: tuple[str, ...] = tuple(FEATURES)
    seed: object = "random"
    flush: bool = False
    run: int = 0

    @property
    def level(self) -> int:
        """How far down numpy's loops are: 0 all, 1 without AVX-512, 2 without AVX2."""
        return 0 if "X86_V4" in self.simd else 1 if "X86_V3" in self.simd else 2


Table = Callable[[State], object]


class Planted:
    """bits, operator: what the job and the one operator give; seconds: what the job takes; dead: why the job dies;
    refused: settings that are not taken; kept: variables that are set already; stop: the run that is interrupted."""

    def __init__(
        self,
        bits: Table = lambda state: 0,
        operator: Table = lambda state: 0,
        seconds: Callable[[State], float] = lambda state: 1.0,
        dead: Callable[[State], str] = lambda state: "",
        refused: tuple[str, ...] = (),
        kept: dict[str, str] | None = None,
        stop: int = 0,
        has_job: bool = True,
    ) -> None:
        self.bits, self.operator, self.time, self.dead = bits, operator, seconds, dead
        self.refused, self.kept, self.stop, self.has_job = refused, kept or {}, stop, has_job
        self.runs = 0
        self.seconds = 12.0
        self.asked: list[dict[str, str]] = []

    def state(self, settings: dict[str, str]) -> State:
        taken = {**self.kept, **{name: value for name, value in settings.items() if name not in self.refused}}
        off = taken.get("NPY_DISABLE_CPU_FEATURES", "").split(",")
        masked = taken.get("GLIBC_TUNABLES", "").partition("=")[2].split(",")
        return State(
            kernel=taken.get("OPENBLAS_CORETYPE", "SkylakeX"),
            threads=int(taken.get("OPENBLAS_NUM_THREADS", "2")),
            simd=tuple(one for one in SIMD if one not in off),
            features=tuple(one for one in FEATURES if f"-{one}" not in masked),
            seed=int(taken["PYTHONHASHSEED"]) if "PYTHONHASHSEED" in taken else "random",
            flush="flush_denormals" in taken,
            run=self.runs,
        )

    def measure(
        self, under: Under, jobs: tuple[str, ...] | None, battery: bool = True, repeat: int = 1, words: str = ""
    ) -> Given:
        self.asked.append(dict(under.settings))
        states = []
        for _ in range(repeat):
            self.runs += 1
            if self.runs == self.stop:
                raise KeyboardInterrupt
            states.append(self.state(under.settings))
        names = ("numpy",) if jobs is None and self.has_job else jobs or ()
        works = ["operators"] * battery + [f"job {name}" for name in names]
        return Given(under, works, self.side(states, battery, bool(names)))

    def side(self, states: list[State], battery: bool, job: bool) -> Measured:
        state = states[0]
        effect = {
            "blas.implementation": "openblas",
            "blas.version": "0.3.31",
            "blas.kernel": state.kernel,
            "blas.threads": state.threads,
            "numpy.version": "2.4.6",
            "numpy.simd_found": list(state.simd),
            "libm.features": list(state.features),
            "python.hash_seed": state.seed,
            "fpu.flush_to_zero": state.flush,
        }
        machine = {
            "cpu.flags": ["avx", "avx2", "avx512f", "fma"],
            "cpu.machine": "x86_64",
            "cpu.count": 2,
            **{f"variables.{name}": value for name, value in self.kept.items()},
        }
        target = Target(
            "host",
            facts=facts(machine),
            battery=self.battery(states, facts(effect)) if battery else None,
            jobs=[self.job(states, facts(effect))] if job else [],
        )
        report = Report("audit-report", 1, "here", "0" * 64, "2026-01-01T00:00:00Z", Auditor(), [target])
        return Measured("here", "", report, target)

    def battery(self, states: list[State], effect: dict[str, Fact]) -> Battery:
        given = [f"{self.operator(state)}" for state in states]
        repeats = given[1:] if len(set(given)) > 1 else None
        result = Observation(given[0], "f4", [1])
        one = Operator("libm.exp", "libm", result=result, repeats=repeats)
        return Battery(len(states), [0.5], effect, [one])

    def job(self, states: list[State], effect: dict[str, Fact]) -> Job:
        why = next(filter(None, map(self.dead, states)), "")
        if why:
            return Job("numpy", status="failed", reason=why)
        traces = [trace(f"{self.bits(state)}") for state in states]
        repeats = [
            Repeat(one.digest, *((None, None) if one.digest == traces[0].digest else (0, 0))) for one in traces[1:]
        ]
        loss = 0.5 + int(traces[0].digest, 16) % 7 / 100
        return Job(
            "numpy",
            configuration="c0ffee",
            runs=len(states),
            seconds=[self.time(state) for state in states],
            facts=effect,
            trace=traces[0],
            outcome=Outcome(1.0, loss, [loss], 1, 1, True),
            repeats=repeats,
        )


def facts(values: dict[str, Any]) -> dict[str, Fact]:
    return {name: Fact(value, "planted") for name, value in values.items()}


def trace(word: str) -> Trace:
    """A trace of one call, whose bits are a digest of the word."""
    import hashlib

    data = hashlib.sha256(word.encode()).digest()[:8]
    row = Row("forward", "query", "matmul f32", ["blas"], [], "f4", [2])
    return Trace(1, ["forward"], [row], [data.hex()], [base64.b64encode(data).decode()], digest=data.hex())


def varied(found: Variation) -> dict[str, Varied]:
    """Rows by the machine, or by NAME=VALUE."""
    return {row.name if row.machine else f"{row.name}={row.value}": row for row in found.settings}


def changing(found: Variation) -> set[str]:
    return {name for name, row in varied(found).items() if row.changes_bits}


# -- what changes bits ------------------------------------------------------------------------------------------------


def test_a_setting_that_changes_bits_is_found_with_its_place_and_what_it_stands_for() -> None:
    found = vary(Planted(bits=lambda state: state.kernel), None)
    row = varied(found)["OPENBLAS_CORETYPE=Haswell"]
    assert (row.component, row.stands_for) == ("blas", "a CPU without AVX-512")
    assert row.changed == ["job numpy"]
    assert row.first_divergence
    assert (row.first_divergence.step, row.first_divergence.operator) == (0, "matmul f32")
    assert row.effect == "blas.kernel Haswell"
    kernels = {f"OPENBLAS_CORETYPE={name}" for name in ("Haswell", "Sandybridge", "Nehalem", "Prescott")}
    assert changing(found) == kernels | {*LEVELS, *(f"{name}, 1 CPU" for name in LEVELS)}
    assert found.exit == 1


def test_nothing_changes_bits() -> None:
    found = vary(Planted(), None)
    assert changing(found) == set()
    assert len(found.settings) == 4 + 1 + 2 + 3 + 1 + 1 + 3 + 3
    assert (found.pins, found.pins_slowdown, found.exit) == ({}, None, 0)
    assert found.pins_reason.startswith("not needed")
    assert render.variation(found).startswith(
        "YOUR NUMBERS HOLD. The numpy job's bits do not change under any of 18 settings.\n"
    )


def test_an_operator_that_no_job_uses_is_a_finding_and_needs_no_pin() -> None:
    found = vary(Planted(operator=lambda state: "FMA" in state.features), None)
    assert varied(found)[LEVELS[1]].changed == ["operators"]
    assert varied(found)[LEVELS[1]].operators == [1, 1]
    assert varied(found)[LEVELS[0]].changes_bits is False
    assert (found.pins, found.exit) == ({}, 1)
    assert "of them change operators only." in " ".join(render.variation(found).split())


def test_without_jobs_the_operators_are_pinned() -> None:
    found = vary(Planted(operator=lambda state: "FMA" in state.features, has_job=False), ())
    assert found.works == ["operators"]
    assert [*found.pins] == ["GLIBC_TUNABLES"]
    assert found.pins_slowdown == 1.0
    assert "job" not in render.variation(found).replace("--job", "")


def test_the_spread_of_the_final_loss() -> None:
    found = vary(Planted(bits=lambda state: (state.kernel, state.simd)), None)
    losses = [loss for row in found.settings for loss in row.loss_last.values()]
    spread = found.spread["numpy"]
    assert spread.least == min([*losses, spread.usual])
    assert spread.most == max([*losses, spread.usual])
    assert spread.relative == pytest.approx((spread.most - spread.least) / spread.usual)
    assert spread.settings == spread.learned == len(losses) == 18


# -- what must not be believed ----------------------------------------------------------------------------------------


def test_what_is_not_repeated_as_it_is_is_blamed_on_no_setting() -> None:
    found = vary(Planted(bits=lambda state: state.run, operator=lambda state: state.kernel), None)
    assert found.nondeterministic == ["job numpy"]
    assert all("job numpy" not in row.changed for row in found.settings)
    assert (found.pins, found.exit) == ({}, 1)
    assert render.variation(found).startswith("NOT REPEATABLE. job numpy gives other bits in every run")


def test_what_is_not_repeated_is_seen_late_too() -> None:
    """Twice the same, and then not: every further run as it is counts, and what was found until then does not."""
    found = vary(Planted(bits=lambda state: state.run > 9), None)
    assert found.nondeterministic == ["job numpy"]
    assert changing(found) == set()
    assert found.exit == 1


def test_a_setting_under_which_nothing_repeats_is_said() -> None:
    found = vary(Planted(bits=lambda state: state.run if state.threads == 1 else 0), None)
    row = varied(found)["OPENBLAS_NUM_THREADS=1"]
    assert (row.changes_bits, row.unsteady) == (True, ["job numpy"])
    assert found.pins == {}
    assert "does not repeat itself there" in found.pins_reason


def test_a_value_that_crashes_is_said_and_counts_as_nothing() -> None:
    found = vary(Planted(dead=lambda state: "SIGILL" if state.kernel == "Haswell" else ""), None)
    row = varied(found)["OPENBLAS_CORETYPE=Haswell"]
    assert (row.changes_bits, row.reason) == (None, "job numpy: SIGILL")
    assert found.exit == 3
    text = " ".join(render.variation(found).split())
    assert "do not change under any of 15 settings; 3 could not be tried." in text
    assert "OPENBLAS_CORETYPE=Haswell and 2 more: job numpy: SIGILL" in text


def test_a_value_that_is_refused_is_said_and_counts_as_nothing() -> None:
    found = vary(Planted(bits=lambda state: state.kernel, refused=("NPY_DISABLE_CPU_FEATURES",)), None)
    for name in MASKS:
        row = varied(found)[f"NPY_DISABLE_CPU_FEATURES={name}"]
        assert row.changes_bits is None
        assert row.reason == "refused: numpy.simd_found stays AVX512_ICL X86_V3 X86_V4"
    assert varied(found)[LEVELS[0]].changes_bits is None
    assert varied(found)["OPENBLAS_CORETYPE=Haswell"].changes_bits is True


def test_what_gives_another_kernel_than_asked_is_refused() -> None:
    class Other(Planted):
        def state(self, settings: dict[str, str]) -> State:
            fallen = {"Sandybridge": "Nehalem", "Prescott": "Katmai"}
            asked = settings.get("OPENBLAS_CORETYPE", "SkylakeX")
            return super().state({**settings, "OPENBLAS_CORETYPE": fallen.get(asked, asked)})

    found = varied(vary(Other(), None))
    assert found["OPENBLAS_CORETYPE=Sandybridge"].reason == "refused: blas.kernel became Nehalem"
    assert found["OPENBLAS_CORETYPE=Prescott"].reason == ""  # OpenBLAS has two names for it


def test_time_is_compared_with_a_run_beside_it() -> None:
    """The machine becomes slower all the time; what takes as long as it does without is no slower for that."""
    drifting = Planted(seconds=lambda state: (1 + state.run / 50) * (3 if state.kernel == "Nehalem" else 1))
    found = varied(vary(drifting, None))
    assert 2.7 < (found["OPENBLAS_CORETYPE=Nehalem"].slowdown or 0) < 3.7
    assert all(0.9 < (row.slowdown or 1) < 1.3 for name, row in found.items() if "Nehalem" not in str(row.settings))


def test_noise_hides_what_it_could_be() -> None:
    noisy = itertools.cycle([1.0, 1.9, 3.1, 1.3, 2.2, 2.9, 1.7])
    found = vary(Planted(seconds=lambda state: next(noisy)), None)
    assert found.noise
    assert found.noise > 1
    quiet = vary(Planted(seconds=lambda state: 2.0 if state.kernel == "Nehalem" else 1.0), None)
    assert quiet.noise == 1.0
    assert "about 2.0x" in render.variation(quiet)


# -- pins -------------------------------------------------------------------------------------------------------------

LOWEST = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": MASKS[1]}


def test_pins_go_down_and_leave_out_what_is_not_needed() -> None:
    laboratory = Planted(bits=lambda state: (state.kernel, state.simd), operator=lambda state: state.features)
    found = vary(laboratory, None)
    assert found.pins == LOWEST
    assert [one.machine for one in found.pins_verified] == [
        *(machines.AS_IS, *LEVELS),
        *(f"{name}, 1 CPU" for name in (machines.AS_IS, *LEVELS)),
    ]
    assert all(one.same and one.runs >= 2 for one in found.pins_verified)
    assert all(LOWEST.items() <= one.settings.items() for one in found.pins_verified)
    for one in found.pins_verified:  # they were really run, so often
        assert laboratory.asked.count(one.settings) >= one.runs
    libm = found.pins_verified[2].settings["GLIBC_TUNABLES"]  # what is not pinned is the machine's own
    assert libm == "glibc.cpu.hwcaps=-AVX2,-AVX512F,-FMA"


def test_settings_that_change_bits_only_together_are_pinned_together() -> None:
    found = vary(Planted(bits=lambda state: state.kernel == "Nehalem" and state.level == 2), None)
    assert changing(found) == {LEVELS[2], f"{LEVELS[2]}, 1 CPU"}
    assert found.pins == LOWEST


def test_a_mask_stays_up_where_that_is_enough_and_cheaper() -> None:
    def seconds(state: State) -> float:
        return 1.0 + state.level

    found = vary(Planted(bits=lambda state: min(state.level, 1), seconds=seconds), None)
    assert found.pins == {"NPY_DISABLE_CPU_FEATURES": MASKS[0]}
    assert found.pins_slowdown == 2.0
    lower = next(one for one in found.pins_verified if one.machine == LEVELS[2])
    assert lower.settings["NPY_DISABLE_CPU_FEATURES"] == MASKS[1]  # that machine has no more to take away
    same = vary(Planted(bits=lambda state: min(state.level, 1)), None)
    assert same.pins == {"NPY_DISABLE_CPU_FEATURES": MASKS[1]}  # where it costs nothing the lowest is as good


@pytest.mark.parametrize(("dear", "pin"), [("kernel", "NPY_DISABLE_CPU_FEATURES"), ("simd", "OPENBLAS_CORETYPE")])
def test_of_two_sets_that_hold_the_cheaper_one_is_chosen(dear: str, pin: str) -> None:
    def seconds(state: State) -> float:
        return 1.0 + (state.kernel == "Nehalem" if dear == "kernel" else state.level == 2)

    found = vary(Planted(bits=lambda state: state.kernel == "Nehalem" or state.level == 2, seconds=seconds), None)
    assert [*found.pins] == [pin]
    assert found.pins_slowdown == 1.0


def test_what_is_refused_is_no_machine_of_the_pins() -> None:
    refused = ("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_NUM_THREADS")
    found = vary(Planted(bits=lambda state: (state.kernel, state.threads), refused=refused), None)
    assert (found.pins, found.pins_verified) == ({}, [])
    assert found.pins_reason == "no other machine can be imitated here"
    threads = vary(Planted(bits=lambda state: (state.kernel, state.threads), refused=refused[1:]), None)
    assert threads.pins == {"OPENBLAS_CORETYPE": "Nehalem"}
    assert not any("1 CPU" in one.machine for one in threads.pins_verified)


def test_threads_are_a_property_of_a_machine() -> None:
    found = vary(Planted(bits=lambda state: state.threads), None)
    assert found.pins == {"OPENBLAS_NUM_THREADS": "1"}
    assert render.variation(found).startswith("YOUR NUMBERS DEPEND ON THE NUMBER OF CPUS. ")
    both = vary(Planted(bits=lambda state: (state.threads, state.kernel)), None)
    assert both.pins == {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}


def test_threads_that_matter_on_one_level_only() -> None:
    found = vary(Planted(bits=lambda state: state.kernel == "Haswell" and state.threads), None)
    # Without a pin for threads a Haswell would differ from one with one CPU; the kernel's pin rules that out.
    assert found.pins == {"OPENBLAS_CORETYPE": "Nehalem"}


def test_a_level_that_crashes_is_no_machine_of_the_pins() -> None:
    laboratory = Planted(bits=lambda state: state.kernel, dead=lambda state: "SIGILL" * (state.kernel == "Nehalem"))
    found = vary(laboratory, None)
    assert found.pins == {"OPENBLAS_CORETYPE": "Sandybridge"}
    assert [one.machine for one in found.pins_verified][:3] == [machines.AS_IS, *LEVELS[:2]]


def test_the_file_of_pins_means_the_same_to_a_shell_and_to_env(tmp_path: Path) -> None:
    found = vary(Planted(bits=lambda state: (state.kernel, state.simd)), None)
    file = tmp_path / "pins.env"
    file.write_text(pins_file(found))
    show = f'{sys.executable} -c "import os; print(*(os.environ[n] for n in {[*found.pins]!r}))"'
    for command in (f"set -a; . {file}; set +a; {show}", f"env $(grep -v '^#' {file}) {show}"):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [*found.pins.values()]
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines == [f"{name}={value}" for name, value in found.pins.items()]
    assert runs(found) >= 16
    for words in ("numpy job", *LEVELS, "OpenBLAS 0.3.31, numpy 2.4.6", f"in {runs(found)} runs"):
        assert words in file.read_text()


@pytest.mark.parametrize(
    ("via", "words"),
    [
        (None, "env OPENBLAS_CORETYPE=Nehalem audit run -o pinned.json"),
        ("ssh gpu02", "audit run -o pinned.json --via 'ssh gpu02 env OPENBLAS_CORETYPE=Nehalem'"),
        (
            "qemu-x86_64-static -cpu Haswell",
            "audit run -o pinned.json --via 'env OPENBLAS_CORETYPE=Nehalem qemu-x86_64-static -cpu Haswell'",
        ),
    ],
)
def test_the_next_command_sets_the_pins_where_they_count(via: str | None, words: str) -> None:
    found = vary(Planted(bits=lambda state: state.kernel), None)
    target = PrefixTarget((via or "").split(), "python3")
    options = Namespace(python=None, via=via, job=None)
    assert next_command(found, options, target) == f"Next, under the pins:  {words}"


# -- what is set already, and what ends early -------------------------------------------------------------------------


def test_a_variable_that_is_set_already_is_not_varied() -> None:
    found = vary(Planted(kept={"OPENBLAS_CORETYPE": "SkylakeX", "OMP_NUM_THREADS": "2"}), None)
    assert found.kept == {"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "2"}
    assert not any(name.startswith("OPENBLAS") for name in varied(found))
    assert varied(found)[LEVELS[0]].reason == "OPENBLAS_CORETYPE=SkylakeX is set already"
    assert "set already, so it goes where the job goes" in " ".join(render.variation(found).split())


def test_under_its_pins_a_machine_holds() -> None:
    def bits(state: State) -> object:
        return state.kernel, state.simd

    pins = vary(Planted(bits=bits), None).pins
    found = vary(Planted(bits=bits, kept=pins), None)
    assert found.kept == pins
    assert changing(found) == set()
    assert {row.name for row in found.settings if row.machine} >= set(LEVELS[:2])  # libm still has levels
    assert found.exit == 0
    assert render.variation(found).startswith("YOUR NUMBERS HOLD. ")


def test_a_mask_is_put_beside_the_one_that_is_set_already() -> None:
    laboratory = Planted(kept={"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX512F"})
    here = laboratory.side([State(features=("AVX", "AVX2", "FMA", "SSE4_1"))], True, True)
    levels = {one.name: one.values for one in machines.possible(here).levels}
    assert "GLIBC_TUNABLES" not in levels[LEVELS[0]]
    assert levels[LEVELS[1]]["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA"


def test_a_machine_without_vector_extensions_has_no_level_below() -> None:
    laboratory = Planted()
    side = laboratory.side([State("Nehalem", 1, (), ("SSE4_1",))], True, True)
    side.target.facts["cpu.flags"] = Fact([])
    assert machines.possible(side).levels == []


@pytest.mark.parametrize("stop", [4, 12, 30, 60])
def test_an_interruption_keeps_what_is_there(stop: int) -> None:
    found = vary(Planted(bits=lambda state: state.kernel, stop=stop), None)
    assert found.interrupted
    assert found.pins == {}
    assert found.exit == (1 if stop > 3 and changing(found) else 3)
    assert "interrupted" in render.variation(found)


def test_an_interruption_before_anything_was_measured_is_none_of_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        vary(Planted(stop=2), None)


def test_nothing_to_vary() -> None:
    with pytest.raises(NothingToVary, match="job numpy: not installed") as refused:
        vary(Planted(dead=lambda state: "not installed"), ("numpy",))
    assert refused.value.status == 3


# -- beside a comparison ----------------------------------------------------------------------------------------------


def saved(tmp_path: Path, found: Variation) -> str:
    path = tmp_path / "vary.json"
    path.write_text(render.variation(found, "json"))
    return str(path)


def test_a_saved_variation_is_read_again(tmp_path: Path) -> None:
    found = vary(Planted(bits=lambda state: state.kernel), None)
    path = saved(tmp_path, found)
    assert codec.read_any(path) == (found, [])
    assert gap.read(path) == found
    done = json.loads(Path(path).read_text())
    assert (done["format"], done["version"]) == ("audit-variation", 1)
    assert {"name", "value", "component", "changes_bits", "first_divergence", "slowdown"} <= done["settings"][0].keys()
    for edit, words in (({"version": 9}, "upgrade"), ({"pins": 3}, "pins"), ({"exit": 7}, "no status is 7")):
        Path(path).write_text(json.dumps({**done, **edit}))
        with pytest.raises(ReportError, match=words):
            gap.read(path)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (1.0, "is within what settings alone do on one machine (1)"),
        (1e-3, "is 40 times what settings alone do on one machine (0.001)"),
        (0.0, "is more than settings alone do on one machine: they change no final loss"),
    ],
)
def test_a_gap_is_shown_beside_the_spread(width: float, words: str, tmp_path: Path) -> None:
    planted = Planted(bits=lambda state: state.kernel)
    a, b = (planted.side([State(kernel)], True, True) for kernel in ("SkylakeX", "Nehalem"))
    outcomes = [msgspec.structs.replace(a.jobs["numpy"].outcome, loss_last=loss) for loss in (0.50, 0.54)]
    sides = []
    for label, side, outcome in zip("ab", (a, b), outcomes, strict=True):
        job = msgspec.structs.replace(side.jobs["numpy"], outcome=outcome)
        sides.append(Measured(label, label, side.report, msgspec.structs.replace(side.target, jobs=[job])))
    found = vary(planted, None)
    spread = msgspec.structs.replace(found.spread["numpy"], least=0.0, most=width)
    found = msgspec.structs.replace(found, spread={"numpy": spread})
    plain = compare(sides)
    shown = gap.beside(plain, found, [side.outline for side in sides], "vary.json")
    text = " ".join(render.diff(shown, all=True).split())
    assert f"Matter? job numpy: the gap (0.04) {words}" in text
    assert "Matter?" not in render.diff(plain, all=True)
    other = msgspec.structs.replace(found, jobs=[msgspec.structs.replace(found.jobs[0], version=2)])
    assert "another version" in " ".join(gap.beside(plain, other, [s.outline for s in sides], "vary.json").notes)


def test_what_is_no_variation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ReportError, match=r"x\.json"):
        gap.read(str(path))
    host = str(record.MACHINES / "host.json.gz")
    with pytest.raises(ReportError, match="no variation; one is made by: audit vary"):
        gap.read(host)


# -- the real command -------------------------------------------------------------------------------------------------


def audit(*arguments: str, status: int, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    environment["PYTHONPATH"] = str(record.ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd,
        timeout=1800,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """This machine, varied; and the folder with vary.json and pins.env."""
    folder = tmp_path_factory.mktemp("vary")
    audit("vary", "--job", "numpy", "--python", sys.executable, "--pins", "pins.env", "--format", "json",
          "-o", "vary.json", "--quiet", status=1, cwd=folder)  # fmt: skip
    return json.loads((folder / "vary.json").read_text()), folder


def test_this_machine(here: tuple[dict[str, Any], Path]) -> None:
    found, folder = here
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX-512")
    rows = {row["name"] if row["machine"] else f"{row['name']}={row['value']}": row for row in found["settings"]}
    assert "job numpy" in rows[LEVELS[0]]["changed"]
    assert rows["OPENBLAS_CORETYPE=Haswell"]["first_divergence"]["components"][0] == "blas"
    assert rows["flush_denormals=1"]["changed"] == ["operators"]
    assert all(
        row["slowdown"] for row in rows.values() if row["changes_bits"] is not None and "1 CPU" not in row["name"]
    )
    assert found["pins"]["OPENBLAS_CORETYPE"] == "Nehalem"
    assert all(one["same"] and one["runs"] >= 2 for one in found["pins_verified"])
    assert found["spread"]["numpy"]["learned"] == found["spread"]["numpy"]["settings"]
    shown = audit("show", "vary.json", status=1, cwd=folder).stdout.splitlines()
    assert shown[0].startswith("YOUR NUMBERS DEPEND ON THE CPU. ")
    assert len(shown) <= 25
    assert max(map(len, shown[:-1])) <= 100
    lines = [line for line in (folder / "pins.env").read_text().splitlines() if not line.startswith("#")]
    assert lines == [f"{name}={value}" for name, value in found["pins"].items()]


@pytest.mark.emulated
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="no qemu-x86_64-static")
def test_pins_hold_on_other_cpus(here: tuple[dict[str, Any], Path]) -> None:
    """Under the pins this machine, an emulated Haswell and an emulated Nehalem train to the same bits."""
    found, folder = here
    assignments = " ".join(f"{name}={value}" for name, value in found["pins"].items())
    python = str(Path(sys.executable).absolute())
    files = {"native": f"env {assignments}"}
    files |= {cpu: f"env {assignments} qemu-x86_64-static -cpu {cpu}" for cpu in ("Haswell", "Nehalem")}
    given = {}
    for name, via in files.items():
        audit("run", "--quiet", "--job", "numpy", "--repeat", "1", "--via", via, "--python", python,
              "-o", f"{name}.json", status=0, cwd=folder)  # fmt: skip
        (job,) = codec.read(str(folder / f"{name}.json"))[0].targets[0].jobs
        assert job.trace, job.reason
        given[name] = job.trace.digest
    assert len(set(given.values())) == 1, given


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (["--python", "/nowhere/python"], "no such command"),
        (["--pins", "/nowhere/pins.env"], "cannot write /nowhere/pins.env"),
        (["-o", "/nowhere/vary.txt"], "cannot write /nowhere/vary.txt"),
        (["-o", "x", "--pins", "x"], "same file"),
        (["--via", " "], "--via is empty"),
    ):
        done = audit("vary", *arguments, status=2, cwd=tmp_path)
        assert done.stdout == ""
        assert done.stderr.startswith("audit vary: ")
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr
    assert os.listdir(tmp_path) == []


def test_ctrl_c_prints_what_is_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)  # quick without numpy
    command = [sys.executable, "-m", "audit", "vary", "--job", "operators", "--python", str(tmp_path / "bin/python")]
    started = subprocess.Popen(
        [*command, "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=record.ROOT
    )
    assert started.stderr
    for line in started.stderr:
        if line.startswith("setting 2 of"):
            break
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=120)
    found = json.loads(out)
    assert started.returncode in (1, 3)
    assert found["interrupted"]
    assert len(found["settings"]) in (1, 2)
