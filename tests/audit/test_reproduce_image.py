"""A report of an image: found again by its content and never by its name, and what it means that bits agree in it."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_machines import audit

from audit import __version__, inputs
from audit.causes import image, place
from audit.compare.side import Measured
from audit.errors import AuditError
from audit.targets import bundle
from audit.targets import engine as engines
from audit.targets import image as images
from audit.targets.container import ImageTarget
from probes import assemble, session
from reports import codec, proof
from reports.report import Auditor, Fact, Report, Target
from reports.reproduction import Reproduction
from tests.images import Images, made

if TYPE_CHECKING:
    from docker import DockerClient

DIGEST = "sha256:" + "ab" * 32


def side(name: str = "python:3.12", **facts: object) -> Measured:
    """A report of an image; facts of it by name ("layers")."""
    known = {"layers": ["0123456789ab", "ba9876543210"], **facts}
    target = Target(name, facts={f"image.{key}": Fact(value) for key, value in known.items()})  # type: ignore[arg-type]
    return Measured("there", "there.json", Report("audit-report", 1, "there", "", "", Auditor(), [target]), target)


class Engine:
    """An engine's list of images; which was inspected."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = {str(n): {"Id": f"sha256:{n:064x}", **one} for n, one in enumerate(found)}
        self.api = self

    def images(self) -> list[dict[str, Any]]:
        return [{"Id": name} for name in self.found]

    def inspect_image(self, name: str) -> dict[str, Any]:
        return self.found[name]


def of(*layers: str, **more: object) -> dict[str, Any]:
    return {"RootFS": {"Layers": [f"sha256:{layer:0<64}" for layer in layers]}, **more}


# -- which image ------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_all_of_its_layers() -> None:
    mine, its = of("0123456789ab", "ba9876543210"), side()
    others = [of("0123456789ab"), of("ba9876543210", "0123456789ab"), of(), {"RootFS": None}]
    found = image.find(Engine(*others, mine), its)  # type: ignore[arg-type]
    assert found
    assert image.of(found) == ["0123456789ab", "ba9876543210"]
    assert image.find(Engine(*others), its) is None  # type: ignore[arg-type]


def test_of_several_with_these_files_the_one_that_is_most_like_it() -> None:
    """Images can have the same files and set other variables."""
    layers = ("0123456789ab", "ba9876543210")
    twins = [of(*layers), of(*layers, RepoDigests=[f"mine@{DIGEST}"]), of(*layers)]
    found = image.find(Engine(*twins), side(digests=[DIGEST]))  # type: ignore[arg-type]
    assert found
    assert found["RepoDigests"] == [f"mine@{DIGEST}"]


@pytest.mark.parametrize(
    "layers", [None, [], "0123456789ab", ["short"], ["0123456789ab; x"], [3], ["0123456789ab"] * 5000]
)
def test_what_are_no_layers_finds_nothing(layers: object) -> None:
    assert image.layers(side(layers=layers)) == []
    assert image.find(Engine(of(), of("0123456789ab")), side(layers=layers)) is None  # type: ignore[arg-type]


def test_a_sif_file_is_no_engines() -> None:
    assert image.layers(side(store="SIF: squashfs")) == []


@pytest.mark.parametrize(
    ("name", "digests", "remedy"),
    [
        ("python:3.12", [DIGEST], f"to have it: docker pull python@{DIGEST}"),
        ("a.example:5000/team/x_y:v1", [DIGEST], f"to have it: docker pull a.example:5000/team/x_y@{DIGEST}"),
        ("x; rm -rf ~", [DIGEST], "what the report calls it is no image's name"),
        ("$(reboot)", [DIGEST], "what the report calls it is no image's name"),
        ("--help", [DIGEST], "what the report calls it is no image's name"),
        ("python:3.12", ["sha256:short"], "it is in no registry: have it sent (docker save, docker load)"),
        ("python:3.12", [], "it is in no registry: have it sent (docker save, docker load)"),
        ("dockerfile:.", [], "build it from its recipe and name it: --container IMAGE"),
    ],
)
def test_an_image_that_is_not_here(name: str, digests: list[str], remedy: str) -> None:
    said = image.lacking(side(name, digests=digests))
    assert said.endswith(remedy)
    assert "\n" not in said


def options(**chosen: object) -> argparse.Namespace:
    known = {"container": None, "packages": False, "wheels": None, "python": None, "via": None, "limit": 60.0}
    return argparse.Namespace(**{**known, **chosen})


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"wheels": "x"}, "give both"),
        ({"container": "x.sif"}, "for a SIF file: --via 'apptainer exec FILE.sif'"),
        ({"container": "x", "python": "y"}, "--container runs in an image"),
        ({"container": "x", "packages": True}, "--container runs in an image"),
    ],
)
def test_options_that_do_not_go_together(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(AuditError, match=said):
        place.chosen(options(**chosen), side(), lambda *_: None)


def silent() -> None:
    raise AuditError("no container engine answers")


def test_without_an_engine_the_search_is_made_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "connect", silent)
    found = place.chosen(options(), side(), lambda *_: None)
    assert found.image is None
    said = "the report is of an image, and no container engine answers; searched with this machine's own Python"
    assert found.notes == [said]


