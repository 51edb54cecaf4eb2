"""Containers as targets: the same probes inside as outside, by the interpreter that is found there; and what is read of
images that have none."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.targets import container, still
from audit.targets import engine as engines
from audit.targets.container import ImageTarget, RunningTarget
from probes import session
from reports import codec
from reports.report import Target
from tests.images import Images, made

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

RELEASES = {"audit-bullseye": "3.9", "audit-bookworm": "3.11", "audit-trixie": "3.13"}


@pytest.fixture(scope="module")
def images(engine: DockerClient) -> Iterator[Images]:
    with made(engine) as images:
        yield images


def audit(folder: Path, *arguments: str) -> tuple[int, str, list[Target]]:
    """`audit run`: its exit status, standard error, and the targets of the report, the host's first."""
    file = folder / "x.json"
    done = subprocess.run(
        [sys.executable, "-m", "audit", "run", "--quiet", "--python", sys.executable, "-o", str(file), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, codec.read(str(file))[0].targets if file.exists() else []


def image_target(client: DockerClient, name: str, python: str | None = None) -> ImageTarget:
    return ImageTarget(client, client.api.inspect_image(name), name, python)


def version(target: ImageTarget | RunningTarget) -> str:
    with contextlib.closing(target):
        return next(str(one["start"]["python"]) for one in target.launch({"work": "facts"}) if "start" in one)


# -- which interpreter ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", RELEASES)
def test_debians_own_interpreter_is_found(image: str, engine: DockerClient) -> None:
    assert version(image_target(engine, image)).startswith(RELEASES[image])


LINK = '#!/bin/sh\nexec -a python /usr/bin/python3 "$@"\n'
WRAPPER = '#!/bin/sh\n[ "$1" = -c ] || exit 9\nexec /usr/bin/python3 "$@"\n'


@pytest.mark.parametrize(
    ("files", "changes", "chosen", "found"),
    [
        ({"env/bin/python": WRAPPER}, ["ENV VIRTUAL_ENV=/env"], None, "/env/bin/python"),
        ({"conda/bin/python": WRAPPER}, ["ENV CONDA_PREFIX=/conda"], None, "/conda/bin/python"),
        ({"first/python3": WRAPPER}, ["ENV PATH=/first:/usr/bin:/bin"], None, "python3"),
        ({"only/python": WRAPPER}, ["ENV PATH=/only"], None, "python"),
        ({}, ["ENV VIRTUAL_ENV=/gone"], None, "python3"),
        ({"mine/p": WRAPPER}, ["ENV VIRTUAL_ENV=/gone"], "/mine/p", "/mine/p"),
        ({}, ['ENTRYPOINT ["sleep", "1000"]', "HEALTHCHECK CMD false", "WORKDIR /nowhere"], None, "python3"),
    ],
    ids=["virtual", "conda", "path", "python-only", "environment-gone", "named", "entrypoint"],
)
def test_which_interpreter(
    files: dict[str, str], changes: list[str], chosen: str | None, found: str, images: Images, request: Any
) -> None:
    image = images.over(request.node.callspec.id, files, changes=changes)
    target = image_target(images.client, image, chosen)
    assert version(target).startswith("3.11")
    assert target.python == found
    assert images.containers() == []


def test_an_interpreter_that_is_too_old_is_told_the_floor(
    images: Images, interpreter: Callable[[str], str], tmp_path: Path
) -> None:
    python = Path(interpreter("3.7"))
    home = python.parent.parent
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        for path in [*home.glob("bin/python3.7"), *home.glob("lib/libpython3*"), *home.glob("lib/python3.7/*.py")]:
            archive.add(path)
        archive.add(home / "lib/python3.7/encodings")
        archive.add(home / "lib/python3.7/lib-dynload")
    image = images.archive("old", (tmp_path / "old.tar").read_bytes(), "audit-bookworm")
    status, said, targets = audit(
        tmp_path, "--job", "none", "--container", image, "--container-python", f"{home}/bin/python3.7"
    )
    assert (status, said.count("\n"), len(targets)) == (3, 1, 2)
    assert "is Python 3.7" in said
    assert "the probes need 3.8 or newer" in said


class Counted(ImageTarget):
    """Counts the containers that it made."""

    made = 0

    def _created(self, python: str) -> str:
        self.made += 1
        return super()._created(python)


def test_what_was_begun_beside_other_work_is_what_is_measured(images: Images) -> None:
    client = images.client
    target = Counted(client, client.api.inspect_image("audit-bookworm"), "audit-bookworm")
    plan = session.plan(["none"], 1)
    target.prepare(session.request(plan, "facts"))
    captured = session.capture(plan, target.launch, lambda *_: None)
    target.close()
    assert captured["facts"]["python.version"]["value"].startswith("3.11")
    assert "incomplete" not in captured
    assert (target.made, images.containers()) == (1, [])


@pytest.mark.parametrize("asked", ["nothing", "something else"])
def test_what_was_begun_and_not_needed_is_removed(asked: str, images: Images) -> None:
    client = images.client
    target = Counted(client, client.api.inspect_image("audit-bookworm"), "audit-bookworm")
    with contextlib.closing(target):
        target.prepare({"work": "facts"})
        if asked != "nothing":
            records = list(target.launch({"work": "facts", "machine": True}))
            assert any("machine" in one for one in records)
    assert (target.made, images.containers()) == (1 + (asked != "nothing"), [])


def test_a_running_container_is_left_as_it_was(engine: DockerClient, tmp_path: Path) -> None:
    api = engine.api
    name = api.create_container("audit-trixie", ["sleep", "1000"], environment={"OMP_NUM_THREADS": "1"})["Id"]
    api.start(name)
    try:
        before = api.diff(name)
        status, said, (_, inside) = audit(tmp_path, "--job", "none", "--exec", name)
        assert (status, said) == (0, "")
        assert inside.facts["python.version"].value.startswith("3.13")
        assert inside.facts["variables.OMP_NUM_THREADS"].value == "1"
        assert api.diff(name) == before
        assert [line[-1] for line in api.top(name)["Processes"]] == ["sleep 1000"]
    finally:
        api.remove_container(name, force=True)


# -- inside as outside ------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_bits_inside_and_outside(images: Images, tmp_path: Path) -> None:
    """An image of this machine's own interpreter, numpy and libraries, at the same paths: whatever would differ now
    would be the container's doing."""
    script = """import sys, numpy, numpy.linalg, numpy.fft, ctypes, hashlib
print(sys.base_prefix, sys.prefix, numpy.__path__[0], sep="\\n")
print(*{line.split()[-1] for line in open("/proc/self/maps") if ".so" in line})"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    base, prefix, numpy, mapped = told.splitlines()
    folders = [Path(base, "bin"), Path(base, "lib"), Path(prefix, "bin"), Path(prefix, "pyvenv.cfg"), Path(numpy)]
    folders += [path for path in (Path(numpy).parent / "numpy.libs",) if path.exists()]
    libraries = [path for path in mapped.split() if not path.startswith((base, prefix))]
    skipped = re.compile(r"/(__pycache__|test|tests|ensurepip|idlelib|lib2to3|pip|config-[^/]*)(/|$)|\.a$")

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if skipped.search(member.name) else member

    with tarfile.open(tmp_path / "own.tar", "w") as archive:
        for path in folders:
            archive.add(path, filter=wanted)
        for library in libraries:
            archive.add(library)
    image = images.archive("own", (tmp_path / "own.tar").read_bytes(), "audit-bookworm")
    status, said, (host, inside) = audit(
        tmp_path, "--job", "operators", "--repeat", "1", "--container", image, "--container-python", sys.executable
    )
    assert said == ""
    assert status == 0
    assert host.battery
    assert inside.battery
    digests = [
        {one.name: one.result.digest for one in target.battery.operators if one.result and not one.hazard}
        for target in (host, inside)
        if target.battery
    ]
    assert len(digests[0]) > 600
    assert digests[0] == digests[1]


def test_the_limits_of_our_containers(engine: DockerClient) -> None:
    target = image_target(engine, "audit-bookworm")
    child = target.start()
    try:
        ((name, _),) = target.containers.values()
        found = engine.api.inspect_container(name)
        host = found["HostConfig"]
        assert (host["NetworkMode"], host["CapAdd"], host["CapDrop"]) == ("none", None, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert 0 < host["Memory"] == host["MemorySwap"] < engines.info(engine)["MemTotal"]
        assert host["PidsLimit"] == container.MOST_PROCESSES
        assert host["AutoRemove"]
        assert host["LogConfig"]["Type"] == "none"
        assert not host["Binds"]
        assert not host["Privileged"]
        assert found["Config"]["Labels"][engines.LABEL] == engines.owner()
    finally:
        target.end(child)
        target.close()


def test_no_thread_and_no_descriptor_is_left_by_children(engine: DockerClient) -> None:
    """docker-py keeps some idle connections; they end with its client, and what is ours ended before."""
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    client = engines.connect()
    target = image_target(client, "audit-bookworm")
    for _ in range(3):
        version(target)
    assert threading.active_count() == threads
    client.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors


# -- images that are not run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", RELEASES)
def test_an_images_files_tell_what_its_probes_tell(image: str, engine: DockerClient) -> None:
    target = image_target(engine, image)
    with contextlib.closing(target):
        facts = next(one["machine"] for one in target.launch({"work": "facts", "machine": True}) if "machine" in one)
    read = target.still()
    packages = [name for name in facts if name.startswith("system_packages.")]
    assert {f"system_packages.{name}.version" for name in ("libc6", "libblas3", "python3-numpy")} < {*packages}
    for name in ("os.release", "os.variant", "libc.name", "libc.version", *packages):
        assert read[name] == {"value": facts[name]["value"], "source": still.SOURCE}
    assert read["python.version"] == {"status": "absent", "reason": still.NO_PYTHON}
    assert set(read) <= set(facts)


def test_an_alpine_like_image(images: Images) -> None:
    files: dict[str, Any] = {
        "etc/os-release": ("../usr/lib/os-release",),
        "usr/lib/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.1\nPRETTY_NAME="Alpine Linux v3.20"\n',
        "lib/ld-musl-x86_64.so.1": b"\x7fELF\0musl libc\0" + b"1.2.5\0Version %s\0",
        "lib/apk/db/installed": "P:musl\nV:1.2.5-r0\n\nP:busybox\nV:1.36.1-r29\n",
    }
    name = images.scratch("alpine", files)
    read = image_target(images.client, name).still()
    values = {fact: read[fact].get("value") for fact in ("os.release", "os.variant", "libc.name", "libc.version")}
    assert list(values.values()) == ["alpine 3.20.1", "Alpine Linux v3.20", "musl", "1.2.5"]
    assert images.containers() == []


@pytest.mark.parametrize(
    ("path", "content", "library"),
    [
        ("var/lib/dpkg/status.d/libc6", "Package: libc6\nSource: glibc\nVersion: 2.36-9+deb12u10\n", "glibc 2.36"),
        ("var/lib/dpkg/status", "Package: bash\nVersion: 5.2\n\nPackage: libc6\nVersion: 2.41-12\n", "glibc 2.41"),
        ("lib/apk/db/installed", "C:Q1x\nP:musl\nV:1.2.5-r0\n\nP:busybox\nV:1.36.1-r29\n", "musl 1.2.5"),
        ("var/lib/dpkg/status", "Package: bash\nVersion: 5.2\n", "None None"),
    ],
    ids=["distroless", "dpkg", "apk", "none"],
)
def test_a_c_library_that_only_the_package_database_tells(
    path: str, content: str, library: str, images: Images, request: Any
) -> None:
    read = image_target(images.client, images.scratch(request.node.callspec.id, {path: content})).still()
    assert f"{read['libc.name'].get('value')} {read['libc.version'].get('value')}" == library
    assert read["system_packages.count"]["value"] == content.count("Version: ") + content.count("V:")


def test_the_packages_of_a_distroless_image(images: Images) -> None:
    """A file each, beside digests and a link; a package of somebody's own is counted and not named."""
    folder = "var/lib/dpkg/status.d/"
    files: dict[str, Any] = {
        folder + "libc6": "Package: libc6\nVersion: 2.36-9+deb12u10\n",
        folder + "libc6.md5sums": "0123456789abcdef  usr/share/doc/libc6/copyright\n",
        folder + "libgomp1": "Package: libgomp1\nVersion: 12.2.0-14",
        folder + "qz7kanari": "Package: qz7kanari\nVersion: 1\n",
        folder + "z": ("../../../../../../../../../etc/passwd",),
    }
    read = image_target(images.client, images.scratch("distroless-packages", files)).still()
    told = {name: fact["value"] for name, fact in read.items() if name.startswith("system_packages.")}
    assert told.pop("system_packages.digest")
    assert told == {
        "system_packages.count": 3,
        "system_packages.libc6.version": "2.36-9+deb12u10",
        "system_packages.libgomp1.version": "12.2.0-14",
    }
    assert "qz7kanari" not in json.dumps(read)


def test_links_stay_inside_and_huge_files_are_not_read(images: Images) -> None:
    files: dict[str, Any] = {
        "etc/os-release": ("../../../../../../etc/here",),
        "etc/here": "ID=inside\n",
        "lib/libc.so.6": ("libc.so.6",),
    }
    read = image_target(images.client, images.scratch("links", files)).still()
    assert read["os.release"]["value"] == "inside"
    assert read["libc.name"]["status"] == "absent"
    huge = images.scratch("huge", {"lib/libc.so.6": bytes((32 << 20) + 1)})
    read = image_target(images.client, huge).still()
    assert read["libc.version"] == {"status": "absent", "reason": "larger than 32 MiB"}


def test_an_incomplete_container_never_looks_like_agreement(images: Images, tmp_path: Path) -> None:
    status, _, _ = audit(tmp_path, "--job", "none", "--container", images.scratch("nothing", {}))
    assert status == 3
    report = str(tmp_path / "x.json")
    for command, expected in ((["show", report], 3), (["diff", report], 3), (["diff", report, "--format", "json"], 3)):
        done = subprocess.run([sys.executable, "-m", "audit", *command], capture_output=True, text=True, check=False)
        assert (command[0], done.returncode) == (command[0], expected), done.stdout
        assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["verdict"] in ("incomplete", "not-comparable")
