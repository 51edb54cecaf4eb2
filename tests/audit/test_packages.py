"""Packages as a cause: which versions a report may choose, and that the one that matters is told from the others."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import Bench, Machine, measured

from audit.causes import packages
from audit.causes.laboratory import Given, Under
from audit.causes.reproduce import reproduce
from audit.compare.side import Measured
from reports import proof
from reports.report import Fact
from reports.reproduction import Reproduction


def having(side: Measured, **facts: object) -> Measured:
    """A side with these packages in place of its own, by name ("numpy": "2.4.6"), and other facts ("a__b": for a.b)."""
    known = {name: fact for name, fact in side.target.facts.items() if not name.startswith("packages.")}
    for name, value in facts.items():
        key = name.replace("__", ".") if "__" in name else f"packages.{name}.version"
        known[key] = Fact(value)  # type: ignore[arg-type]
    return replace(side, target=msgspec.structs.replace(side.target, facts=known))


def differing(here: dict[str, object], there: dict[str, object]) -> packages.Differing:
    return packages.differing(having(measured(Machine()), **here), having(measured(Machine()), **there))


# -- what a report may choose -----------------------------------------------------------------------------------------


def test_versions_of_what_both_have() -> None:
    found = differing({"a": "1.0", "b": "2.0", "c": "3"}, {"a": "1.0", "b": "2.1rc1", "d": "4"})
    assert found.versions == {"b": "2.1rc1"}
    assert found.refused == {}
    assert found.notes == [
        "packages that are only in the report, not tried: d",
        "packages that are only here, not tried: c",
    ]


@pytest.mark.parametrize(("one", "two"), [("1.0", "1.0.0"), ("1", "1.0"), ("1.0+cpu", "1.0.0+cpu"), ("odd", "odd")])
def test_what_is_one_version_is_not_another(one: str, two: str) -> None:
    assert differing({"a": one}, {"a": two}).versions == {}


@pytest.mark.parametrize(
    "version", ["2.3.5", "1", "2.0.0rc1", "1.0a2", "1.2.post3", "2.6.0+cu124", "2024.8.30", "1.26.4+mkl.1"]
)
def test_released_versions_may_be_tried(version: str) -> None:
    assert differing({"a": "9"}, {"a": version}).versions == {"a": version}


@pytest.mark.parametrize(
    "version",
    [
        "2.3.5 --index-url http://evil",
        "../x",
        "2.3.5; python_version > '3'",
        "2.3.5\n--pre",
        "*",
        "2.3.*",
        ">=1",
        "1!2.0",
        "2.0.dev1",
        "2.0+UPPER",
        "@ file:///etc/passwd",
        "1.2.3.4.5.6.7.8",
        "9" * 1000,
        "١.٢",
        "1.0\u202e",
        "-r/etc/passwd",
        "",
    ],
)
def test_what_is_no_release_is_refused_in_one_line(version: str) -> None:
    found = differing({"a": "9"}, {"a": version})
    assert found.versions == {}
    assert found.refused == {"a": "what the report gives as its version is no release"}


@pytest.mark.parametrize(
    "name", ["numpy; rm -rf", "../x", "-r", "a b", "A", "numpy[extra]", "a@http://evil", "x" * 101]
)
def test_a_name_is_one_that_is_installed_here(name: str) -> None:
    """Even if this side should have it under such a name."""
    side = having(measured(Machine()), a="1")
    odd = {**side.target.facts, f"packages.{name}.version": Fact("2")}
    there = replace(side, target=msgspec.structs.replace(side.target, facts=odd))
    for here in (side, replace(there, target=msgspec.structs.replace(there.target))):
        found = packages.differing(here, there)
        assert (found.versions, found.refused, found.notes) == ({}, {}, [])


def test_ten_thousand_packages_choose_nothing() -> None:
    many: dict[str, object] = {f"p{number}": "1.0" for number in range(10_000)}
    found = differing({"a": "1"}, {**many, "a": "2"})
    assert found.versions == {"a": "2"}
    assert found.notes == ["packages that are only in the report, not tried: p0, p1, p10 and 9997 more"]


def test_a_working_tree_is_had_from_nowhere() -> None:
    found = differing({"a": "1"}, {"a": "2", "packages__a__editable": True})
    assert (found.versions, found.refused) == ({}, {"a": "2 is a working tree there"})


def test_another_python_is_said() -> None:
    mine = {"python__implementation": "CPython", "python__version": "3.11.7"}
    assert differing(mine, {**mine, "python__version": "3.11.2"}).notes == []
    assert differing(mine, {**mine, "python__version": "3.13.5"}).notes == [
        "environments are made with this CPython 3.11.7; what CPython 3.13.5 does otherwise by itself, no package can "
        "change"
    ]


def test_another_build_of_one_version_is_said() -> None:
    mine = having(measured(Machine()), a="1", packages__a__record="one", b="1", packages__b__record="same", c="1")
    its = having(measured(Machine()), a="1", packages__a__record="two", b="1", packages__b__record="same", c="1")
    assert packages.rebuilt(mine, its) == ["of the same version but not shown to be the same build: a"]
    assert packages.rebuilt(mine, mine) == []


# -- which one it is --------------------------------------------------------------------------------------------------


class Shelf:
    """Environments that can be had at once, but for versions in `lacking`; what was asked for."""

    def __init__(self, *lacking: str) -> None:
        self.lacking = lacking
        self.unavailable: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []

    def available(self, versions: dict[str, str]) -> dict[str, str]:
        self.asked.append(versions)
        self.unavailable = {name: "no such wheel" for name in versions if name in self.lacking}
        return {name: version for name, version in versions.items() if name not in self.lacking}


class Installed(Bench):
    """A simulated machine with more packages than numpy, which decide nothing."""

    def __init__(self, machine: Machine, mine: dict[str, str], shelf: Shelf) -> None:
        super().__init__(machine)
        self.mine = mine
        self.environments = shelf  # type: ignore[assignment]

    def measure(self, values: Under, *rest: object, **more: object) -> Given:  # type: ignore[override]
        given = super().measure(values, *rest, **more)  # type: ignore[arg-type]
        if given.side:
            have = {**self.mine, "numpy": self.machine.numpy, **values.packages}
            given.side = having(given.side, **have)
        return given


def found(there: Machine, its: dict[str, str], mine: dict[str, str], *lacking: str) -> tuple[Reproduction, Shelf]:
    shelf = Shelf(*lacking)
    side = having(measured(there), **{**its, "numpy": there.numpy})
    return reproduce(side, Installed(Machine(), mine, shelf)), shelf  # type: ignore[arg-type]


OTHERS = {f"p{number}": "1.0" for number in range(12)}
NEWER = dict.fromkeys(OTHERS, "2.0")


@pytest.mark.parametrize("others", [0, 1, 2, 3, 5, 12])
def test_one_package_of_many(others: int) -> None:
    its, mine = ({name: one[name] for name in list(OTHERS)[:others]} for one in (OTHERS, NEWER))
    one, _ = found(Machine(numpy="2.3.5"), its, mine)
    assert one.verdict == "reproduced"
    assert (one.settings, one.packages) == ({}, {"numpy": "2.3.5"})
    assert list(one.necessary_packages) == ["numpy"]
    assert proof.missing(one) == ""
    assert {cause.status for cause in one.causes} == {"proven"}
    assert [tried.outcome for tried in one.tried] == ["kept"]
    assert one.tried[0].packages == {**its, "numpy": "2.3.5"}


def test_a_package_and_a_setting_in_its_environment() -> None:
    """The package alone shows nothing where the other kernel hides it, and still the settings are found beside it."""
    one, _ = found(Machine("Haswell", numpy="2.3.5"), OTHERS, NEWER)
    assert one.verdict == "reproduced"
    assert one.packages == {"numpy": "2.3.5"}
    assert {"OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"} <= set(one.settings)
    assert set(one.necessary) == set(one.settings)
    assert proof.missing(one) == ""


def test_packages_that_change_nothing_are_no_part_of_it() -> None:
    one, _ = found(Machine("Haswell"), OTHERS, NEWER)
    assert one.verdict == "reproduced"
    assert one.packages == {}
    assert [tried.outcome for tried in one.tried if tried.packages] == ["not needed"]


def test_without_the_wheel_that_matters() -> None:
    one, _ = found(Machine(numpy="2.3.5"), OTHERS, NEWER, "numpy")
    assert not one.reproduced
    assert one.packages == {}
    assert one.unavailable == {"numpy": "no such wheel"}


def test_nothing_is_looked_for_where_bits_agree() -> None:
    one, shelf = found(Machine(), OTHERS, NEWER)
    assert one.verdict == "same"
    assert shelf.asked == []


def test_an_environment_that_cannot_run_is_noted_and_the_search_goes_on() -> None:
    bench = Installed(Machine(), NEWER, Shelf())
    bench.crash = lambda under: "SIGSEGV" if under.packages else ""
    there = having(measured(Machine("Haswell")), **OTHERS, numpy="2.4.6")
    one = reproduce(there, bench)  # type: ignore[arg-type]
    assert one.verdict == "reproduced"
    assert one.packages == {}
    assert one.tried[0].outcome == "SIGSEGV"


@given(st.dictionaries(st.sampled_from(list(OTHERS)), st.sampled_from(["1.0", "2.0", "3.0"])), st.booleans())
def test_only_numpy_is_ever_named(its: dict[str, str], older: bool) -> None:
    one, _ = found(Machine(numpy="2.3.5" if older else "2.4.6"), its, NEWER)
    assert one.packages == ({"numpy": "2.3.5"} if older else {})
