"""How images differ: layers, then packages, then results, each from the facts of both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.compare.engine import compare
from audit.compare.side import Measured
from reports import render
from reports.comparison import Comparison, Images
from reports.report import Auditor, Battery, Fact, Observation, Operator, Report, Target


def image(
    label: str, layers: list[str], digest: str = "aaaaaaaa", operator: str = "blas.dot", **facts: Any
) -> Measured:
    """An image with one operator's result; facts by name, "__" for a dot."""
    known = {"system_packages.count": 9, "packages.count": 3, "image.layers": layers}
    known |= {name.replace("__", "."): value for name, value in facts.items()}
    result = Operator(operator, "blas", result=Observation(digest, "<f4", [1]))
    battery = Battery(2, operators=[result], facts={"blas.version": Fact(f"of {digest}")})
    target = Target(label, facts={name: Fact(value) for name, value in known.items()}, battery=battery)
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target)


def shown(comparison: Comparison, format: str = "terminal") -> list[str]:
    """The block about images."""
    lines = [line.strip() for line in render.diff(comparison, format).splitlines()]
    start = next(n for n, line in enumerate(lines) if line.startswith(("Image", "- **Image")))
    texts = [lines[start].removeprefix("Image").strip()]
    for line in lines[start + 1 :]:
        if not line.startswith(("layers:", "packages:", "results:", "- ")):
            break
        texts.append(line)
    return texts


NUMPY = {"packages__numpy__version": "2.2.4", "packages__numpy__record": "abc", "packages__numpy__installer": "pip"}
NEWER = NUMPY | {"packages__numpy__version": "2.3.1", "packages__numpy__record": "def"}
ON_4 = {"image__numpy__layer": "4 of 5: RUN pip install numpy"}


def test_layers_then_packages_then_results() -> None:
    one = image("a", ["l1", "l2", "l3", "l4", "l5"], **NUMPY, **ON_4)
    two = image("b", ["l1", "l2", "l3", "m4", "m5"], "bbbbbbbb", **NEWER, **ON_4)
    found = compare([one, two])
    assert shown(found) == [
        "layers: 3 of 5 the same",
        "packages: numpy 2.2.4 -> 2.3.1 (layer 4 of 5: RUN pip install numpy)",
        "results: other bits, first at operator blas.dot",
    ]
    assert shown(found, "markdown")[1] == "- packages: numpy 2.2.4 -\\> 2.3.1 (layer 4 of 5: RUN pip install numpy)"


def test_a_rebuilt_image_with_the_same_results() -> None:
    recipe = {"recipe__digest": "d", "recipe__context": "c", "recipe__base": ["debian:12 = 1"]}
    moved = recipe | {"recipe__base": ["debian:12 = 2"]}
    found = compare([image("a", ["l1", "l2"], **recipe, **NUMPY), image("b", ["m1", "m2"], **moved, **NUMPY)])
    assert shown(found) == [
        "recipe: another base image",
        "layers: none of 2 the same",
        "packages: all the same",
        "results: the same bits (1 operator)",
    ]
    assert found.exit == 0


def test_a_dockerfile_is_one_of_its_own_files() -> None:
    one = image("a", ["l1"], recipe__digest="1", recipe__context="1", recipe__base=[])
    same, two = image("b", ["m1"], recipe__digest="1", recipe__context="1", recipe__base=[]), image(
        "c", ["n1"], recipe__digest="2", recipe__context="2", recipe__base=[]
    )  # fmt: skip
    assert shown(compare([one, same]))[0] == "recipe: the same Dockerfile, files and base image"
    assert shown(compare([one, two]))[0] == "recipe: another Dockerfile"
    assert compare([one, two]).images == Images([1, 1], 0, ["recipe.digest", "recipe.context"], [])


def test_one_image_is_said_to_be_one() -> None:
    text = "one image (2 layers): what differs is under it (CPU, kernel, driver, limits)"
    assert shown(compare([image("a", ["x", "y"]), image("b", ["x", "y"])])) == [text]


