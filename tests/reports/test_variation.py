"""The page of `audit vary` for every verdict, compared whole with its golden file, and what holds for any saved one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import samples
import strategies
from hypothesis import given
from msgspec.structs import replace
from test_any import FORMATS, check, check_color, check_screen, often

from reports import render
from reports.comparison import FirstDivergence, Size, Ulp
from reports.render.pages.variation import pinned, time
from reports.variation import FORMAT, VERSION, Spread, Variation, Varied, VariedJob, Verified

Golden = Callable[[str, str], None]

MASKS = ("AVX512_ICL,X86_V4", "AVX512_ICL,X86_V3,X86_V4")
LEVELS = ("a CPU without AVX-512", "a CPU without AVX2 and FMA", "a CPU without AVX")
KERNELS = ("Haswell", "Sandybridge", "Nehalem")
PINS = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": MASKS[1]}

POWER = samples.first(
    operator="power f32",
    tensor="norm.scale",
    components=["numpy", "libm"],
    size=Size(507, fraction=0.22, ulp=Ulp(1, 1, 1)),
)
GEMM = samples.first(size=Size(5408, fraction=0.19, seen=256, ulp=Ulp(1, 30, 64)))
TINY = replace(GEMM, job="operators", step=None, phase=None, tensor=None, operator="fpu.subnormal.half",
               size=Size(52, 52, 1.0, ulp=Ulp(1 << 25, 1 << 51, 1 << 51)))  # fmt: skip


def row(name: str, value: str, component: str, first: FirstDivergence | None = None, **changes: Any) -> Varied:
    """A setting alone; with a first divergence it changed the job's bits, or the operators'."""
    operators = [0 if first is None else 9, 686]
    changed = [] if first is None else ["operators"] if first.job == "operators" else ["job numpy", "operators"]
    given: dict[str, Any] = {
        "changes_bits": first is not None,
        "first_divergence": first,
        "slowdown": 1.0,
        "settings": {name: value},
        "changed": changed,
        "operators": operators,
        "loss_last": {"numpy": 0.0063518},
        "effect": f"{component}.fact {value}",
    }
    return Varied(name, value, component, **{**given, **changes})


def machine(name: str, **changes: Any) -> Varied:
    values = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": MASKS[0], "GLIBC_TUNABLES": name}
    if name.endswith("1 CPU"):
        values["OPENBLAS_NUM_THREADS"] = "1"
    return row(name, "...", "blas, numpy, libm", POWER, settings=values, stands_for=name, machine=True, **changes)


ROWS = [
    *(row("OPENBLAS_CORETYPE", kernel, "blas", GEMM, stands_for=level, slowdown=slowdown)
      for kernel, level, slowdown in zip(KERNELS, LEVELS, (1.1, 1.32, 1.61), strict=True)),
    row("OPENBLAS_CORETYPE", "Prescott", "blas", changes_bits=None, reason="refused: blas.kernel stays SkylakeX"),
    row("OPENBLAS_NUM_THREADS", "1", "blas", GEMM, stands_for="a machine with 1 CPU", slowdown=0.71),
    *(row("NPY_DISABLE_CPU_FEATURES", mask, "numpy", POWER, stands_for=level)
      for mask, level in zip(MASKS, LEVELS, strict=False)),
    row("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F", "libm", stands_for=LEVELS[0]),
    row("PYTHONHASHSEED", "0", "ordering", stands_for="a run with another hash seed"),
    row("flush_denormals", "1", "fpu", TINY, stands_for="a process with -Ofast code"),
    *(machine(level, slowdown=slowdown) for level, slowdown in zip(LEVELS, (1.21, 1.5, 1.8), strict=True)),
    *(machine(f"{level}, 1 CPU", slowdown=None) for level in LEVELS),
]  # fmt: skip


def variation(**changes: Any) -> Variation:
    """A machine whose job depends on the CPU, with pins that hold."""
    verified = [
        Verified(f"{name}{cpus}", {**PINS, **({"OPENBLAS_NUM_THREADS": "1"} if cpus else {})}, 2, True)
        for cpus in ("", ", 1 CPU")
        for name in ("this machine as it is", *LEVELS)
    ]
    given: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "settings": ROWS,
        "pins": PINS,
        "pins_slowdown": 1.74,
        "here": samples.side("here"),
        "jobs": [VariedJob("numpy", 1, "c0ffee")],
        "works": ["job numpy"],
        "spread": {"numpy": Spread(0.006351, 0.0063533, 0.006352, 0.00036, 15, 15)},
        "runs": 71,
        "seconds": 83.4,
        "pins_verified": verified,
        "noise": 1.08,
        "validity": ["OpenBLAS 0.3.31", "numpy 2.4.6", "glibc 2.36", "Python 3.11.9"],
        "notes": ["Wrote pins.env"],
        "exit": 1,
        "next": "Next, under the pins:  env OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="
        f"{MASKS[1]} audit run -o pinned.json --job numpy",
    }
    return Variation(**{**given, **changes})


NOTHING = [replace(one, changes_bits=False, first_divergence=None, changed=[], operators=[0, 686]) for one in ROWS[4:]]
HERE = "Next, to compare with another machine:  audit run -o here.json"
NO_PINS: dict[str, Any] = {"pins": {}, "pins_slowdown": None, "pins_verified": [], "notes": [], "next": HERE}

VARIATIONS: dict[str, Variation] = {
    "cpu": variation(),
    "holds": variation(
        **NO_PINS, settings=NOTHING, exit=0,
        pins_reason="not needed: the bits are the same on every machine that was imitated",
    ),
    "operators_move": variation(
        **NO_PINS, settings=[*NOTHING[:5], ROWS[9], *NOTHING[6:]],
        pins_reason="not needed: the bits are the same on every machine that was imitated",
    ),
    "threads": variation(settings=[*ROWS[4:5], *NOTHING[4:6]], pins={"OPENBLAS_NUM_THREADS": "1"}, pins_slowdown=1.01),
    "not_repeatable": variation(
        **NO_PINS, settings=NOTHING, nondeterministic=["job numpy", "operator blas.gemm"], works=[],
        pins_reason="the machine does not repeat it as it is", spread={},
    ),
    "interrupted": variation(
        **NO_PINS, settings=ROWS[:3], interrupted=True, noise=None, pins_reason="interrupted before they were searched"
    ),
    "nothing_tried": variation(
        **NO_PINS, settings=ROWS[3:4], exit=3, spread={}, kept={"OPENBLAS_NUM_THREADS": "2"},
        skipped={"job python": "SIGSEGV"},
    ),
    "crashes": variation(
        settings=[*ROWS[:3], *(replace(one, changes_bits=None, first_divergence=None, changed=[],
                                       reason="job numpy: SIGILL") for one in ROWS[10:12]), *ROWS[12:13]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("format", ["terminal", "markdown"])
@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_is_as_committed(name: str, format: str, golden: Golden) -> None:
    ending = {"terminal": "txt", "markdown": "md"}[format]
    golden(f"vary_{name}.{ending}", render.variation(VARIATIONS[name], format))


def test_everything_of_a_variation_is_as_committed(golden: Golden) -> None:
    golden("vary_cpu_all.txt", render.variation(VARIATIONS["cpu"], all=True))


@pytest.mark.parametrize("name", VARIATIONS)
def test_it_fits_on_a_screen(name: str) -> None:
    text = render.variation(VARIATIONS[name])
    check_screen(text, False)
    assert "Shortened" not in text or name == "cpu"  # which has everything that there can be


def test_pins_that_no_run_confirms_are_not_offered() -> None:
    edited = variation(pins_verified=[replace(variation().pins_verified[0], same=False)])
    assert not pinned(edited)
    assert not pinned(variation(pins_verified=[]))
    assert "Nehalem" not in render.variation(edited).split("Pins")[1].split("Next")[0]


@pytest.mark.parametrize(
    ("slowdown", "noise", "words"),
    [
        (1.4, 1.0, "about 1.4x"),
        (1.04, 1.0, "the same"),
        (1.4, 1.5, "the same"),
        (0.5, 1.1, "about 0.5x"),
        (0.8, 1.5, "the same"),
        (None, 1.0, ""),
        (1.4, None, ""),
    ],
)
def test_a_time_says_no_more_than_the_noise_allows(slowdown: float | None, noise: float | None, words: str) -> None:
    assert time(slowdown, noise) == words


@often
@given(strategies.of(Variation, {}, strategies.texts()), FORMATS, strategies.st.booleans())
def test_any_variation_can_be_shown(found: Variation, format: str, all: bool) -> None:
    found = msgspec.structs.replace(found, version=1, exit=1)
    text = render.variation(found, format, all=all)
    check(text, format, found)
    if format == "terminal":
        check_color(text, render.variation(found, format, all=all, color=True))
        check_screen(text, all)
