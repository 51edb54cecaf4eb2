"""What is in effect: each setting moves its own fact, in the process that it was set for, and no other's."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Captured, Records

from probes.environment import blas, fpu, libm, process
from probes.environment.sources import native
from probes.facts import Absent, Facts

WORK = "import numpy; numpy.linalg.solve(numpy.eye(9), numpy.ones(9))"
IN_EFFECT = ("blas.kernel", "blas.threads", "numpy.simd_found", "libm.features", "fpu.mxcsr", "python.hash_seed")
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
only_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="settings of x86-64")


def moved(a: Records, b: Records) -> set[str]:
    return {name for name in IN_EFFECT if a[name] != b[name]}


def test_openblas_coretype(captured: Captured, effect: Records) -> None:
    other = "Nehalem" if effect["blas.kernel"]["value"] != "Nehalem" else "Prescott"
    records = captured("effect", before=WORK, OPENBLAS_CORETYPE=other)
    assert records["blas.kernel"]["value"] == other
    assert moved(records, effect) == {"blas.kernel"}


BLOCKS = re.compile(r"f32 (\d+), f64 (\d+)")


def test_how_openblas_divides_its_sums(captured: Captured, effect: Records) -> None:
    """Its code for Prescott sums 128 products at a time, in every release so far; newer code sums more."""
    here = BLOCKS.fullmatch(effect["blas.kernel_blocks"]["value"])
    assert here
    assert all(128 <= int(number) <= 1024 for number in here.groups())
    there = captured("effect", before=WORK, OPENBLAS_CORETYPE="Prescott", OPENBLAS_L2_SIZE="512")
    assert there["blas.kernel_blocks"]["value"] == "f32 128, f64 128"


ZEN5, ZEN3, INTEL = (0x68747541, 0x444D4163, 1024), (0x68747541, 0x444D4163, 512), (0x756E6547, 0x6C65746E, 1024)
"""First and last four letters of the maker, as CPUID has them, and kB of the second cache."""


@pytest.mark.parametrize(
    ("cpu", "version", "kernel", "told", "expected"),
    [
        (ZEN5, "0.3.34.237.2", "Haswell", "", True),
        (ZEN5, "0.3.40", "Zen", "", True),
        (ZEN5, "0.3.34", "SkylakeX", "", False),  # code for AVX-512 bears these blocks
        (ZEN5, "0.3.33", "Haswell", "", False),
        (ZEN5, "0.3.34", "Haswell", "512", False),
        (ZEN3, "0.3.34", "Haswell", "", False),
        (INTEL, "0.3.34", "Haswell", "", False),
    ],
)
def test_no_product_is_tried_that_may_end_the_process(
    cpu: tuple[int, int, int], version: str, kernel: str, told: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last, cache = cpu

    def cpuid(leaf: int, subleaf: int = 0) -> native.Registers:
        leaves = {
            0: native.Registers(16, first, last, 0),
            7: native.Registers(0, 1 << 16, 0, 0),
            0x80000006: native.Registers(0, 0, cache << 16, 64 << 18),
        }
        return leaves[leaf]

    monkeypatch.setattr(native, "cpuid", cpuid)
    monkeypatch.setenv("OPENBLAS_L2_SIZE", told)
    library = {"implementation": "openblas", "version": version, "kernel": kernel, "path": "/nothing"}
    assert blas._overruns(library) is expected
    if expected:
        with pytest.raises(Absent, match="OPENBLAS_L2_SIZE=512 prevents it"):
            blas._blocks(library)


def test_blas_threads(captured: Captured, effect: Records) -> None:
    records = captured("effect", before=WORK, OPENBLAS_NUM_THREADS="1")
    assert records["blas.threads"]["value"] == 1
    assert moved(records, effect) <= {"blas.threads"}


@only_x86
def test_numpy_simd(captured: Captured, effect: Records) -> None:
    found = effect["numpy.simd_found"]["value"]
    if not found:
        pytest.skip("numpy found nothing to disable")
    records = captured("effect", before=WORK, NPY_DISABLE_CPU_FEATURES=found[-1])
    assert found[-1] not in records["numpy.simd_found"]["value"]
    assert moved(records, effect) == {"numpy.simd_found"}


@only_glibc
@only_x86
def test_glibc_tunables(captured: Captured, effect: Records) -> None:
    if "AVX2" not in effect["libm.features"]["value"]:
        pytest.skip("nothing to hide")
    mask = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"
    records = captured("effect", before=WORK, GLIBC_TUNABLES=mask)
    assert not {"AVX2", "FMA", "AVX512F"} & set(records["libm.features"]["value"])
    assert moved(records, effect) == {"libm.features"}
    assert captured("machine", GLIBC_TUNABLES=mask)["libc.tunables"]["value"] == [mask]


@only_x86
def test_a_preloaded_library_that_flushes_to_zero(
    compiled: Callable[..., Path], captured: Captured, effect: Records
) -> None:
    source = "#include <xmmintrin.h>\n__attribute__((constructor)) void f(void){_mm_setcsr(_mm_getcsr()|0x8040);}"
    library = compiled("libftz.so", source)
    records = captured("effect", before=WORK, LD_PRELOAD=str(library))
    names = ("flush_to_zero", "denormals_are_zero", "subnormals", "mxcsr", "rounding")
    assert [records["fpu." + name]["value"] for name in names] == [True, True, False, "0x9fc0", "nearest"]
    assert moved(records, effect) == {"fpu.mxcsr"}
    assert "libraries.libftz.build_id" in records
    assert captured("machine", LD_PRELOAD=str(library))["variables.LD_PRELOAD"]["value"] == "libftz.so"


@only_glibc
@only_x86
def test_rounding_and_sticky_flags(captured: Captured, effect: Records) -> None:
    up = captured("effect", before="import ctypes; ctypes.CDLL('libm.so.6').fesetround(0x800)")
    assert (up["fpu.rounding"]["value"], up["fpu.mxcsr"]["value"]) == ("up", "0x5f80")
    inexact = captured("effect", before="x = 1.0 / 3.0; y = 5e-324 / 3; import math; math.exp(-1000)")
    assert inexact["fpu.mxcsr"] == effect["fpu.mxcsr"]
    assert effect["fpu.control_word"]["value"] == "0x37f"


@pytest.mark.parametrize(
    ("control", "arm", "expected"),
    [("0x1f80", False, "nearest"), ("0x3f80", False, "down"), ("0x7f80", False, "zero"), ("0x400000", True, "up")],
)
def test_rounding_by_its_bits(control: str, arm: bool, expected: str) -> None:
    assert fpu._rounding(control, arm) == expected


@pytest.mark.parametrize(
    ("variable", "expected"), [("0", 0), ("7", 7), ("random", "random"), ("", "random"), (None, "random")]
)
def test_hash_seed(variable: str | None, expected: int | str, captured: Captured) -> None:
    assert captured("effect", PYTHONHASHSEED=variable)["python.hash_seed"]["value"] == expected


def test_the_hash_seed_is_the_one_that_the_interpreter_started_with(captured: Captured) -> None:
    records = captured("effect", before="import os; os.environ['PYTHONHASHSEED'] = '9'", PYTHONHASHSEED="3")
    assert records["python.hash_seed"]["value"] == 3


def test_options_do_not_repeat_what_has_a_fact_of_its_own(captured: Captured) -> None:
    options = captured("effect", PYTHONHASHSEED="3", PYTHONOPTIMIZE="2")["python.options"]["value"]
    assert "optimize=2" in options
    assert not [option for option in options if "hash" in option]
    assert process.SCOPE == "effect"


def test_what_a_process_did_not_load_is_not_in_effect(captured: Captured) -> None:
    records = captured("effect")
    for name in ("numpy.simd_found", "blas.kernel", "lapack.version"):
        assert records[name] == {"status": "absent", "reason": "this process did not import numpy"}


@pytest.mark.parametrize(
    ("tunables", "expected"),
    [
        (["glibc.cpu.hwcaps=-AVX2_Usable,-FMA,Prefer_ERMS"], {"AVX2", "FMA"}),
        (["glibc.malloc.arena_max=1"], set()),
        ([], set()),
    ],
)
def test_what_tunables_hide_from_an_old_glibc(tunables: list[str], expected: set[str]) -> None:
    assert libm.hidden(tunables) == expected


@only_x86
@only_glibc
def test_the_rule_for_an_old_glibc_gives_what_a_new_one_tells() -> None:
    assert libm._features_by_rule() == libm.features()


def test_reference_blas_is_told_by_what_it_lacks(compiled: Callable[..., Path]) -> None:
    """Debian's libblas.so.3, which threadpoolctl does not know: a library without any version function."""
    library = compiled("libblas.so.3.12.0", "void dgemm_(void) {}", "-Wl,-soname,libblas.so.3")
    found = blas.inspect(str(library))
    assert {key: found[key] for key in ("name", "implementation", "version", "kernel", "threads")} == {
        "name": "libblas",
        "implementation": "reference",
        "version": "3.12.0",
        "kernel": "reference",
        "threads": 1,
    }


