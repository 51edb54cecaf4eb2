"""Which nodes of a fleet are odd: classes, the majority in each, re-tests, who is missing, and what a person sees."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare.side import Measured
from audit.errors import AuditError
from audit.fleet import classes, report, retest
from audit.inputs import Inputs
from fixtures import many
from reports import codec, render
from reports.fleet import Fleet
from reports.report import Auditor, Battery, Fact, Facts, Job, Observation, Operator, Repeat, Report, Target, Trace

HOST, HASWELL = "host", "host~blas+numpy=cpu.model~haswell"
KERNEL, TRIXIE = "host~blas=variables.OPENBLAS_CORETYPE", "bookworm~blas+libm+numpy+python=os.release~trixie"


@lru_cache
def machine(name: str) -> Report:
    return codec.read(str(many.MACHINES / f"{name}.json.gz"))[0]


def node(label: str, name: str = HOST, facts: Mapping[str, object] | None = None) -> Measured:
    """A recorded machine under a node's name. facts: machine facts that are others there."""
    recorded = machine(name)
    target = recorded.targets[0]
    if facts:
        changed: Facts = {fact: Fact(value) for fact, value in facts.items()}  # type: ignore[arg-type]
        target = msgspec.structs.replace(target, facts={**target.facts, **changed})
    own = msgspec.structs.replace(recorded, label=label, digest=label)  # a node's load and time make its digest its own
    return Measured(label, f"nodes/{label}.json", own, target)


def broken(one: Measured, operator: str = "libm.exp", repeats: bool = False) -> Measured:
    """The node with another digest in one operator, as a failing core gives; repeats: only in its second run."""
    battery = one.target.battery
    assert battery
    wrong = []
    for measured in battery.operators:
        if measured.name == operator and measured.result:
            bits = f"{int(measured.result.digest, 16) ^ 1:0{len(measured.result.digest)}x}"
            result = msgspec.structs.replace(measured.result, digest=bits)
            changed = {"repeats": [bits]} if repeats else {"result": result}
            measured = msgspec.structs.replace(measured, **changed)
        wrong.append(measured)
    target = msgspec.structs.replace(one.target, battery=msgspec.structs.replace(battery, operators=wrong))
    return replace(one, target=target)


def fleet(nodes: Sequence[Measured], rounds: Mapping[int, Sequence[Measured]] | None = None) -> Fleet:
    again = {number: {one.label: one.outline for one in those} for number, those in (rounds or {}).items()}
    return report.of("nodes", Inputs([*nodes], [], []), again)


def named(found: Fleet) -> dict[str, str]:
    """The verdict on each odd node."""
    return {label: odd.verdict for one in found.classes for odd in one.outliers for label in odd.labels}


def gpus(first: int, last: int, **options: object) -> list[Measured]:
    return [node(f"gpu{number:03d}", **options) for number in range(first, last + 1)]  # type: ignore[arg-type]


# Classes


def side(label: str, operators: Mapping[str, str | None], facts: Mapping[str, object]) -> Measured:
    """A small node. operators: digests by name, None for what it does not repeat."""
    battery = [
        Operator(name, "libm", result=Observation(digest or "0" * 8), repeats=None if digest else ["f" * 8])
        for name, digest in operators.items()
    ]
    target = Target(
        "host",
        facts={name: Fact(value) for name, value in facts.items()},  # type: ignore[arg-type]
        battery=Battery(runs=2, operators=battery),
        jobs=[Job("numpy", runs=2, trace=Trace(digest="a" * 8), repeats=[Repeat("a" * 8)])],
    )
    return Measured(
        label, f"nodes/{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target
    )


