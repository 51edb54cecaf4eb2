"""The processor: what CPUID says, masked by what the system saves, also where another processor is emulated."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from conftest import Captured, Records

from probes.environment import cpu
from probes.environment.sources import hwcap, native
from probes.facts import Absent

X86 = platform.machine() == "x86_64"
ROOT = Path(__file__).parent.parent.parent.parent
only_x86 = pytest.mark.skipif(not X86, reason="CPUID is an x86 instruction")


def value(records: Records, name: str) -> Any:
    return records[name].get("value", records[name])


DISTRUSTED = {"rdseed"}
"""What newer kernels hide where they do not trust it (RDSEED of a Zen 5: AMD-SB-7055), and the instruction tells."""


@only_x86
def test_cpuid_agrees_with_the_kernel_on_real_hardware(machine: Records) -> None:
    fields = cpu.first_processor()
    kernel = set(fields["flags"].split())
    named = cpu._FLAG_NAMES - {"osxsave"} - DISTRUSTED  # the kernel keeps the first to itself
    assert set(value(machine, "cpu.flags")) & named == kernel & named
    assert value(machine, "cpu.model") == f"{fields['vendor_id']} {fields['cpu family']}-{fields['model']}"
    assert str(value(machine, "cpu.stepping")) == fields["stepping"]
    assert value(machine, "cpu.name") == " ".join(fields["model name"].split())
    assert value(machine, "cpu.emulated") is False


@only_x86
def test_glibc_and_the_kernel_are_fallbacks_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(leaf: int, subleaf: int = 0) -> Any:
        raise Absent("no executable memory")

    expected = cpu._view()[1]
    model, stepping, flags = expected["model"](), expected["stepping"](), expected["flags"]()
    monkeypatch.setattr(native, "cpuid", none)
    source, view = cpu._view()
    assert (view["model"](), view["stepping"]()) == (model, stepping)
    if source.startswith("glibc"):
        assert set(view["flags"]()) <= set(flags)
        assert {"sse2", "avx", "avx2", "fma", "avx512f"} & set(flags) <= set(view["flags"]())
    monkeypatch.setattr(native, "glibc_leaf", none)
    source, view = cpu._view()
    assert source == "/proc/cpuinfo"
    assert (view["model"](), view["stepping"]()) == (model, stepping)
    assert set(view["flags"]()) - DISTRUSTED == set(flags) - {"osxsave"} - DISTRUSTED


def everything(leaf: int, subleaf: int = 0) -> native.Registers:
    return native.Registers(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("xcr0", "there", "not_there"),
    [
        (0x0, "sse4_2", "avx"),
        (0x3, "popcnt", "fma"),
        (0x7, "avx2", "avx512f"),
        (0xE7, "avx512f", "amx_tile"),
        (0x600E7, "amx_tile", ""),
    ],
)
def test_flags_are_masked_by_what_the_system_saves(xcr0: int, there: str, not_there: str) -> None:
    flags = cpu.flags_from(everything, xcr0, 7)
    assert there in flags
    assert not_there not in flags
    assert flags == sorted(flags)


def test_leaves_that_the_processor_does_not_have_are_not_asked() -> None:
    assert "avx2" not in cpu.flags_from(everything, 0xE7, 6)
    few = defaultdict(lambda: native.Registers(0, 0xFFFFFFFF, 0, 0))  # leaf 7 with subleaf 0 only
    assert "avx512_bf16" not in cpu.flags_from(lambda leaf, subleaf: few[leaf], 0xE7, 7)


@pytest.mark.parametrize(
    ("eax", "expected"),
    [
        (0xA10F11, (25, 17, 1)),
        (0x306C4, (6, 60, 4)),
        (0x106A3, (6, 26, 3)),
        (0x800F12, (23, 1, 2)),
        (0x6FB, (6, 15, 11)),
    ],
)
def test_signature(eax: int, expected: tuple[int, int, int]) -> None:
    assert cpu._signature(eax) == expected


@only_x86
def test_level_needs_every_instruction_set_of_it() -> None:
    v3 = [*cpu._LEVELS[0][1], *cpu._LEVELS[1][1]]
    assert cpu.level(v3) == "x86-64-v3"
    assert cpu.level([flag for flag in v3 if flag != "osxsave"]) == "x86-64-v3"
    assert cpu.level([flag for flag in v3 if flag != "movbe"]) == "x86-64-v2"
    assert cpu.level([*v3, "avx512f"]) == "x86-64-v3"
    assert cpu.level([]) == "x86-64-v1"


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Haswell", ("GenuineIntel 6-60", "x86-64-v3", True, False)),
        ("Nehalem", ("GenuineIntel 6-26", "x86-64-v2", False, False)),
    ],
)
def test_an_emulated_processor_is_the_one_that_the_process_sees(
    model: str, expected: tuple[Any, ...], emulator: str, captured: Captured, machine: Records
) -> None:
    records = captured("machine", prefix=[emulator, "-cpu", model])
    flags = value(records, "cpu.flags")
    assert (value(records, "cpu.model"), value(records, "cpu.level"), "avx2" in flags, "avx512f" in flags) == expected
    assert value(records, "cpu.emulated") is True
    assert "CPUID names the emulator TCG" in value(records, "cpu.emulation")
    assert records["os.release"] == machine["os.release"]


APPROXIMATIONS = """
import struct
from probes.environment.sources import native
print(*struct.unpack("<16384f", native.approximations()))
"""


@pytest.mark.emulated
def test_what_a_processor_takes_for_one_over_a_root_is_its_own(emulator: str) -> None:
    """Eight times: of four numbers first 1/sqrt(x), then 1/x. The bound is the documented one."""
    given = [
        subprocess.run(
            [*prefix, os.path.realpath(sys.executable), "-c", APPROXIMATIONS],
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout
        for prefix in ((), (), (emulator, "-cpu", "EPYC"))
    ]  # fmt: skip
    assert given[0] == given[1] != given[2]
    numbers = [struct.unpack("<f", struct.pack("<I", 0x3F800000 + (n << 11) + n % 2039))[0] for n in range(8192)]
    for text in given[1:]:
        found = list(map(float, text.split()))
        for n, x in enumerate(numbers):
            root, inverse = (found[n // 4 * 8 + part * 4 + n % 4] for part in range(2))
            assert abs(root * x**0.5 - 1) <= 1.5 * 2**-12
            assert abs(inverse * x - 1) <= 1.5 * 2**-12


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("model", "kernel", "simd", "libm"),
    [("Haswell", "Haswell", ["X86_V3"], {"AVX2", "FMA"}), ("Nehalem", "Nehalem", [], {"SSE4_1"})],
)
def test_an_emulated_processor_decides_what_is_in_effect(
    model: str, kernel: str, simd: list[str], libm: set[str], emulator: str, captured: Captured
) -> None:
    records = captured("effect", before="import numpy", prefix=[emulator, "-cpu", model])
    assert value(records, "blas.kernel") == kernel
    assert value(records, "numpy.simd_found") == simd
    assert libm <= set(value(records, "libm.features")) <= libm | {"AVX", "SSE4_1"}
    assert value(records, "libraries.count") > 10


def test_an_arm_processor_by_the_kernels_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand-in: the text of a Graviton 3's /proc/cpuinfo, shortened."""
    file = tmp_path / "cpuinfo"
    lines = (
        "processor\t: 0",
        "CPU implementer\t: 0x41",
        "CPU variant\t: 0x1",
        "CPU part\t: 0xd40",
        "CPU revision\t: 1",
    )
    file.write_text("\n".join(lines))
    monkeypatch.setattr(cpu, "CPUINFO", str(file))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    source, view = cpu._view()
    assert source == str(file)
    assert view["model"]() == "ARM 0x41 0xd40"
    assert view["stepping"]() == "r1p1"
    with pytest.raises(Absent, match="levels are defined"):
        cpu.level(["asimd"])


def test_arm_instruction_sets_by_the_auxiliary_vector() -> None:
    assert hwcap.decode(0b10 | 1 << 22, 1 << 14 | 1 << 17) == ["asimd", "bf16", "sve"]  # bti decides no result


def test_caches_and_topology_of_this_machine(machine: Records) -> None:
    caches = value(machine, "cpu.caches")
    if isinstance(caches, dict) and "L1d" in caches:
        assert 8192 <= caches["L1d"] <= 1 << 20
    assert value(machine, "cpu.count") >= value(machine, "limits.affinity") >= 1
