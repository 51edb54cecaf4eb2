"""Values of XLA's settings: caps downwards only, other flags kept, nothing built from words that mean nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from audit.causes import settings, xla

HASWELL = ["avx", "avx2", "f16c", "fma", "sse4.1", "sse4.2"]
SANDYBRIDGE = ["avx", "sse4.1", "sse4.2"]
ZEN4 = [*HASWELL, "avx512bf16", "avx512bw", "avx512f", "avx512vnni"]
SKYLAKE = [*HASWELL, "avx512bw", "avx512f"]
FLAGS = {"avx": "avx", "avx2": "avx2", "fma": "fma", "avx512f": "avx512f"}


def side(features: list[str], cpu: list[str] | None = None, **facts: Any) -> Any:
    """A side whose XLA compiles for these features, on a CPU that has those (default: the same)."""
    flags = [FLAGS[name] for name in cpu or features if name in FLAGS]
    known = {"xla.features": features, "cpu.flags": flags, "xla.flags": [], "cpu.machine": "x86_64", **facts}
    return SimpleNamespace(fact=known.get)


@pytest.mark.parametrize(
    ("there", "here", "value"),
    [
        (HASWELL, ZEN4, "--xla_cpu_max_isa=AVX2"),
        (SANDYBRIDGE, ZEN4, "--xla_cpu_max_isa=AVX"),
        (["sse4.2"], HASWELL, "--xla_cpu_max_isa=SSE4_2"),
        (SKYLAKE, ZEN4, "--xla_cpu_max_isa=AVX512"),
        (ZEN4, HASWELL, None),
        ([*HASWELL, "sse4a"], HASWELL, None),
        (["neon"], ZEN4, None),
        ("avx2", ZEN4, None),
        (None, ZEN4, None),
    ],
)
def test_the_cap_is_what_is_in_effect_there(there: Any, here: list[str], value: str | None) -> None:
    assert xla.isa(there, here, side(here)) == value


def test_a_cap_can_be_lifted_again() -> None:
    capped = side(SANDYBRIDGE, cpu=ZEN4, **{"xla.flags": ["--xla_cpu_max_isa=AVX"]})
    assert xla.isa(HASWELL, SANDYBRIDGE, capped) == "--xla_cpu_max_isa=AVX2"


def test_other_flags_stay() -> None:
    here = side(ZEN4, **{"xla.flags": ["--xla_cpu_enable_fast_math=false", "--xla_cpu_max_isa=AVX512"]})
    assert xla.isa(HASWELL, ZEN4, here) == "--xla_cpu_enable_fast_math=false --xla_cpu_max_isa=AVX2"


@pytest.mark.parametrize("flag", ["(not recorded)", "--xla_dump_to=/x;rm", "--xla_a=$(b)"])
def test_a_flag_that_is_not_known_whole_is_not_overwritten(flag: str) -> None:
    assert xla.isa(HASWELL, ZEN4, side(ZEN4, **{"xla.flags": [flag]})) is None


def test_levels() -> None:
    assert xla.isas(side(ZEN4)) == [f"--xla_cpu_max_isa={name}" for name in ("AVX2", "AVX", "SSE4_2")]
    assert xla.isas(side(HASWELL)) == [f"--xla_cpu_max_isa={name}" for name in ("AVX", "SSE4_2")]
    assert xla.isas(SimpleNamespace(fact={}.get)) == []  # type: ignore[arg-type]
    assert [xla.level_of_isa(value) for value in xla.isas(side(ZEN4))] == [
        "a CPU without AVX-512",
        "a CPU without AVX2 and FMA",
        "a CPU without AVX",
    ]
    assert xla.level_of_isa("--xla_cpu_max_isa=AVX512") == ""


@pytest.mark.parametrize(("count", "value"), [(1, "1"), (64, "64"), (0, None), (257, None), (True, None), ("2", None)])
def test_threads(count: Any, value: str | None) -> None:
    assert xla.threads(count, 2, side(ZEN4)) == value


def test_an_older_cpu_is_imitated_by_both_of_xlas_variables() -> None:
    """What LLVM compiles and the oneDNN inside: one variable each."""
    here, there = side(ZEN4, **{"onednn.isa": "AVX512_CORE_BF16"}), side(HASWELL, **{"onednn.isa": "AVX2"})
    assert settings.derive(here, there, ["xla"]) == {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
    assert settings.derive(there, here, ["xla"]) == {}