HARDWARE = {"cpu.machine": "x86_64", "cpu.model": "GenuineIntel 6-106", "os.release": "debian 12"}
GPU = {"gpu.count": 8, "gpu.0.name": "NVIDIA H100", "gpu.1.name": "NVIDIA H100", "gpu.driver": "560.35.03"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"cpu.stepping": 7, "cpu.name": "Intel(R) Xeon(R) Gold 6348 CPU @ 2.60GHz", "cpu.microcode": "0x2"}, True),
        ({"cpu.flags": ["avx2"], "cpu.level": "x86-64-v3", "blas.kernel": "Haswell"}, True),  # what is looked for
        ({"packages.numpy.version": "2.3", "variables.OPENBLAS_CORETYPE": "Zen", "cpu.count": 4}, True),
        ({"gpu.driver": "560.35.05", "gpu.count": 7, "os.kernel": "6.2"}, True),
        ({"gpu.driver": "570.10"}, False),
        ({"gpu.1.name": "NVIDIA A100"}, False),
        ({"cpu.model": "GenuineIntel 6-143"}, False),
        ({"cpu.machine": "aarch64"}, False),
        ({"os.release": "debian 13"}, False),
        ({"image.layers": ["sha256:a"]}, False),
    ],
)
def test_a_class_is_what_was_bought_and_installed(change: dict[str, object], same: bool) -> None:
    usual, other = ({**HARDWARE, **GPU}, {**HARDWARE, **GPU, **change})
    nodes = [side(f"n{n}", {}, usual).outline for n in range(3)] + [side(f"m{n}", {}, other).outline for n in range(3)]
    assert len(classes.classes(nodes)) == (1 if same else 2)


def test_images_are_known_by_their_layers() -> None:
    base = {**HARDWARE, "image.layers": ["sha256:a", "sha256:b"]}
    rebuilt = {**base, "image.digests": ["sha256:another registry"]}
    assert classes.known_by(side("a", {}, base).outline) == classes.known_by(side("b", {}, rebuilt).outline)
    other = {**HARDWARE, "image.layers": ["sha256:a", "sha256:c"]}
    assert classes.known_by(side("a", {}, base).outline) != classes.known_by(side("b", {}, other).outline)


@pytest.mark.parametrize(
    ("odd", "near"),
    [
        ({"cpu.model": "GenuineIntel 6-60"}, True),
        ({"gpu.driver": "570.10", "os.release": "debian 13"}, True),  # set up anew
        ({"gpu.count": None, "gpu.0.name": None, "gpu.1.name": None, "gpu.driver": None}, True),  # no driver loaded
        ({"gpu.0.name": None, "gpu.1.name": None, "gpu.driver": None, "cpu.model": "AuthenticAMD 25-1"}, False),
        ({"cpu.machine": "aarch64"}, False),
    ],
)
def test_one_node_alone_is_held_against_the_nearest_class(odd: dict[str, object], near: bool) -> None:
    usual = {**HARDWARE, **GPU}
    nodes = [side(f"n{n}", {"libm.exp": "aaaaaaaa"}, usual) for n in range(3)]
    found = fleet([*nodes, side("odd", {"libm.exp": "bbbbbbbb"}, {**usual, **odd})])
    assert named(found) == ({"odd": "not re-tested"} if near else {})
    assert [one.kind for one in found.findings] == ([] if near else ["alone"])
    assert found.exit == (1 if near else 3)
    # With the same bits nobody has anything to say of it.
    assert fleet([*nodes, side("odd", {"libm.exp": "aaaaaaaa"}, {**usual, **odd})]).verdict == "agree"


def test_two_generations_are_not_each_others_outliers() -> None:
    old = [side(f"old{n}", {"libm.exp": "aaaaaaaa"}, HARDWARE) for n in range(3)]
    new = [side(f"new{n}", {"libm.exp": "bbbbbbbb"}, {**HARDWARE, "cpu.model": "GenuineIntel 6-143"}) for n in range(5)]
    found = fleet([*old, *new])
    assert (found.verdict, found.exit, named(found)) == ("agree", 0, {})
    assert [one.folded for one in found.agreeing] == ["new[0-4]", "old[0-2]"]


def test_two_of_a_kind_have_no_majority_and_three_have() -> None:
    usual = [side(f"n{n}", {"libm.exp": "aaaaaaaa"}, HARDWARE) for n in range(4)]
    other = [side(f"m{n}", {"libm.exp": "bbbbbbbb"}, {**HARDWARE, "cpu.model": "GenuineIntel 6-60"}) for n in range(3)]
    assert named(fleet([*usual, *other[:2]])) == {"m0": "not re-tested", "m1": "not re-tested"}
    assert named(fleet([*usual, *other])) == {}
    # Two and two: neither is larger, so neither is held against the other.
    assert fleet([*usual[:2], *other[:2]]).verdict == "agree"
    # Two of one kind that disagree, and a third of another kind that agrees with one of them.
    apart = side("n1", {"libm.exp": "bbbbbbbb"}, HARDWARE)
    assert named(fleet([usual[0], apart, other[0]])) == {"n0": "not re-tested"}


