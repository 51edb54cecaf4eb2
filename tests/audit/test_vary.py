"""The search of `audit vary` on machines whose answers are planted: what it must find, and what it must not believe."""

from __future__ import annotations

import itertools
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import JOB, Bench, Machine, digest, measured

from audit.causes import machines
from audit.causes.bench import NothingToVary
from audit.causes.laboratory import Under
from audit.causes.vary import vary as search
from audit.targets.prefix import PrefixTarget
from audit.varying import _next as next_command
from audit.varying import pins_file
from reports import render
from reports.render.pages.variation import runs
from reports.variation import Variation, Varied

LEVELS = ["a CPU without AVX-512", "a CPU without AVX2 and FMA", "a CPU without AVX"]
MASKS = ["AVX512_ICL,X86_V4", "AVX512_ICL,X86_V3,X86_V4"]

Table = Callable[[Machine], object]


def planted(
    job: Table = lambda now: 0, operator: Table = lambda now: 0, kept: dict[str, str] | None = None, **more: Any
) -> Bench:
    """A machine with two CPUs on which nothing moves but what is planted: the job, and one operator. kept: variables
    that are set already."""

    def bits(now: Machine, name: str) -> str:
        return digest((name, job(now) if name == JOB else operator(now) if name == "libm.exp" else 0))

    return Bench(Machine(cores=2, seed="random", variables=kept or {}), bits, **more)


def vary(bench: Bench, jobs: tuple[str, ...] | None = None) -> Variation:
    return search(bench, jobs)  # type: ignore[arg-type]


def loops(now: Machine) -> int:
    """How far down numpy's loops are: 0 all, 1 without AVX-512, 2 without AVX2."""
    assert now.simd is not None
    return 0 if "X86_V4" in now.simd else 1 if "X86_V3" in now.simd else 2


def varied(found: Variation) -> dict[str, Varied]:
    """Rows by the machine, or by NAME=VALUE."""
    return {row.name if row.machine else f"{row.name}={row.value}": row for row in found.settings}


def changing(found: Variation) -> set[str]:
    return {name for name, row in varied(found).items() if row.changes_bits}


# -- what changes bits ------------------------------------------------------------------------------------------------


def test_a_setting_that_changes_bits_is_found_with_its_place_and_what_it_stands_for() -> None:
    found = vary(planted(lambda now: now.kernel))
    row = varied(found)["OPENBLAS_CORETYPE=Haswell"]
    assert (row.component, row.stands_for) == ("blas", "a CPU without AVX-512")
    assert row.changed == ["job numpy"]
    assert row.first_divergence
    assert (row.first_divergence.step, row.first_divergence.operator) == (0, "matmul f64")
    assert row.effect == "blas.kernel Haswell"
    kernels = {f"OPENBLAS_CORETYPE={name}" for name in ("Haswell", "Sandybridge", "Nehalem", "Prescott")}
    assert changing(found) == kernels | {*LEVELS, *(f"{name}, 1 CPU" for name in LEVELS)}
    assert found.exit == 1


def test_nothing_changes_bits() -> None:
    found = vary(planted())
    assert changing(found) == set()
    assert len(found.settings) == 4 + 1 + 2 + 3 + 1 + 1 + 3 + 3
    assert (found.pins, found.pins_slowdown, found.exit) == ({}, None, 0)
    assert found.pins_reason.startswith("not needed")
    assert render.variation(found).startswith(
        "YOUR NUMBERS HOLD. The numpy job's bits do not change under any of 18 settings.\n"
    )


def test_an_operator_that_no_job_uses_is_a_finding_and_needs_no_pin() -> None:
    found = vary(planted(operator=lambda now: "FMA" in (now.libm or ())))
    assert varied(found)[LEVELS[1]].changed == ["operators"]
    assert varied(found)[LEVELS[1]].operators == [1, 9]
    assert varied(found)[LEVELS[0]].changes_bits is False
    assert (found.pins, found.exit) == ({}, 1)
    assert "of them change operators only." in " ".join(render.variation(found).split())


