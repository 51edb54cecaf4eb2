"""Settings of PyTorch's libraries on made-up machines: values follow from facts in effect, downwards, and no others."""

from __future__ import annotations

import pytest

from audit.causes import settings
from audit.causes.extensions import LEVELS
from audit.causes.machines import possible
from audit.causes.settings import BY_NAME
from audit.compare.side import Measured
from reports.report import Auditor, Fact, Report, Target

FLAGS = {
    "": [],
    "avx": ["avx"],
    "avx2": ["avx", "avx2", "fma"],
    "avx512": ["avx", "avx2", "fma", "avx512f"],
}
ZEN = {
    "cpu.machine": "x86_64",
    "cpu.flags": FLAGS["avx512"],
    "cpu.count": 4,
    "limits.affinity": 4,
    "torch.threads": 4,
    "aten.capability": "AVX512",
    "onednn.isa": "AVX512_CORE_BF16",
    "mkl.version": "2024.2",
    "mkl.mode": "OFF",
    "mkl.branch": "AUTO",
    "mkl.intel": False,
}
XEON = {**ZEN, "mkl.branch": "AVX512", "mkl.intel": True}
HASWELL = {
    **XEON,
    "cpu.flags": FLAGS["avx2"],
    "aten.capability": "AVX2",
    "onednn.isa": "AVX2",
    "mkl.branch": "AVX2",
}
WITHOUT_TORCH = {name: ZEN[name] for name in ("cpu.machine", "cpu.flags", "cpu.count", "limits.affinity")}
ALL = ["aten", "onednn", "mkl"]


def side(facts: dict[str, object], **more: object) -> Measured:
    found = {**facts, **{name.replace("__", "."): value for name, value in more.items()}}
    target = Target("host", facts={name: Fact(value) for name, value in found.items()})  # type: ignore[arg-type]
    return Measured("a", "a.json", Report("audit-report", 1, "a", "d", "", Auditor(), [target]), target)