def test_nodes_that_drifted_are_outliers_of_their_class() -> None:
    """Library versions, variables and code paths in effect are no part of a class."""
    facts = {**HARDWARE, "libc.version": "2.36"}
    nodes = [side(f"n{n}", {"libm.exp": "aaaaaaaa"}, facts) for n in range(6)]
    drifted = [side(f"d{n}", {"libm.exp": "bbbbbbbb"}, {**facts, "libc.version": "2.41"}) for n in range(4)]
    found = fleet([*drifted, *nodes])
    (outlier,) = found.classes[0].outliers
    assert (outlier.labels, outlier.root, outlier.only) == (
        ["d0", "d1", "d2", "d3"],
        "libc.version",
        {"libc.version": "2.41"},
    )
    assert found.slurm == ["--exclude=d[0-3]", "--nodelist=n[0-5]"]


# The majority


def test_one_emulated_node_among_three_is_named_and_it_alone() -> None:
    found = fleet([node("n1"), node("n2"), node("n3", HASWELL)])
    assert named(found) == {"n3": "not re-tested"}
    (outlier,) = found.classes[0].outliers
    assert (outlier.root, outlier.differs) == ("cpu.model", ["cpu"])
    assert outlier.first_divergence is not None
    assert outlier.only["blas.kernel"] == "Haswell"
    assert found.exit == 1


def test_a_tie_names_nobody() -> None:
    for nodes in ([node("n1"), node("n2", KERNEL)], [node("n1"), node("n2"), node("n3", KERNEL), node("n4", KERNEL)]):
        found = fleet(nodes)
        assert (found.verdict, found.exit, named(found)) == ("undecided", 1, {})
        assert found.findings[0].labels == [one.label for one in nodes]


def test_what_nobody_repeats_is_no_fault_of_a_node() -> None:
    shaky = [side(f"n{n}", {"libm.exp": None, "libm.log": "aaaaaaaa"}, HARDWARE) for n in range(3)]
    assert fleet(shaky).verdict == "agree"
    odd = side("odd", {"libm.exp": None, "libm.log": None}, HARDWARE)
    assert named(fleet([*shaky, odd])) == {"odd": "nondeterministic"}


def test_one_node_or_none_with_results_is_no_answer() -> None:
    assert (fleet([node("n1")]).verdict, fleet([node("n1")]).exit) == ("not-comparable", 3)
    empty = [side(f"n{n}", {}, HARDWARE) for n in range(3)]
    empty = [replace(one, target=msgspec.structs.replace(one.target, jobs=[], battery=None)) for one in empty]
    found = fleet(empty)
    assert (found.verdict, found.exit, found.findings[0].labels) == ("not-comparable", 3, ["n0", "n1", "n2"])


def test_a_job_that_only_others_ran_is_not_agreed_on() -> None:
    nodes = [side(f"n{n}", {"libm.exp": "aaaaaaaa"}, HARDWARE) for n in range(4)]
    bare = replace(nodes[3], target=msgspec.structs.replace(nodes[3].target, jobs=[]))
    found = fleet([*nodes[:3], bare])
    assert (found.verdict, found.exit) == ("incomplete", 3)
    assert [(one.labels, one.reason) for one in found.findings] == [(["n3"], "no job numpy: it was not run there")]


CHOICE = st.sampled_from(["aaaaaaaa", "bbbbbbbb", "cccccccc"])
KINDS = st.fixed_dictionaries(
    {"cpu.model": st.sampled_from(["A", "B", "C"]), "os.release": st.sampled_from(["1", "2"])}
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CHOICE, KINDS), min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_the_order_of_files_changes_nothing(made: list[tuple[str, dict[str, str]]], shuffle: random.Random) -> None:
    nodes = [
        side(f"n{n}", {"libm.exp": digest}, {"cpu.machine": "x86_64", **facts})
        for n, (digest, facts) in enumerate(made)
    ]
    shuffled = [*nodes]
    shuffle.shuffle(shuffled)

    def said(found: Fleet) -> object:
        return (
            found.verdict,
            found.exit,
            named(found),
            {(frozenset(one.labels), frozenset(one.reference)) for one in found.classes},
            {(odd.root, frozenset(odd.labels), repr(odd.only)) for one in found.classes for odd in one.outliers},
            {(one.kind, frozenset(one.labels)) for one in found.findings},
            {frozenset(one.labels) for one in found.agreeing},
        )

    assert said(fleet(nodes)) == said(fleet(shuffled))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(3, 12), min_size=1, max_size=5), st.data())
