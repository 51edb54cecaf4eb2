"""Dockerfiles as targets: what their builds repeat, what one variable in them does, and that nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pytest

from audit.errors import AuditError
from audit.targets import build, recipe
from reports import codec
from reports.report import Facts, Target

if TYPE_CHECKING:
    from docker import DockerClient

SECRET = "qz7kanari"
OPENBLAS = "audit-test-openblas"


def written(folder: Path, text: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_recipe_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    text = (
        "# syntax=docker/dockerfile:1\nARG TAG=3\nfrom python:3.11-slim as build\nRUN --mount=type=cache,target=/x \\\n"
        "  # a comment between\n\n  pip install torch \\\n  numpy==2.3.5\nFROM --platform=linux/amd64 "
        f"debian@sha256:{'a' * 64}\nCOPY --from=build /x /x\nFROM build\nFROM registry.{SECRET}.com/x:${{TAG}}\n"
        "FROM scratch\n"
    )
    found = recipe.read(str(written(tmp_path / "cute", text)))
    assert found.name == "dockerfile:cute"
    assert [recipe.shown(base) for base in found.bases] == [
        "python:3.11-slim",
        f"debian@sha256:{'a' * 64}",
        "(another image)",
    ]
    assert found.unpinned() == [
        "FROM python:3.11-slim: no digest",
        "FROM (another image): no digest",
        "pip install torch: no version",
    ]


def test_a_context_is_what_the_recipe_can_copy(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", "FROM scratch\n", a="1", b="2")
    first = recipe.read(str(folder)).context
    (folder / ".dockerignore").write_text("b\n# a\n")
    assert (ignoring := recipe.read(str(folder)).context) != first
    (folder / "b").write_text("3")
    os.utime(folder / "a", (1, 1))
    assert recipe.read(str(folder)).context == ignoring
    (folder / "a").write_text("3")
    assert recipe.read(str(folder)).context != ignoring


def test_a_file_is_a_recipe_too(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", "FROM scratch\n")
    (folder / "Dockerfile.gpu").write_text("FROM debian:12\n")
    assert recipe.read(str(folder / "Dockerfile.gpu")).name == "dockerfile:Dockerfile.gpu"
    assert recipe.read(str(folder / "Dockerfile")).name == "dockerfile:x"


def test_what_cannot_be_built_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "MOST_BYTES", 10)
    for folder, words in (
        (tmp_path, "no Dockerfile there"),
        (tmp_path / "none", "no Dockerfile there"),
        (written(tmp_path / "large", "FROM scratch\n"), r"\.dockerignore"),
    ):
        with pytest.raises(AuditError, match=words):
            recipe.read(str(folder))


def test_what_changed_between_builds_names_what_it_can() -> None:
    def build(**facts: str) -> dict[str, Any]:
        return {"facts": {name.replace("__", "."): {"value": value} for name, value in facts.items()}}

    def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
        return recipe._packages_changed(before, after)

    one = build(packages__six__version="1", system_packages__libc6__version="1", system_packages__digest="a")
    assert changed(one, one) == []
    assert changed(one, build(packages__six__version="2", system_packages__libc6__version="1",
                              system_packages__digest="b")) == ["six", "other system packages"]  # fmt: skip
    assert changed(one, build(packages__six__version="1", system_packages__libc6__version="2",
                              system_packages__digest="b")) == ["libc6"]  # fmt: skip
    assert changed(one, build(system_packages__libc6__version="1", system_packages__digest="a")) == ["six"]


# -- building ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_left(engine: DockerClient) -> Iterator[None]:
    """No image without a name and no container of a step more than before: others may be at work there."""
    images, containers = _images(engine), _containers(engine)
    yield
    deadline = time.monotonic() + 10
    while (_images(engine) - images or _containers(engine) - containers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _images(engine) - images == set()
    assert _containers(engine) - containers == set()


def _images(engine: DockerClient) -> set[str]:
    return {one["Id"] for one in engine.api.images(all=True) if one["RepoTags"] in ([], None, ["<none>:<none>"])}


def _containers(engine: DockerClient) -> set[str]:
    """Those in which these recipes' steps run."""
    steps = ("date +%N", "sleep 300", "echo fine")
    return {one["Id"] for one in engine.api.containers(all=True) if any(step in one["Command"] for step in steps)}