def test_without_jobs_the_operators_are_pinned() -> None:
    found = vary(planted(operator=lambda now: "FMA" in (now.libm or ()), has_job=False), ())
    assert found.works == ["operators"]
    assert [*found.pins] == ["GLIBC_TUNABLES"]
    assert found.pins_slowdown == 1.0
    assert "job" not in render.variation(found).replace("--job", "")


def test_the_spread_of_the_final_loss() -> None:
    found = vary(planted(lambda now: (now.kernel, now.simd)))
    losses = [loss for row in found.settings for loss in row.loss_last.values()]
    spread = found.spread["numpy"]
    assert spread.least == min([*losses, spread.usual])
    assert spread.most == max([*losses, spread.usual])
    assert spread.relative == pytest.approx((spread.most - spread.least) / spread.usual)
    assert spread.settings == spread.learned == len(losses) == 18


# -- what must not be believed ----------------------------------------------------------------------------------------


def test_what_is_not_repeated_as_it_is_is_blamed_on_no_setting() -> None:
    found = vary(planted(lambda now: now.run, operator=lambda now: now.kernel))
    assert found.nondeterministic == ["job numpy"]
    assert all("job numpy" not in row.changed for row in found.settings)
    assert (found.pins, found.exit) == ({}, 1)
    assert render.variation(found).startswith("NOT REPEATABLE. job numpy gives other bits in every run")


def test_what_is_not_repeated_is_seen_late_too() -> None:
    """Twice the same, and then not: every further run as it is counts, and what was found until then does not."""
    found = vary(planted(lambda now: now.run > 9))
    assert found.nondeterministic == ["job numpy"]
    assert changing(found) == set()
    assert found.exit == 1


def test_a_setting_under_which_nothing_repeats_is_said() -> None:
    found = vary(planted(lambda now: now.run if now.threads == 1 else 0))
    row = varied(found)["OPENBLAS_NUM_THREADS=1"]
    assert (row.changes_bits, row.unsteady) == (True, ["job numpy"])
    assert found.pins == {}
    assert "does not repeat itself there" in found.pins_reason


def test_a_value_that_crashes_is_said_and_counts_as_nothing() -> None:
    found = vary(planted(dead=lambda now: "SIGILL" if now.kernel == "Haswell" else ""))
    row = varied(found)["OPENBLAS_CORETYPE=Haswell"]
    assert (row.changes_bits, row.reason) == (None, "job numpy: SIGILL")
    assert found.exit == 3
    text = " ".join(render.variation(found).split())
    assert "do not change under any of 15 settings; 3 could not be tried." in text
    assert "OPENBLAS_CORETYPE=Haswell and 2 more: job numpy: SIGILL" in text


def test_a_value_that_is_refused_is_said_and_counts_as_nothing() -> None:
    found = vary(planted(lambda now: now.kernel, refused=("NPY_DISABLE_CPU_FEATURES",)))
    for name in MASKS:
        row = varied(found)[f"NPY_DISABLE_CPU_FEATURES={name}"]
        assert row.changes_bits is None
        assert row.reason == "refused: numpy.simd_found stays AVX512_ICL X86_V3 X86_V4"
    assert varied(found)[LEVELS[0]].changes_bits is None
    assert varied(found)["OPENBLAS_CORETYPE=Haswell"].changes_bits is True


def test_what_gives_another_kernel_than_asked_is_refused() -> None:
    class Other(Bench):
        def under(self, values: Under) -> Machine:
            now = super().under(values)
            return replace(now, kernel="Nehalem" if now.kernel == "Sandybridge" else now.kernel)

    found = varied(vary(Other(Machine(cores=2))))
    assert found["OPENBLAS_CORETYPE=Sandybridge"].reason == "refused: blas.kernel became Nehalem"
    assert found["OPENBLAS_CORETYPE=Prescott"].reason == ""  # OpenBLAS has two names for it


def test_time_is_compared_with_a_run_beside_it() -> None:
    """The machine becomes slower all the time; what takes as long as it does without is no slower for that."""
    drifting = planted(seconds=lambda now: (1 + now.run / 50) * (3 if now.kernel == "Nehalem" else 1))
    found = varied(vary(drifting))
    assert 2.7 < (found["OPENBLAS_CORETYPE=Nehalem"].slowdown or 0) < 3.7
    assert all(0.9 < (row.slowdown or 1) < 1.3 for name, row in found.items() if "Nehalem" not in str(row.settings))