def test_a_planted_odd_node_and_only_it_is_named(sizes: list[int], data: st.DataObject) -> None:
    nodes = []
    for kind, size in enumerate(sizes):
        facts = {**HARDWARE, "cpu.model": f"model {kind}"}
        nodes += [side(f"c{kind}n{n}", {"libm.exp": f"{kind:08x}", "libm.log": "aaaaaaaa"}, facts) for n in range(size)]
    position = data.draw(st.integers(0, len(nodes) - 1))
    own = nodes[position].target.facts
    nodes[position] = side(
        "odd", {"libm.exp": "ffffffff", "libm.log": "aaaaaaaa"}, {n: f.value for n, f in own.items()}
    )
    assert named(fleet(data.draw(st.permutations(nodes)))) == {"odd": "not re-tested"}


# Re-tests


def test_re_tests_tell_a_machine_from_an_accident() -> None:
    nodes = [*gpus(1, 4), broken(node("gpu005"))]
    control = node("gpu001")
    again, well = broken(node("gpu005")), node("gpu005")
    otherwise = broken(node("gpu005"), "libm.log")

    def verdict(*rounds: Measured) -> str:
        return named(fleet(nodes, {number: [control, one] for number, one in enumerate(rounds, 1)}))["gpu005"]

    assert verdict() == "not re-tested"
    assert verdict(again, again, again) == "confirmed"
    assert verdict(well, well, well) == "not confirmed"
    assert verdict(again, again, well) == "nondeterministic"
    assert verdict(otherwise) == "nondeterministic"
    # On half of the CPUs it may agree: the broken one is in the other half.
    found = fleet(nodes, {1: [control, again], 2: [control, well], 3: [control, again], 4: [control, again]})
    (outlier,) = found.classes[0].outliers
    assert (outlier.verdict, outlier.rounds, outlier.half) == ("confirmed", 4, [2])
    # A round without a control says nothing, and a control that does not repeat itself is named.
    assert named(fleet(nodes, {1: [again]}))["gpu005"] == "not re-tested"
    shaky = fleet(nodes, {1: [broken(control, "libm.log"), again], 2: [control, again]})
    assert named(shaky) == {"gpu001": "nondeterministic", "gpu005": "not re-tested"}