def audit(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def measured(file: Path) -> Target:
    return codec.read(str(file))[0].targets[-1]


def values(facts: Facts, prefix: str) -> dict[str, object]:
    return {name: fact.value for name, fact in facts.items() if name.startswith(prefix) and fact.status is None}


@pytest.mark.docker
@pytest.mark.usefixtures("nothing_left")
def test_a_rebuilt_image_has_other_layers_and_the_same_results(tmp_path: Path) -> None:
    text = f"""\
FROM audit-bookworm
ARG TOKEN={SECRET}
ENV API_KEY={SECRET} OMP_NUM_THREADS=1
LABEL owner={SECRET}
RUN date +%N > /made && echo {SECRET} > /{SECRET} \\
 || pip install --index-url https://{SECRET}@host/ --token {SECRET} torch
COPY data /{SECRET}
RUN mkdir -p /opt/x/six-1.0.dist-info && touch /opt/x/six-1.0.dist-info/METADATA
USER {SECRET}
"""
    text = text.replace(f"USER {SECRET}\n", f"RUN useradd {SECRET}\nUSER {SECRET}\n")
    folder, file = written(tmp_path / "mine", text, data=SECRET), tmp_path / "report.json"
    done = audit("run", "--job", "operators", "--repeat", "1", "--dockerfile", str(folder), "-o", str(file))
    assert "dockerfile:mine: build 2 of 2" in done.stderr
    found = measured(file)
    assert found.name == "dockerfile:mine"
    assert values(found.facts, "recipe.layers_") == {
        "recipe.layers_changed": ["2 of 5", "4 of 5", "5 of 5"],
        "recipe.layers_repeat": False,
    }
    assert values(found.facts, "recipe.packages") == {"recipe.packages_changed": []}
    assert values(found.facts, "recipe.results") == {"recipe.results_repeat": True}
    assert found.facts["image.recipe"].value == [
        "(imported)", "ARG (not recorded)", "ENV OMP_NUM_THREADS=1", "LABEL (not recorded)", "RUN pip install torch",
        "COPY (not recorded)", "RUN (not recorded)", "RUN (not recorded)", "USER (not recorded)",
    ]  # fmt: skip
    assert found.facts["image.unpinned"].value == ["pip install torch: no version"]
    assert found.facts["image.env"].value == ["OMP_NUM_THREADS=1"]
    assert found.facts["image.user"].value == "not root"
    assert found.facts["image.numpy.layer"].value == "1 of 5: (imported)"
    assert SECRET not in file.read_text()
    assert SECRET not in done.stdout + audit("show", str(file), "--all").stdout


@pytest.fixture(scope="module")
def openblas(engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image whose numpy has a real OpenBLAS: Debian's has the reference BLAS, so this machine's wheel is put in."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("this Python's wheels do not fit the image's Python 3.11")
    site = Path(numpy.__file__).parent.parent
    folder = written(
        tmp_path_factory.mktemp("openblas"), "FROM audit-bookworm\nCOPY site /usr/local/lib/python3.11/dist-packages\n"
    )
    for part in ("numpy", "numpy.libs", f"numpy-{numpy.__version__}.dist-info"):
        shutil.copytree(site / part, folder / "site" / part, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    name = f"{OPENBLAS}-{os.getpid()}"
    engine.images.build(path=str(folder), tag=name, rm=True)
    yield name
    engine.images.remove(name, force=True)


@pytest.mark.docker
@pytest.mark.usefixtures("nothing_left")
def test_a_recipe_that_only_sets_a_variable_is_found_out(openblas: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "haswell", f"FROM {openblas}\nENV OPENBLAS_CORETYPE=Haswell\n")
    file = tmp_path / "report.json"
    audit("run", "--quiet", "--job", "operators", "--repeat", "1", "--container", openblas, "--dockerfile", str(folder),
          "-o", str(file))  # fmt: skip
    host, plain, built = codec.read(str(file))[0].targets
    if "avx512f" not in str(host.facts["cpu.flags"].value):
        pytest.skip("this CPU has no AVX-512, so Haswell's code is its own")
    assert built.facts["recipe.layers_repeat"].value is True
    assert built.facts["recipe.results_repeat"].reason == "not measured: all layers are the same"
    assert plain.facts["image.numpy.layer"].value == "2 of 2: COPY (not recorded)"
    assert plain.facts["image.libscipy_openblas64_.layer"].value == "2 of 2: COPY (not recorded)"
    assert plain.facts["image.libm.layer"].value == "1 of 2: (imported)"
    done = audit("diff", f"{file}#{openblas}", f"{file}#dockerfile:haswell", "--format", "json", status=1)
    (cause,) = json.loads(done.stdout)["causes"]
    assert cause["root"] == "variables.OPENBLAS_CORETYPE"
    assert cause["components"] == ["blas"]


@pytest.mark.docker
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM audit-bookworm\nRUN echo fine && printf 'last \\033]0; \\033[31mwords\\n' && exit 3\n",
         "dockerfile:mine: build 1 of 2, step 2: exit status 3; it said: last \\x1b]0; words"),
        ("FROM audit-bookworm\nRUN echo begun; echo oops >&2; exit 7\n", "step 2: exit status 7; it said: oops"),
        ("FROM audit-bookworm\nRUM x\n", "unknown instruction: RUM"),
        ("FROM audit-bookworm\nRUN --mount=type=cache,target=/x true\n", "--container IMAGE"),
        ("FROM no-such-image:1\n", "the engine has no image no-such-image:1; pull it"),
    ],
    ids=["status", "coloured", "syntax", "buildkit", "base"],
)  # fmt: skip
def test_a_build_that_fails_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", text)
    done = audit("run", "--quiet", "--dockerfile", str(folder), "-o", str(tmp_path / "x.json"), status=2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.docker
@pytest.mark.usefixtures("nothing_left")
def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", "FROM audit-bookworm\nRUN date +%N > /made\nRUN sleep 300\n")
    arguments = ["run", "--dockerfile", str(folder), "-o", str(tmp_path / "x.json")]
    process = subprocess.Popen([sys.executable, "-m", "audit", *arguments], stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said.splitlines()[-1] == "audit run: interrupted; nothing was written"


@pytest.mark.docker
@pytest.mark.usefixtures("nothing_left")
def test_an_image_whose_maker_was_killed_is_removed_by_the_next_run(engine: DockerClient, tmp_path: Path) -> None:
    from audit.targets.engine import LABEL, owner

    where, pid, _ = owner().split(":")
    folder = written(tmp_path / "mine", "FROM scratch\nCOPY Dockerfile /\n")
    for label in (f"{where}:{pid}:1", owner(), "else"):
        engine.images.build(path=str(folder), labels={LABEL: label}, rm=True)
    build.sweep(engine)
    ours = engine.api.images(all=True, filters={"label": LABEL})
    labels = {one["Labels"][LABEL] for one in ours}
    assert f"{where}:{pid}:1" not in labels
    assert {owner(), "else"} <= labels
    for one in ours:
        if one["Labels"][LABEL] in (owner(), "else"):
            engine.api.remove_image(one["Id"], force=True)


@pytest.mark.docker
def test_a_users_own_image_is_left_alone(engine: DockerClient, tmp_path: Path) -> None:
    """It was built from the same recipe, so our build finds its layers in the engine's cache."""
    folder = written(tmp_path / "mine", "FROM audit-bookworm\nRUN date +%N > /made\n")
    own, _ = engine.images.build(path=str(folder), rm=True)
    audit("run", "--quiet", "--job", "none", "--dockerfile", str(folder), "-o", str(tmp_path / "x.json"))
    assert engine.images.get(own.id).id == own.id
    assert measured(tmp_path / "x.json").facts["image.layers"].value == [
        layer[7:19] for layer in own.attrs["RootFS"]["Layers"]
    ]
    engine.images.remove(own.id)