def test_openblas_is_read_without_threadpoolctl_alike(captured: Captured, effect: Records) -> None:
    without = captured("effect", before=WORK + "; import sys; sys.modules['threadpoolctl'] = None")
    for name in ("implementation", "kernel", "threads", "threading", "build_id"):
        assert without["blas." + name].get("value") == effect["blas." + name]["value"], name
    assert effect["blas.version"]["value"].startswith(without["blas.version"]["value"][:4])


def test_numpys_blas_is_the_one_that_it_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two libraries in one process: the other one's facts stand under its name."""
    import sys

    monkeypatch.setitem(sys.modules, "numpy", type(sys)("numpy"))
    mine = {"path": "/x/numpy.libs/libscipy_openblas64_-1.so", "name": "libscipy_openblas64_"}
    other = {"path": "/x/scipy.libs/libscipy_openblas-2.so", "name": "libscipy_openblas"}
    libraries = [dict(one, implementation="openblas", kernel=one["name"], source="-") for one in (other, mine)]
    monkeypatch.setattr(blas, "_known", lambda: (libraries, []))
    monkeypatch.setattr(blas, "_links", lambda: [mine["path"]])
    facts = Facts()
    blas.capture(facts)
    assert facts.value("blas.kernel") == "libscipy_openblas64_"
    assert facts.value("blas.libscipy_openblas.kernel") == "libscipy_openblas"
    assert "blas.libscipy_openblas64_.kernel" not in facts.records


def test_the_owner_and_build_of_numpys_blas(effect: Records) -> None:
    numpy = effect["numpy.version"]["value"]
    if "scipy" not in effect["numpy.blas_built"].get("value", ""):
        pytest.skip("not a wheel's numpy")
    assert effect["blas.owner"]["value"] == f"numpy {numpy}"
    assert re.match(r"(build-id|sha256) [0-9a-f]{16,}$", effect["blas.build_id"]["value"])


def test_a_fact_that_a_library_does_not_tell_is_absent() -> None:
    facts = Facts()
    library: dict[str, Any] = {"name": "libblas", "implementation": "reference", "threads": 1, "source": "-"}
    blas._record(facts, "blas", library, ("version", "threads"))
    assert facts.records["blas.version"] == {"status": "absent", "reason": "reference does not tell"}
    assert facts.value("blas.threads") == 1


def test_no_features_without_a_c_library_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.environment.sources import native

    def none(index: int, active: bool) -> Any:
        raise Absent("does not tell")

    monkeypatch.setattr(native, "glibc_leaf", none)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(Absent, match="does not tell"):
        libm.features()