def test_who_is_measured_again() -> None:
    usual = [side(f"n{n}", {"libm.exp": "aaaaaaaa"}, HARDWARE) for n in range(30)]
    kinds = [side(f"a{n}", {"libm.exp": "bbbbbbbb"}, HARDWARE) for n in range(5)]
    found = fleet([*usual, *kinds, side("b0", {"libm.exp": "cccccccc"}, HARDWARE)])
    assert retest.wanted(found) == ["a0", "b0", "a1", "n0"]  # one in ten, every kind first, and a control
    assert retest.wanted(fleet([*usual[:3], kinds[0]])) == ["a0", "n0"]
    assert retest.wanted(fleet(usual)) == []


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six nodes of which gpu3 is an emulated Haswell, with its re-tests."""
    made = tmp_path / "nodes"
    for place in (made, made / "retests" / "1", made / "retests" / "2"):
        place.mkdir(parents=True)
    for number in range(1, 7):
        text = many.report(number).replace(b'"label":"node0000', b'"label":"gpu', 1)
        (made / f"gpu{number}.json").write_bytes(text)
    for again in ("1", "2"):
        for name in ("gpu1.json", "gpu3.json"):
            shutil.copy(made / name, made / "retests" / again / name)
    return made


def test_a_folder_with_its_re_tests(folder: Path) -> None:
    found = report.fleet(str(folder))
    assert named(found) == {"gpu3": "confirmed"}
    assert (found.reported, found.expected, found.rounds) == (6, None, 2)
    assert found.classes[0].outliers[0].rounds == 2
    assert found.next == f"on gpu1:  audit reproduce {folder}/gpu3.json    # --python as before"


def test_who_did_not_report(folder: Path) -> None:
    (folder / "gpu3.json").unlink()
    (folder / "gpu4.json").write_text("{")
    (folder / "failed.json").write_text("{}")
    found = report.fleet(str(folder), expect=[f"gpu{n}" for n in range(1, 9)], failed={"gpu7": "no Python"})
    assert {(one.kind, *one.labels, one.reason) for one in found.findings} == {
        ("failed", "gpu7", "no Python"),
        ("missing", "gpu3", "gpu8", ""),
        (
            "unusable",
            "gpu4",
            "not JSON, or cut short (Expecting property name enclosed in double quotes at line 1, column 2); "
            "copy it again from the machine that wrote it",
        ),
    }
    assert (found.verdict, found.exit, found.expected, found.reported) == ("incomplete", 3, 8, 4)
    nobody = report.fleet(str(folder))
    assert [one.kind for one in nobody.findings] == ["unusable"]


def test_an_empty_folder_is_refused_unless_somebody_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no report in this folder"):
        report.fleet(str(tmp_path))
    found = report.fleet(str(tmp_path), expect=["n1", "n2"], failed={"n1": "no Python"})
    assert (found.verdict, found.exit, found.reported) == ("not-comparable", 3, 0)
    (tmp_path / "n1.json").write_text("{")
    with pytest.raises(AuditError, match="none of its 1 files can be used"):
        report.fleet(str(tmp_path))


# What a person sees


def shown(found: Fleet) -> str:
    text = render.fleet(found)
    lines = text.splitlines()
    assert len(lines) <= 25
    assert all(len(line) <= 100 for line in lines), text
    assert lines[-1].startswith("Next")
    assert json.loads(render.fleet(found, "json"))["format"] == "audit-fleet"
    assert msgspec.convert(json.loads(render.fleet(found, "json")), Fleet) == found
    return text


CONTROL = node("gpu001")
ODD_IN_500 = [*gpus(1, 16), node("gpu017", HASWELL), *gpus(18, 500)]
CASES: dict[str, Callable[[], Fleet]] = {
    "one odd node in 500": lambda: fleet(
        ODD_IN_500, {number: [CONTROL, node("gpu017", HASWELL)] for number in (1, 2, 3)}
    ),
    "no odd node": lambda: fleet(gpus(1, 40)),
    "several classes": lambda: fleet(
        [
            *gpus(1, 8),
            broken(node("gpu009")),
            *(node(f"old{n}", HASWELL) for n in range(1, 5)),
            node("gpu010", KERNEL),
            node("login1", TRIXIE),
        ]
    ),
    "a tie": lambda: fleet([node("n1"), node("n2", KERNEL)]),
    "nondeterministic": lambda: fleet([*gpus(1, 7), broken(node("gpu008"), repeats=True)]),
    "not confirmed": lambda: fleet(
        [*gpus(1, 7), broken(node("gpu008"))], {number: [CONTROL, node("gpu008")] for number in (1, 2, 3)}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_person_sees(name: str, golden: Callable[[str, str], None]) -> None:
    found = CASES[name]()
    golden(f"fleet {name}.txt", shown(found))
    if name != "one odd node in 500":
        golden(f"fleet {name}.md", render.fleet(found, "markdown"))


def test_what_a_person_sees_of_missing_nodes(
    folder: Path, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "gpu3.json").unlink()
    (folder / "gpu4.json").write_text("{")
    found = report.fleet("nodes", expect=[f"gpu{n}" for n in range(1, 10)], failed={"gpu7": "no Python at /usr/bin"})
    golden("fleet missing.txt", shown(found))


def test_forty_classes_and_thirty_odd_nodes_fit_a_screen() -> None:
    nodes = []
    for kind in range(40):
        facts = {**HARDWARE, "cpu.model": f"GenuineIntel 6-{kind}", "cpu.name": f"Intel Xeon {kind}"}
        for n in range(12):
            digest = f"{kind:04x}{n:04x}" if n == 11 and kind < 30 else f"{kind:08x}"
            nodes.append(side(f"rack{kind:02d}-node{n:02d}", {"libm.exp": digest}, facts))
    found = fleet(nodes)
    assert len(named(found)) == 30
    text = shown(found)
    assert text.startswith("30 ODD NODES IN 480.")
    whole = render.fleet(found, all=True)
    assert all(label in whole for label in ("rack00-node11", "rack29-node11"))
    assert "--exclude=" in whole


def test_labels_that_are_no_names_of_nodes_give_no_line_for_slurm() -> None:
    labels = ["n1", "n2", "n3 --uid=0", "n\x1b[2J"]
    found = fleet([side(label, {"libm.exp": "aaaaaaaa"}, HARDWARE) for label in labels])
    assert found.slurm == []
    assert "\x1b" not in shown(found)
