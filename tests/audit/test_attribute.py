"""Attribution on small made-up graphs: every rule has its counter-example."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from audit.causes import attribute, settings
from audit.causes.attribute import Symptom, components, explain
from audit.compare.results import Battery
from audit.compare.side import Measured
from reports.catalogue import Catalogue, _File
from reports.comparison import FactDifference, OperatorDifference, Size
from reports.report import Auditor, Fact, Operator, Report, Row, Target

ROWS: list[dict[str, Any]] = [
    {"fact": "blas.kernel", "components": ["blas"], "decided_by": ["variables.CORETYPE", "cpu.flags", "blas.version"]},
    {"fact": "blas.version", "components": ["blas"], "decided_by": ["packages.numpy.version"]},
    {"fact": "blas.threads", "components": ["blas"], "decided_by": ["variables.THREADS", "limits.cpus"], "root": True},
    {
        "fact": "blas.implementation",
        "components": ["blas"],
        "decided_by": [
            {"fact": "variables.PRELOAD", "when": {"fact": "variables.PRELOAD", "names": ["blas", "mkl"]}},
            "packages.numpy.version",
        ],
    },
    {"fact": "fpu.mxcsr", "components": ["fpu"], "decided_by": ["variables.PRELOAD"]},
    {"fact": "numpy.simd_found", "components": ["numpy"], "decided_by": ["variables.NPY", "cpu.flags"]},
    {"fact": "libm.features", "components": ["libm"], "decided_by": ["cpu.flags"]},
    {"fact": "packages.numpy.version", "components": ["numpy"], "root": True},
    {
        "fact": "packages.*.version",
        "decided_by": [{"fact": "os.release", "when": {"fact": "packages.*.by", "is": "d"}}],
    },
    {"fact": "packages.*.by"},
    {"fact": "os.release", "root": True},
    {"fact": "cpu.flags", "decided_by": ["cpu.model"]},
    {"fact": "cpu.model", "root": True},
    {"fact": "limits.cpus"},
    *({"fact": f"variables.{name}", "root": True} for name in ("CORETYPE", "THREADS", "NPY", "PRELOAD", "OTHER")),
]
EXPLAINS = {"blas.threads": "threaded", "numpy.simd_found": "not-controls"}


def catalogue() -> Catalogue:
    rows = [{"meaning": "m", "kind": "numeric", "explains": EXPLAINS.get(row["fact"], "all"), **row} for row in ROWS]
    return Catalogue(msgspec.convert({"components": [], "facts": rows}, _File))


def side(**facts: Any) -> Measured:
    target = Target("host", facts={name.replace("__", "."): Fact(value) for name, value in facts.items()})
    return Measured("a", "a.json", Report("audit-report", 1, "a", "d", "", Auditor(), [target]), target)


def differ(*names: str, effect: tuple[str, ...] = ("blas.kernel", "blas.threads", "numpy.simd_found")) -> Any:
    rows = catalogue()
    found = []
    for name in names:
        row = rows.row(name)
        assert row
        found.append(
            FactDifference(name, row.kind, list(row.components), [1, 2], ["operators"] if name in effect else [])
        )
    return found


def roots(symptoms: list[Symptom], differences: list[FactDifference], **facts: Any) -> dict[str | None, list[str]]:
    chosen = components(symptoms, [])
    found = explain(symptoms, chosen, differences, [side(**facts)], catalogue())
    return {one.root: sorted(one.components) for one in found}


BLAS = Symptom("blas.dot", ("blas",))
BIG = Symptom("blas.gemm", ("blas",), threaded=True)
NUMPY = Symptom("numpy.exp", ("numpy",))
CONTROL = Symptom("numpy.sum", ("numpy",), control=True)
LIBM = Symptom("libm.exp", ("libm",))
BETA = Symptom("random.beta", ("random", "libm"))


def test_a_variable_is_the_root_before_what_it_decides() -> None:
    assert roots([BLAS], differ("blas.kernel", "variables.CORETYPE")) == {"variables.CORETYPE": ["blas"]}


def test_a_variable_that_decides_nothing_here_is_never_blamed() -> None:
    assert roots([BLAS], differ("blas.kernel", "variables.OTHER")) == {"blas.kernel": ["blas"]}


def test_without_the_variable_the_fact_in_effect_is_the_root() -> None:
    assert roots([BLAS], differ("blas.kernel")) == {"blas.kernel": ["blas"]}


def test_one_cpu_explains_all_components() -> None:
    differences = differ("blas.kernel", "numpy.simd_found", "libm.features", "cpu.flags", "cpu.model")
    assert roots([BLAS, NUMPY, LIBM], differences) == {"cpu.model": ["blas", "libm", "numpy"]}


def test_two_causes_are_two_roots() -> None:
    differences = differ("blas.kernel", "numpy.simd_found", "variables.CORETYPE", "variables.NPY")
    assert roots([BLAS, NUMPY], differences) == {"variables.CORETYPE": ["blas"], "variables.NPY": ["numpy"]}


def test_a_cpu_that_differs_loudly_is_not_blamed_for_a_package() -> None:
    differences = differ("blas.version", "packages.numpy.version", "cpu.model", "cpu.flags")
    assert roots([BLAS], differences) == {"packages.numpy.version": ["blas"]}


def test_nothing_that_differs_explains_it() -> None:
    assert roots([BLAS], differ("cpu.model", "cpu.flags")) == {None: ["blas"]}


def test_threads_explain_large_shapes_only() -> None:
    assert roots([BIG], differ("blas.threads", "variables.THREADS")) == {"blas.threads": ["blas"]}
    assert roots([BIG, BLAS], differ("blas.threads", "blas.kernel")) == {"blas.kernel": ["blas"]}
    assert roots([BLAS], differ("blas.threads")) == {None: ["blas"]}


def test_a_simd_path_cannot_move_a_control() -> None:
    differences = differ("numpy.simd_found", "packages.numpy.version", "cpu.flags", "cpu.model")
    assert roots([NUMPY, CONTROL], differences) == {"packages.numpy.version": ["numpy"]}


def test_a_package_of_the_distribution_is_decided_by_its_release() -> None:
    differences = differ("packages.numpy.version", "os.release")
    rows = catalogue()
    assert [edge.fact for edge in rows.deciders("packages.x.version")] == ["os.release"]
    assert roots([NUMPY], differences) == {"packages.numpy.version": ["numpy"]}


def test_a_library_loaded_before_others_decides_blas_only_where_it_is_one() -> None:
    differences = differ("blas.implementation", "fpu.mxcsr", "variables.PRELOAD", "packages.numpy.version")
    flush = Symptom("fpu.half", ("fpu",))
    apart: dict[str | None, list[str]] = {"packages.numpy.version": ["blas"], "variables.PRELOAD": ["fpu"]}
    assert roots([BLAS, flush], differences, variables__PRELOAD="libftz.so") == apart
    both: dict[str | None, list[str]] = {"variables.PRELOAD": ["blas", "fpu"]}
    assert roots([BLAS, flush], differences, variables__PRELOAD="libMKL_rt.so.2") == both


def test_what_passes_through_a_moved_component_is_the_same_cause() -> None:
    assert components([LIBM, BETA], []) == ["libm"]


def test_a_component_without_a_differing_operator_of_its_own_is_never_chosen() -> None:
    assert components([BETA], [Operator("libm.exp", "libm")]) == ["random"]


def test_another_rounding_mode_explains_everything() -> None:
    assert components([BLAS, NUMPY, Symptom("fpu.third", ("fpu",), wide=True)], []) == ["fpu"]
    assert components([BLAS, Symptom("fpu.denormal", ("fpu",))], []) == ["blas", "fpu"]


def test_a_row_is_evidence_where_no_operator_moved() -> None:
    row = Row("backward", "w1", "matmul f32", ["blas"])
    found = attribute.symptoms(Battery(), [row])
    assert components(found, [Operator("blas.dot", "blas")]) == ["blas"]
    assert roots(found, differ("blas.threads")) == {"blas.threads": ["blas"]}


def test_under_flush_to_zero_a_row_passes_through_the_floating_point_mode() -> None:
    denormal = Operator("fpu.half", "fpu")
    battery = Battery(differing=[(denormal, OperatorDifference("fpu.half", ["fpu"], Size()))])
    found = attribute.symptoms(battery, [Row("update", "v", "multiply f32", ["numpy"])])
    assert components(found, []) == ["fpu"]


def test_a_setting_of_openblas_is_for_openblas_on_both_sides() -> None:
    openblas = {"blas__implementation": "openblas", "blas__kernel": "SkylakeX", "blas__threads": 2}
    older = side(**{**openblas, "blas__kernel": "Haswell"})
    reference = side(blas__implementation="reference", blas__kernel="reference", blas__threads=1)
    assert settings.derive(side(**openblas), older, ["blas"]) == {"OPENBLAS_CORETYPE": "Haswell"}
    assert settings.derive(side(**openblas), reference, ["blas"]) == {}
    assert settings.derive(reference, side(**openblas), ["blas"]) == {}


ZEN5 = {
    "cpu__vendor": "AuthenticAMD",
    "cpu__flags": ["avx512f"],
    "cpu__caches": {"L2": 1 << 20},
    "blas__implementation": "openblas",
    "blas__version": "0.3.34.237.2",
    "blas__kernel": "SkylakeX",
    "blas__kernel_blocks": "f32 512, f64 512",
}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, {"OPENBLAS_L2_SIZE": "512"}),
        ({"blas__version": "0.3.33"}, {}),
        ({"cpu__vendor": "GenuineIntel"}, {}),
        ({"cpu__flags": ["avx2"]}, {}),
        ({"cpu__caches": {"L2": 1 << 19}}, {}),
        ({"cpu__caches": None}, {}),
        ({"variables__OPENBLAS_L2_SIZE": "2048"}, {}),  # taken out, or it stays
        ({"blas__kernel_blocks": "f32 448, f64 384"}, {}),
    ],
)
def test_blocks_for_one_processor_are_left_by_naming_another_cache(
    other: dict[str, Any], expected: dict[str, str]
) -> None:
    there = side(blas__implementation="openblas", blas__kernel="SkylakeX", blas__kernel_blocks="f32 448, f64 384")
    assert settings.derive(side(**{**ZEN5, **other}), there, ["blas"]) == expected
    assert settings.derive(there, side(**{**ZEN5, **other}), ["blas"]) == {}