def test_vector_code_follows_downwards() -> None:
    assert settings.derive(side(ZEN), side(HASWELL), ALL) == {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    assert settings.derive(side(HASWELL), side(ZEN), ALL) == {}


@pytest.mark.parametrize("component", ALL)
def test_only_the_settings_of_the_components_asked_for(component: str) -> None:
    mine = {"aten": "ATEN_CPU_CAPABILITY", "onednn": "ONEDNN_MAX_CPU_ISA"}
    there = side(HASWELL, torch__threads=2)
    expected = {mine[component]} & set(mine.values()) if component in mine else set()
    assert set(settings.derive(side(ZEN), there, [component])) == expected | {"MKL_NUM_THREADS"}


@pytest.mark.parametrize(
    ("code", "flags", "value"),
    [
        ("DEFAULT", "avx512", "default"),
        ("AVX2", "avx2", "avx2"),
        ("AVX512", "avx2", None),
        ("AVX2", "avx", None),
        ("ZVECTOR", "avx512", None),
        ("$(rm)", "avx512", None),
        (None, "avx512", None),
        (7, "avx512", None),
    ],
)
def test_atens_code(code: object, flags: str, value: str | None) -> None:
    assert BY_NAME["ATEN_CPU_CAPABILITY"].derive(code, "AVX512", side(ZEN, cpu__flags=FLAGS[flags])) == value


@pytest.mark.parametrize(
    ("wanted", "have", "value"),
    [
        ("AVX2", "AVX512_CORE_BF16", "AVX2"),
        ("AVX512_CORE", "AVX512_CORE_BF16", "AVX512_CORE"),
        ("AVX512_CORE_BF16", "AVX512_CORE", None),
        ("SSE41", "AVX2", "SSE41"),
        ("AVX2", "AVX2", None),
        ("AVX2", "Intel AVX10.2", "AVX2"),
        ("Intel AVX10.2", "AVX2", None),
        ("AVX2; rm", "AVX512_CORE", None),
    ],
)
def test_onednns_cap_only_lowers(wanted: str, have: str, value: str | None) -> None:
    assert BY_NAME["ONEDNN_MAX_CPU_ISA"].derive(wanted, have, side(ZEN)) == value


@pytest.mark.parametrize(
    ("mode", "here", "value"),
    [
        ("COMPATIBLE", ZEN, "COMPATIBLE"),
        ("COMPATIBLE", XEON, "COMPATIBLE"),
        ("AUTO", ZEN, "AUTO"),
        ("AVX2", ZEN, None),  # it would be AUTO
        ("AVX2", XEON, "AVX2"),
        ("AVX512,STRICT", XEON, "AVX512,STRICT"),
        ("COMPATIBLE,STRICT", XEON, None),
        ("OFF", ZEN, None),
        ("branch 18", XEON, None),
        ("AVX2 x", XEON, None),
    ],
)
def test_mkls_mode(mode: str, here: dict[str, object], value: str | None) -> None:
    assert BY_NAME["MKL_CBWR"].derive(mode, "OFF", side(here)) == value


@pytest.mark.parametrize(
    ("wanted", "here", "expected"),
    [
        (1, ZEN, {"MKL_NUM_THREADS": "1"}),
        (1, {**ZEN, "mkl.version": None}, {"OMP_NUM_THREADS": "1"}),
        (8, ZEN, {"torch_threads": "8"}),
        (1000, ZEN, {}),
        (0, ZEN, {}),
        ("1", ZEN, {}),
        (1, WITHOUT_TORCH, {}),
    ],
)
def test_threads(wanted: object, here: dict[str, object], expected: dict[str, str]) -> None:
    assert settings.derive(side(here), side({**ZEN, "torch.threads": wanted}), ["aten"]) == expected


def test_values_that_are_possible_nearest_to_the_usual_first() -> None:
    assert settings.others(side(ZEN), "onednn") == [
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ONEDNN_MAX_CPU_ISA": "AVX"},
        {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"MKL_NUM_THREADS": "1"},
        {"MKL_NUM_THREADS": "2"},
    ]
    assert BY_NAME["ATEN_CPU_CAPABILITY"].values(side(HASWELL)) == ["default"]
    assert BY_NAME["MKL_CBWR"].values(side(ZEN)) == ["AUTO", "COMPATIBLE"]
    assert BY_NAME["MKL_CBWR"].values(side(HASWELL)) == [
        "AUTO", "AVX2", "AVX", "SSE4_2", "SSE4_1", "SSSE3", "SSE2", "COMPATIBLE",
    ]  # fmt: skip
    assert BY_NAME["MKL_CBWR"].values(side(ZEN, mkl__mode="COMPATIBLE")) == ["AUTO"]


def test_without_torch_there_is_nothing_of_it_to_set() -> None:
    names = {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_NUM_THREADS", "OMP_NUM_THREADS"}
    here = side(WITHOUT_TORCH)
    assert [name for name in names if BY_NAME[name].values(here)] == []
    assert not names & {name for left in LEVELS.values() for name in settings.level(here, left)}
    assert not names & {name for one in possible(here).every for name in one.values}


def test_a_lower_level_holds_every_library_of_torch() -> None:
    found = [settings.level(side(ZEN), left) for left in LEVELS.values()]
    assert found == [
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"},
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX", "MKL_CBWR": "COMPATIBLE"},
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    ]
    compatible = side(HASWELL, mkl__mode="COMPATIBLE")
    assert settings.level(compatible, LEVELS["a CPU without AVX-512"]) == {}
    newer = side(ZEN, onednn__isa="Intel AVX10.2")
    assert settings.level(newer, LEVELS["a CPU without AVX-512"])["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_a_value_stands_for_a_machine_where_it_is_a_level() -> None:
    told = {
        f"{name}={value}": BY_NAME[name].stands_for(value)
        for name, value in (
            ("ATEN_CPU_CAPABILITY", "avx2"),
            ("ATEN_CPU_CAPABILITY", "default"),
            ("ONEDNN_MAX_CPU_ISA", "AVX2"),
            ("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI"),
            ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"),
            ("MKL_CBWR", "COMPATIBLE"),
            ("MKL_NUM_THREADS", "1"),
        )
    }
    assert told == {
        "ATEN_CPU_CAPABILITY=avx2": "a CPU without AVX-512",
        "ATEN_CPU_CAPABILITY=default": "a CPU without AVX",
        "ONEDNN_MAX_CPU_ISA=AVX2": "a CPU without AVX-512",
        "ONEDNN_MAX_CPU_ISA=AVX2_VNNI": "",
        "ONEDNN_MAX_CPU_ISA=AVX512_CORE": "",
        "MKL_CBWR=COMPATIBLE": "",
        "MKL_NUM_THREADS=1": "a machine with 1 CPU",
    }


def test_one_cpu_is_one_for_every_library() -> None:
    here = side(ZEN, blas__implementation="openblas", blas__kernel="SkylakeX", blas__threads=4)
    assert possible(here).threads == {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    mine = side(ZEN, variables__OMP_NUM_THREADS="2", variables__DNNL_MAX_CPU_ISA="AVX2")
    kept = possible(mine).kept
    assert {name: kept[name] for name in ("MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")} == {
        "MKL_NUM_THREADS": "2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    assert not [one for one in possible(mine).alone if set(one.values) & {"MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA"}]