def test_noise_hides_what_it_could_be() -> None:
    noisy = itertools.cycle([1.0, 1.9, 3.1, 1.3, 2.2, 2.9, 1.7])
    found = vary(planted(seconds=lambda now: next(noisy)))
    assert found.noise
    assert found.noise > 1
    quiet = vary(planted(seconds=lambda now: 2.0 if now.kernel == "Nehalem" else 1.0))
    assert quiet.noise == 1.0
    assert "about 2.0x" in render.variation(quiet)


# -- pins -------------------------------------------------------------------------------------------------------------

LOWEST = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": MASKS[1]}


def test_pins_go_down_and_leave_out_what_is_not_needed() -> None:
    bench = planted(lambda now: (now.kernel, now.simd), operator=lambda now: now.libm)
    found = vary(bench)
    assert found.pins == LOWEST
    assert [one.machine for one in found.pins_verified] == [
        *(machines.AS_IS, *LEVELS),
        *(f"{name}, 1 CPU" for name in (machines.AS_IS, *LEVELS)),
    ]
    assert all(one.same and one.runs >= 2 for one in found.pins_verified)
    assert all(LOWEST.items() <= one.settings.items() for one in found.pins_verified)
    for one in found.pins_verified:  # they were really run, so often
        assert [under.settings for under, *_ in bench.asked].count(one.settings) >= one.runs
    libm = found.pins_verified[2].settings["GLIBC_TUNABLES"]  # what is not pinned is the machine's own
    assert libm == "glibc.cpu.hwcaps=-AVX2,-AVX512F,-FMA"


def test_settings_that_change_bits_only_together_are_pinned_together() -> None:
    found = vary(planted(lambda now: now.kernel == "Nehalem" and loops(now) == 2))
    assert changing(found) == {LEVELS[2], f"{LEVELS[2]}, 1 CPU"}
    assert found.pins == LOWEST


def test_a_mask_stays_up_where_that_is_enough_and_cheaper() -> None:
    def seconds(now: Machine) -> float:
        return 1.0 + loops(now)

    found = vary(planted(lambda now: min(loops(now), 1), seconds=seconds))
    assert found.pins == {"NPY_DISABLE_CPU_FEATURES": MASKS[0]}
    assert found.pins_slowdown == 2.0
    lower = next(one for one in found.pins_verified if one.machine == LEVELS[2])
    assert lower.settings["NPY_DISABLE_CPU_FEATURES"] == MASKS[1]  # that machine has no more to take away
    same = vary(planted(lambda now: min(loops(now), 1)))
    assert same.pins == {"NPY_DISABLE_CPU_FEATURES": MASKS[1]}  # where it costs nothing the lowest is as good


@pytest.mark.parametrize(("dear", "pin"), [("kernel", "NPY_DISABLE_CPU_FEATURES"), ("simd", "OPENBLAS_CORETYPE")])
def test_of_two_sets_that_hold_the_cheaper_one_is_chosen(dear: str, pin: str) -> None:
    def seconds(now: Machine) -> float:
        return 1.0 + (now.kernel == "Nehalem" if dear == "kernel" else loops(now) == 2)

    found = vary(planted(lambda now: now.kernel == "Nehalem" or loops(now) == 2, seconds=seconds))
    assert [*found.pins] == [pin]
    assert found.pins_slowdown == 1.0


def test_what_is_refused_is_no_machine_of_the_pins() -> None:
    refused = ("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_NUM_THREADS")
    found = vary(planted(lambda now: (now.kernel, now.threads), refused=refused))
    assert (found.pins, found.pins_verified) == ({}, [])
    assert found.pins_reason == "no other machine can be imitated here"
    threads = vary(planted(lambda now: (now.kernel, now.threads), refused=refused[1:]))
    assert threads.pins == {"OPENBLAS_CORETYPE": "Nehalem"}
    assert not any("1 CPU" in one.machine for one in threads.pins_verified)


