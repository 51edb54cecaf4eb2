"""Every setting moves operators of its own component and of no other: without that, attribution names a wrong cause.

An operator that moves outside its component (or what it passes through) is mislabelled, or its inputs are wrong.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fresh_battery import battery, moved

MASK = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"
QEMU = "qemu-x86_64-static"

CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""

avx512 = pytest.mark.skipif("avx512f" not in CPU, reason="this CPU has no AVX-512 to switch off")
avx2 = pytest.mark.skipif("avx2" not in CPU, reason="this CPU has no AVX2 to mask")
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason="no " + QEMU)


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return battery()


def belongs(record: dict[str, Any], *components: str) -> bool:
    return record["component"] in components or bool(set(record["through"]) & set(components))


def assert_only(base: dict[str, Any], names: set[str], *components: str) -> None:
    """Something moved in each component, and all that moved belongs to them; controls never move."""
    assert {base[name]["component"] for name in names} >= set(components)
    assert not [name for name in sorted(names) if not belongs(base[name], *components)]
    assert not [name for name in sorted(names) if base[name]["control"]]


def test_two_processes_agree(base: dict[str, Any]) -> None:
    assert len(base) >= 150
    assert not moved(base, battery())


@avx512
def test_blas_kernel(base: dict[str, Any]) -> None:
    assert_only(base, moved(base, battery(OPENBLAS_CORETYPE="Haswell")), "blas")


def test_oldest_blas_kernel_shows_in_summation_trees(base: dict[str, Any]) -> None:
    names = moved(base, battery(OPENBLAS_CORETYPE="Nehalem"))
    assert_only(base, names, "blas")
    assert "blas.tree.dot.f64" in names


@avx512
def test_numpy_vector_code(base: dict[str, Any]) -> None:
    assert_only(base, moved(base, battery(NPY_DISABLE_CPU_FEATURES="X86_V4")), "numpy")


@avx2
@glibc
@pytest.mark.parametrize("features", ["", "X86_V4", "X86_V3 X86_V4"])
def test_libm_variants(base: dict[str, Any], features: str) -> None:
    """With numpy's vector code and without: then more of numpy's functions reach the C library."""
    if "X86_V4" in features and "avx512f" not in CPU:
        features = features.replace("X86_V4", "").strip()
    without = battery(NPY_DISABLE_CPU_FEATURES=features) if features else base
    masked = battery(NPY_DISABLE_CPU_FEATURES=features, GLIBC_TUNABLES=MASK)
    assert_only(base, moved(without, masked), "libm")


@pytest.mark.parametrize(
    ("control_bits", "wide"), [("0x8040", False), ("0x6000", True)], ids=["flush to zero", "round to zero"]
)
def test_floating_point_state(base: dict[str, Any], tmp_path: Path, control_bits: str, wide: bool) -> None:
    """As a library built with -Ofast sets it: by a constructor that writes MXCSR."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs a C compiler on x86-64")
    source, library = tmp_path / "state.c", tmp_path / "state.so"
    source.write_text(
        "#include <xmmintrin.h>\n__attribute__((constructor)) static void set(void)"
        "{ _mm_setcsr(_mm_getcsr() | " + control_bits + "); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    names = moved(base, battery(LD_PRELOAD=str(library)))
    if wide:
        assert any(base[name]["wide"] for name in names)
    else:
        assert_only(base, names, "fpu")
        assert not [name for name in names if base[name]["wide"]]


def test_hash_seed(base: dict[str, Any]) -> None:
    from probes.operators.ordering import DECIDED_BY_HASH_SEED

    assert moved(base, battery(PYTHONHASHSEED="2")) == DECIDED_BY_HASH_SEED


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU")
def test_blas_threads(base: dict[str, Any]) -> None:
    one, two = battery(OPENBLAS_NUM_THREADS="1"), battery(OPENBLAS_NUM_THREADS="2")
    names = moved(one, two)
    assert_only(base, names, "blas")
    assert all(base[name]["threaded"] for name in names)


@pytest.mark.emulated
@qemu
@avx512
def test_emulated_haswell(base: dict[str, Any]) -> None:
    assert_only(base, moved(base, battery(prefix=(QEMU, "-cpu", "Haswell"))), "blas", "numpy")


@pytest.mark.emulated
@qemu
@avx2
def test_emulated_nehalem_is_imitated_by_settings(base: dict[str, Any]) -> None:
    emulated = battery(prefix=(QEMU, "-cpu", "Nehalem"))
    assert_only(base, moved(base, emulated), "blas", "numpy", "libm")
    features = "X86_V3 X86_V4" if "avx512f" in CPU else "X86_V3"
    settings = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": features, "GLIBC_TUNABLES": MASK}
    assert not moved(emulated, battery(**settings))


def other_python(folder: Path, numpy: str) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "numpy==" + numpy]
    if subprocess.run(pip, check=False, capture_output=True).returncode != 0:
        pytest.skip(f"numpy {numpy} cannot be installed here")
    return python


@pytest.mark.fresh
@pytest.mark.skipif(not (3, 11) <= sys.version_info < (3, 14), reason="no wheel for one of the versions")
def test_numpy_versions(tmp_path: Path) -> None:
    """What a version changes belongs to numpy, to the BLAS it brings, or to its random streams; never to the rest."""
    versions = ("2.2.6", "2.3.5", "2.4.6")
    old, middle, new = (battery(python=other_python(tmp_path / version, version)) for version in versions)
    assert {new[name]["component"] for name in moved(middle, new)} == {"blas"}
    assert {new[name]["component"] for name in moved(old, new)} == {"blas", "random"}


@pytest.mark.fresh
def test_python_versions(interpreter: Callable[[str], str]) -> None:
    """Python's own sum is a compensated one since 3.12; nothing outside `python` moves with it."""
    one, other = battery(python=interpreter("3.11")), battery(python=interpreter("3.13"))
    names = moved(one, other)
    assert "python.sum.tenths" in names
    assert {one[name]["component"] for name in names} <= {"python", "numpy", "blas", "random"}
