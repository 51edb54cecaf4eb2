"""The machines of the corpus and the right answer for any two of them: well-formed, and by example as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import pytest

from fixtures import corpus, parts
from fixtures.parts import Answer
from reports.catalogue import catalogue

KNOWN = {one.name: one for one in parts.machines()}


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Right answers depend on the machine that is the base: here one with AVX-512, two CPUs and Debian 12."""
    monkeypatch.setattr(parts, "vectors", lambda: "avx512f")
    monkeypatch.setattr(parts, "cpus", lambda: 2)
    monkeypatch.setattr(parts, "_release", lambda: "2.36")
    monkeypatch.setattr(parts, "_python", lambda: "3.11")
    parts.here.cache_clear()
    yield
    parts.here.cache_clear()


def answer(a: str, b: str) -> Answer:
    return parts.answer(KNOWN[a], KNOWN[b])


def named(a: str, b: str) -> dict[str, set[str]]:
    return {component: set(roots) for component, roots in answer(a, b).roots.items()}


@pytest.mark.parametrize("name", KNOWN)
def test_every_machine_is_well_formed(name: str) -> None:
    built = KNOWN[name]
    assert built.group in corpus.ORDER or built.group == parts.NOTHING
    assert re.fullmatch(r"[\w.+-]+", name)  # a file's name and a label
    assert set(built.aspects()) == set(parts.here())
    rows = catalogue()
    for part in built.parts:
        assert bool(part.root) == bool(part.decides)
        row = rows.row(part.root) if part.root else None
        assert row is None or row.kind == "numeric"
        assert row is not None or not part.root
    assert {aspect.partition(".")[0] for aspect in parts.here()} <= set(rows.components)


def test_machines_have_names_of_their_own_and_hold_outs_come_last() -> None:
    everything = parts.machines()
    assert len(KNOWN) == len(everything)
    assert everything[0].name == parts.BASE
    assert [one.held_out for one in everything] == sorted(one.held_out for one in everything)
    assert {one.group for one in everything if one.held_out} <= {one.group for one in everything if not one.held_out}


def test_no_value_of_a_hold_out_was_used_in_development() -> None:
    """Held out are CPUs, numpy versions, seeds and settings; a machine of more parts is a new combination of them."""
    used = [part for one in parts.machines() if not one.held_out for part in one.parts]
    for built in (one for one in parts.machines() if one.held_out):
        assert len(built.parts) > 1 or built.parts[0] not in used


def test_the_whole_corpus_has_an_answer_that_does_not_depend_on_the_order() -> None:
    for a, b in product(parts.machines(), repeat=2):
        one = parts.answer(a, b)
        assert one == parts.answer(b, a)
        assert one.required <= set(one.roots)
        assert all(one.roots.values())
        if a is b:
            assert one == Answer(frozenset(), {})


def test_a_setting_has_its_own_component_and_root() -> None:
    assert named("base", "kernel-Haswell") == {"blas": {"variables.OPENBLAS_CORETYPE"}}
    assert named("base", "kernel-Haswell+simd-V3") == {
        "blas": {"variables.OPENBLAS_CORETYPE"},
        "numpy": {"variables.NPY_DISABLE_CPU_FEATURES"},
    }
    assert named("kernel-Haswell", "kernel-Haswell+simd-V3") == {"numpy": {"variables.NPY_DISABLE_CPU_FEATURES"}}


def test_an_imitation_has_the_bits_of_what_it_imitates() -> None:
    for imitation, machine in (
        ("kernel-Haswell+simd-V3", "cpu-Haswell"),
        ("kernel-Nehalem+simd-V2+libm-sse2", "cpu-Nehalem"),
        ("cpu-IvyBridge", "cpu-SandyBridge"),
        ("base", "kernel-SkylakeX"),
        ("base", "elsewhere"),
    ):
        assert named(imitation, machine) == {}
    assert named("kernel-Haswell", "cpu-Haswell") == {"numpy": {"cpu.model"}}


def test_what_a_larger_cause_hides_is_not_asked_for() -> None:
    assert named("base", "threads-1") == {"blas": {"blas.threads"}}
    assert named("base", "kernel-Haswell+threads-1") == {"blas": {"variables.OPENBLAS_CORETYPE"}}
    assert answer("base", "numpy-2.2").required == {"blas", "random"}
    behind = answer("cpu-Nehalem", "numpy-2.2")  # random.wald passes through libm
    assert behind.required == {"blas", "numpy", "libm"}
    assert behind.roots["random"] == {"packages.numpy.version"}


def test_a_random_hash_seed_is_never_a_cause() -> None:
    assert named("base", "seed-1") == {}
    assert named("seed-1", "seed-2") == {"ordering": {"variables.PYTHONHASHSEED"}}


def test_another_way_to_hash_text_is_seen_only_under_one_seed() -> None:
    assert named("seed-3", "bullseye+seed-3")["ordering"] == {"os.release"}
    assert named("seed-1", "bullseye+seed-3")["ordering"] == {"os.release", "variables.PYTHONHASHSEED"}
    assert "ordering" not in named("base", "bullseye")


def test_threads_are_asked_for_where_kernels_may_be_the_same_one() -> None:
    one = answer("kernel-Excavator", "kernel-Sandybridge+threads-1+ftz")
    assert one.required == {"blas", "fpu"}
    assert one.roots["blas"] == {"variables.OPENBLAS_CORETYPE", "blas.threads"}


def test_images_are_laid_at_their_release_or_at_their_numpy() -> None:
    assert set(named("bookworm", "trixie")["libm"]) == {"os.release"}
    assert set(named("bookworm", "trixie")["blas"]) == {"os.release"}
    assert set(named("base", "bookworm")) == {"blas", "numpy", "random"}
    assert "packages.numpy.version" in named("base", "bookworm")["blas"]


def test_a_machine_with_fewer_vectors_or_cpus_has_other_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "vectors", lambda: "avx2")
    monkeypatch.setattr(parts, "cpus", lambda: 1)
    parts.here.cache_clear()
    assert named("base", "cpu-Haswell") == {}
    assert named("base", "threads-1") == {}
    assert corpus.lacking(KNOWN["simd-V3"]) == "this CPU has no AVX-512"
    assert set(named("base", "cpu-Nehalem")) == {"blas", "numpy", "libm"}