def test_threads_are_a_property_of_a_machine() -> None:
    found = vary(planted(lambda now: now.threads))
    assert found.pins == {"OPENBLAS_NUM_THREADS": "1"}
    assert render.variation(found).startswith("YOUR NUMBERS DEPEND ON THE NUMBER OF CPUS. ")
    both = vary(planted(lambda now: (now.threads, now.kernel)))
    assert both.pins == {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}


def test_threads_that_matter_on_one_level_only() -> None:
    found = vary(planted(lambda now: now.kernel == "Haswell" and now.threads))
    # Without a pin for threads a Haswell would differ from one with one CPU; the kernel's pin rules that out.
    assert found.pins == {"OPENBLAS_CORETYPE": "Nehalem"}


def test_a_level_that_crashes_is_no_machine_of_the_pins() -> None:
    bench = planted(lambda now: now.kernel, dead=lambda now: "SIGILL" * (now.kernel == "Nehalem"))
    found = vary(bench)
    assert found.pins == {"OPENBLAS_CORETYPE": "Sandybridge"}
    assert [one.machine for one in found.pins_verified][:3] == [machines.AS_IS, *LEVELS[:2]]


def test_the_file_of_pins_means_the_same_to_a_shell_and_to_env(tmp_path: Path) -> None:
    found = vary(planted(lambda now: (now.kernel, now.simd)))
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
    found = vary(planted(lambda now: now.kernel))
    target = PrefixTarget((via or "").split(), "python3")
    options = Namespace(python=None, via=via, job=None)
    assert next_command(found, options, target) == f"Next, under the pins:  {words}"


# -- what is set already, and what ends early -------------------------------------------------------------------------


def test_a_variable_that_is_set_already_is_not_varied() -> None:
    found = vary(planted(kept={"OPENBLAS_CORETYPE": "SkylakeX", "OMP_NUM_THREADS": "2"}))
    assert found.kept == {"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "2"}
    assert not any(name.startswith("OPENBLAS") for name in varied(found))
    assert varied(found)[LEVELS[0]].reason == "OPENBLAS_CORETYPE=SkylakeX is set already"
    assert "set already, so it goes where the job goes" in " ".join(render.variation(found).split())


def test_under_its_pins_a_machine_holds() -> None:
    def bits(now: Machine) -> object:
        return now.kernel, now.simd

    pins = vary(planted(bits)).pins
    found = vary(planted(bits, kept=pins))
    assert found.kept == pins
    assert changing(found) == set()
    assert {row.name for row in found.settings if row.machine} >= set(LEVELS[:2])  # libm still has levels
    assert found.exit == 0
    assert render.variation(found).startswith("YOUR NUMBERS HOLD. ")


def test_a_mask_is_put_beside_the_one_that_is_set_already() -> None:
    here = measured(Machine(variables={"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX512F"}))
    levels = {one.name: one.values for one in machines.possible(here).levels}
    assert "GLIBC_TUNABLES" not in levels[LEVELS[0]]
    assert levels[LEVELS[1]]["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA"


def test_a_mask_with_spaces_is_written_without() -> None:
    here = measured(Machine(variables={"NPY_DISABLE_CPU_FEATURES": "AVX512_ICL X86_V4"}))
    levels = {one.name: one.values for one in machines.possible(here).levels}
    assert levels[LEVELS[1]]["NPY_DISABLE_CPU_FEATURES"] == "AVX512_ICL,X86_V4,X86_V3"


def test_a_machine_without_vector_extensions_has_no_level_below() -> None:
    assert machines.possible(measured(Machine("Nehalem"))).levels == []


@pytest.mark.parametrize("after", [1, 2, 10, 28, 58])
def test_an_interruption_keeps_what_is_there(after: int) -> None:
    found = vary(planted(lambda now: now.kernel, interrupt=after))
    assert found.interrupted
    assert found.pins == {}
    assert found.exit == (1 if changing(found) else 3)
    assert "interrupted" in render.variation(found)


def test_an_interruption_before_anything_was_measured_is_none_of_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        vary(planted(interrupt=0))


def test_nothing_to_vary() -> None:
    with pytest.raises(NothingToVary, match="job numpy: not installed") as refused:
        vary(planted(dead=lambda now: "not installed"), ("numpy",))
    assert refused.value.status == 3