def test_a_host_is_no_image_and_more_than_two_images_have_no_arrow() -> None:
    host = image("host", [])
    assert compare([host, image("a", ["x"])]).images is None
    three = compare([image("a", ["x", "y"], **NUMPY), image("b", ["x"], **NEWER), image("c", ["x", "y"], **NUMPY)])
    assert three.images == Images([2, 1, 2], 1)
    assert shown(three) == ["layers: 1 the same, of 2 and 1"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"system_packages__libblas3__version": "3.11"}, {}, "libblas3 3.11 -> none"),
        ({"system_packages__digest": "1"}, {"system_packages__digest": "2"}, "other system packages (other ones)"),
        ({"system_packages__libc6__version": "1", "system_packages__digest": "1"},
         {"system_packages__libc6__version": "2", "system_packages__digest": "2"}, "libc6 1 -> 2"),
        ({"packages__x__version": "1", "packages__x__record": "a"},
         {"packages__x__version": "1", "packages__x__record": "b"}, "x (other build)"),
        (NUMPY | {"system_packages__python3-numpy__version": "2.2.4-1"},
         NEWER | {"system_packages__python3-numpy__version": "2.3.1-1"}, "numpy 2.2.4 -> 2.3.1"),
        ({"os__release": "debian 12", "python__version": "3.11.2", "system_packages__python3.11-minimal__version": "1"},
         {"os__release": "debian 13", "python__version": "3.13.5"}, "system debian 12 -> debian 13 and Python 3.11.2"
         " -> 3.13.5"),
        ({f"packages__p{n}__version": "1" for n in range(9)}, {f"packages__p{n}__version": "2" for n in range(9)},
         "p0 1 -> 2, p1 1 -> 2 and p2 1 -> 2; 6 more"),
    ],
)  # fmt: skip
def test_what_is_told_of_packages(before: dict[str, str], after: dict[str, str], told: str) -> None:
    found = compare([image("a", ["x"], **before), image("b", ["y"], **after)])
    assert shown(found)[1] == f"packages: {told}"


def test_the_cause_is_named_first_and_a_layer_once() -> None:
    """libblas3 is the root by what the graph says of blas.version, where numpy is the distribution's own."""
    layers = {f"image__{name}__layer": "3 of 3: RUN apt-get install libblas3" for name in ("libblas3", "aaa")}
    common = {"packages__numpy__installer": "distribution", **layers}
    one = image("a", ["x"], system_packages__libblas3__version="1", packages__aaa__version="1", **common)
    two = image("b", ["y"], "bbbbbbbb", system_packages__libblas3__version="2", packages__aaa__version="2", **common)
    found = compare([one, two])
    assert found.causes[0].root == "system_packages.libblas3.version"
    assert found.causes[0].title == "the system package libblas3 (1 / 2)"
    assert found.causes[0].evidence[0].note == (
        "a: layer 3 of 3: RUN apt-get install libblas3; b: layer 3 of 3: RUN apt-get install libblas3"
    )
    assert shown(found)[1] == "packages: libblas3 1 -> 2 and aaa 1 -> 2 (layer 3 of 3: RUN apt-get install libblas3)"


def test_another_release_explains_its_packages() -> None:
    common = {"packages__numpy__installer": "distribution"}
    one = image("a", ["x"], os__release="debian 12", system_packages__libblas3__version="1", **common)
    two = image("b", ["y"], "bbbbbbbb", os__release="debian 13", system_packages__libblas3__version="2", **common)
    assert [cause.root for cause in compare([one, two]).causes] == ["os.release"]


def test_a_system_package_is_not_blamed_where_numpy_brings_its_own_library() -> None:
    common = {"packages__numpy__installer": "pip"}
    one = image("a", ["x"], system_packages__libblas3__version="1", **common)
    two = image("b", ["y"], "bbbbbbbb", system_packages__libblas3__version="2", **common)
    assert [cause.root for cause in compare([one, two]).causes] == ["blas.version"]


def test_the_readme_shows_a_package_of_the_distribution() -> None:
    """As it was with Debian's own OpenBLAS put into an image by dpkg."""
    common = {"packages__numpy__installer": "distribution", "operator": "blas.dot.f32.1000"}
    brought = {
        "system_packages__libopenblas0-pthread__version": "0.3.21+ds-4",
        "system_packages__libgomp1__version": "12.2.0-14+deb12u1",
        "image__libopenblas0-pthread__layer": "3 of 3: RUN (not recorded)",
        "image__libgomp1__layer": "3 of 3: RUN (not recorded)",
    }
    found = compare([image("a", ["x"], **common), image("b", ["x", "y", "z"], "bbbbbbbb", **brought, **common)])
    text = render.diff(found, "terminal").partition("In words")[0].rstrip()
    assert text in Path(__file__).parents[2].joinpath("README.md").read_text("utf-8")