def test_an_interpreter_that_is_named_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "connect", silent)
    found = place.chosen(options(python="python3"), side(), lambda *_: None)
    assert (found.image, found.notes) == (None, [])


# -- on a real engine -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(engine: DockerClient) -> Iterator[Images]:
    with made(engine) as found:
        yield found


def report(client: DockerClient, name: str, file: Path, **variables: str) -> str:
    """A report of an image as it is on a machine below this one: with these variables, of which it says nothing."""
    inspected = images.inspect(client, name, False)
    target = ImageTarget(client, inspected, name)
    below = target.under(variables, {})
    captured = session.capture(session.Plan(), below.launch, lambda *_: None)
    below.close()
    outside = images.Outside(client, inspected["Id"], target.host_config)(captured, lambda *_: None)
    part = {"name": name, "interpreter": "python3", "chosen": "found in the image", **captured}
    part["facts"] = {key: value for key, value in {**captured["facts"], **outside}.items()
                     if key.removeprefix("variables.") not in variables}  # fmt: skip
    tree = assemble.report("there", [part], {"version": __version__, "bundle": bundle.digest()})
    assemble.write(str(file), assemble.to_text(tree))
    return str(file)


def reproduced(file: str, folder: Path, *more: str, status: int = 0) -> tuple[Reproduction, str]:
    saved = str(folder / "proof.json")
    done = audit("reproduce", file, "--save", saved, *more, status=status)
    found, _ = codec.read_any(saved)
    assert isinstance(found, Reproduction)
    return found, done.stdout


@pytest.mark.docker
def test_equal_bits_lay_it_at_the_image(engine: DockerClient, own: Images, tmp_path: Path) -> None:
    file = report(engine, "audit-bookworm", tmp_path / "there.json")
    # An image of the report's name is not its image.
    renamed = json.loads(Path(file).read_text())
    renamed["targets"][0]["name"] = own.over("other", {"etc/other": "x"})
    Path(file).write_text(json.dumps(renamed))
    found, said = reproduced(file, tmp_path, "--allow-edited")
    assert said.startswith(
        "THE SAME IN ITS IMAGE. Image audit-bookworm gives there's bits on this machine: run it there."
    )
    assert found.image
    assert (found.image.name, found.image.same, found.settings) == ("audit-bookworm", True, {})
    again(found, file, tmp_path)
    assert own.containers() == []


def again(found: Reproduction, file: str, folder: Path) -> None:
    """What is printed gives the report's bits in a fresh `audit run`."""
    words = shlex.split(found.next.partition(":")[2].partition("#")[0])
    assert words[:4] == ["audit", "run", "-o", "fixed.json"]
    audit("run", "--quiet", "-o", str(folder / "fixed.json"), *words[4:])
    audit("diff", file, str(folder / "fixed.json"), "--fail-on", "results", "--allow-edited")


@pytest.mark.docker
def test_unequal_bits_lie_under_it_and_the_search_goes_on_inside(engine: DockerClient, tmp_path: Path) -> None:
    mask = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"}
    file = report(engine, "audit-trixie", tmp_path / "there.json", **mask)
    if not any(flag in Path("/proc/cpuinfo").read_text().split() for flag in ("avx2", "fma")):
        pytest.skip("this CPU has nothing that the mask takes away")
    found, said = reproduced(file, tmp_path)
    assert said.startswith("REPRODUCED AND PROVEN. One setting gives there's bits in image audit-trixie:")
    assert "audit-trixie is the report's own: what differs lies under it" in said
    assert list(found.settings) == ["GLIBC_TUNABLES"]
    assert proof.missing(found) == ""
    line = f"docker run -e GLIBC_TUNABLES={found.settings['GLIBC_TUNABLES']} audit-trixie"
    assert line.replace(" ", "") in "".join(said.split())
    again(found, file, tmp_path)


@pytest.mark.docker
def test_an_image_that_is_named_and_is_another(engine: DockerClient, tmp_path: Path) -> None:
    file = report(engine, "audit-trixie", tmp_path / "there.json")
    found, _ = reproduced(file, tmp_path, "--container", "audit-bookworm", status=1)
    assert found.image
    assert (found.image.name, found.image.same) == ("audit-bookworm", False)
    assert "image audit-bookworm is not the report's: its layers are others" in found.notes


@pytest.mark.docker
def test_nothing_is_pulled(engine: DockerClient, tmp_path: Path) -> None:
    """The report names an image and a digest; the engine is only asked what it has."""
    asked: list[str] = []
    file = report(engine, "audit-bookworm", tmp_path / "there.json")
    there, _ = inputs.one(file)
    there.target.facts["image.layers"] = Fact(["0123456789ab"])
    request = engine.api.request
    engine.api.request = lambda method, url, **more: asked.append(method) or request(method, url, **more)
    try:
        assert image.find(engine, there) is None
    finally:
        engine.api.request = request
    assert set(asked) <= {"GET"}
