"""What a hostile image, container or engine does to `audit run`: one clear line and the right exit status, the host's
part of the report kept where it was measured, nothing of ours left with the engine, no process, and no traceback.

The tables are data. `how` is a line of shell in which `run` is `audit run --quiet --job none`, `$NAME` is the image
that IMAGES calls so, and `$C` a container that runs, or does not, as `container` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.targets import engine as engines
from reports import codec
from reports.report import Target
from tests.images import Images, made, minimal, tar

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

SECONDS = 60
"""More than any fault takes, on a machine that is busy."""

HALT = """
import os, time
write = os.write
def halting(descriptor, data):
    if b'"begin":{"name":"libm.exp2"' in bytes(data):
        write(descriptor, data)
        open("/halted", "w").close()
        time.sleep(1000)
    return write(descriptor, data)
os.write = halting
"""
"""A sitecustomize that stops in the battery for good, and says so by a file."""

SITE = "/usr/lib/python3.11/sitecustomize.py"
FIRST = "/usr/local/bin/python3"
"""What the default PATH finds before Debian's own interpreter."""

FOREIGN = b"\x7fELF\2\1\1" + 9 * b"\0" + (2).to_bytes(2, "little") + (247).to_bytes(2, "little") + 100 * b"\0"
"""The beginning of a program for a machine (BPF) that no engine runs or emulates."""


def script(line: str) -> dict[str, str]:
    return {FIRST: f"#!/bin/sh\n{line}\n"}


IMAGES: dict[str, Callable[[Images, str], str]] = {
    "EMPTY": lambda images, name: images.scratch(name, {}),
    "FOREIGN": lambda images, name: images.scratch(
        name, {"usr/bin/python3": FOREIGN, "etc/os-release": "ID=alpine\nVERSION_ID=3.20\n"}
    ),
    "TRAVERSAL": lambda images, name: images.scratch(
        name, {"etc/os-release": ("../../../../../../../../etc/hostname",), "lib/libc.so.6": ("/lib/libc.so.6",)}
    ),
    "HUGE": lambda images, name: images.scratch(
        name, {"etc/os-release": b"ID=debian\n" * 200_000, "lib/libc.so.6": bytes(33 << 20)}
    ),
    "SLEEPS": lambda images, name: images.over(name, script("trap '' TERM; sleep 1000 & sleep 1000")),
    "GARBAGE": lambda images, name: images.over(name, script("head -c 3000000 /dev/urandom; exit 7")),
    "BANNER": lambda images, name: images.over(name, script('yes | head -c 3000001; exec /usr/bin/python3 "$@"')),
    "CRASHES": lambda images, name: images.over(
        name, {SITE: "import ctypes, signal\nsignal.signal(11, signal.SIG_DFL)\nctypes.string_at(0)\n"}
    ),
    "EXITS": lambda images, name: images.over(name, {SITE: "import os\nos._exit(3)\n"}),
    "REFUSES": lambda images, name: images.over(name, {SITE: "raise SystemExit('licence expired')\n"}),
    "EATS": lambda images, name: images.over(name, {SITE: "eaten = b'1' * (512 << 20)\n"}),
    "VANISHES": lambda images, name: images.over(name, script('rm "$0"; exec /usr/bin/python3 "$@"')),
    "NOBODY": lambda images, name: images.over(name, {}, changes=["USER nosuch"]),
    "RIGHTLESS": lambda images, name: images.over(name, {}, changes=["USER 54321:54321", "WORKDIR /root"]),
    "CLOSES": lambda images, name: images.over(name, script("exec >&- 2>&-; sleep 1000")),
    "HALTS": lambda images, name: images.over(name, {SITE: HALT}),
    "GOOD": lambda images, name: images.over(name, {}),
}


@dataclass(frozen=True)
class Fault:
    """One row. words: in the only line on standard error, "" for none. incomplete: what the last target's part of the
    report says that it lacks. container: how `$C` is started (or stopped), if the row has one. facts: how the last
    target's part has its facts: "all" from a run, "still" from files, "" for none."""

    name: str
    what_happens: str
    how: str
    status: int
    words: str = ""
    incomplete: str = ""
    container: str = ""
    facts: str = ""


REFUSED = [
    Fault("no-engine", "no engine listens: refused before anything is measured",
          "DOCKER_HOST=unix:///nowhere/docker.sock run --container $GOOD -o x.json", 2, "no container engine answers"),
    Fault("no-permission", "the engine's socket belongs to others: refused, with what to do",
          "$AS_OTHER ./bin/run --container $GOOD -o x.json", 2, "you may not use its socket"),
    Fault("no-image", "the engine has no such image: refused, and nothing is pulled",
          "run --container no/such:image -o x.json", 2, "pull it, or let audit do that: --pull"),
    Fault("no-registry", "an image is to be pulled and its registry does not answer: refused",
          "run --container 127.0.0.1:1/x:1 --pull -o x.json", 2, "image 127.0.0.1:1/x:1 cannot be pulled: "),
    Fault("no-name", "an image's name is empty: refused", "run --container '' -o x.json", 2, "--container is empty"),
    Fault("no-container", "the engine has no such container: refused", "run --exec nosuch -o x.json", 2,
          "the engine has no container nosuch"),
    Fault("stopped", "the container is stopped: refused, with its image", "run --exec $C -o x.json", 2,
          "does not run; start it, or audit its image", container="stopped"),
    Fault("paused", "the container is paused: refused", "run --exec $C -o x.json", 2, "is paused; docker unpause",
          container="paused"),
    Fault("twice", "one image is named twice: refused", "run --container $GOOD --container $GOOD -o x.json", 2,
          "is asked for twice"),
]  # fmt: skip

NO_PYTHON = [
    Fault("empty", "the image holds nothing: said, and all its facts are absent",
          "run --container $EMPTY -o x.json", 3, "no Python that can be started in image", "no Python in the image",
          facts="still"),
    Fault("foreign", "its Python is of another architecture: said, and the files are read",
          "run --container $FOREIGN -o x.json", 3, "no Python that can be started", "no Python in the image",
          facts="still"),
    Fault("traversal", "its links lead out of it and in circles: followed inside it only",
          "run --container $TRAVERSAL -o x.json", 3, "no Python that can be started", "no Python in the image",
          facts="still"),
    Fault("huge", "its files are huge: not read beyond a limit",
          "run --container $HUGE -o x.json", 3, "no Python that can be started", "no Python in the image",
          facts="still"),
    Fault("misnamed", "--container-python names nothing: said, and the files are read",
          "run --container $GOOD --container-python nosuch -o x.json", 3, "no nosuch in image",
          "no such interpreter in the image", facts="still"),
    Fault("no-user", "its user does not exist: said", "run --container $NOBODY -o x.json", 3, "nosuch",
          "it could not run the probes", facts="still"),
    Fault("exec-misnamed", "there is no such interpreter in the running container: said",
          "run --exec $C --container-python nosuch -o x.json", 3, "no nosuch in container",
          "no such interpreter in the image", container="sleep 1000", facts="still"),
]  # fmt: skip

HOSTILE = [
    Fault("never-returns", "its interpreter never says a word: ended after --limit seconds",
          "run --limit 1 --container $SLEEPS -o x.json", 3, "no progress for 1 s", "it could not run the probes",
          facts="still"),
    Fault("closes", "it closes its output and goes on: ended, as one that is silent",
          "run --limit 1 --container $CLOSES -o x.json", 3, "no progress for 1 s", "it could not run the probes",
          facts="still"),
    Fault("garbage", "it prints garbage and ends: its status is said", "run --container $GARBAGE -o x.json", 3,
          "(exit status 7)", "it could not run the probes", facts="still"),
    Fault("banner", "it prints megabytes before Python starts: measured all the same",
          "run --container $BANNER -o x.json", 0, facts="all"),
    Fault("crashes", "it crashes: the signal is named", "run --container $CRASHES -o x.json", 3, "(SIGSEGV)",
          "it could not run the probes", facts="still"),
    Fault("exits", "it ends before the probes: its status is said", "run --container $EXITS -o x.json", 3,
          "(exit status 3)", "it could not run the probes", facts="still"),
    Fault("refuses", "it refuses with a message: quoted on the terminal, not in the report",
          "run --container $REFUSES -o x.json", 3, "it said: SystemExit: licence expired",
          "it could not run the probes", facts="still"),
    Fault("out-of-memory", "it takes more memory than its container may: that and the limit are said",
          "small --container $EATS -o x.json", 3, "killed for memory: limit 0.2 GB", "it could not run the probes",
          facts="still"),
    Fault("hangs-half-way", "it hangs in the battery: the operator is marked, the rest is measured by another process",
          "run --limit 2 --job operators --repeat 1 --container $HALTS -o x.json", 3, "operator libm.exp2",
          "operator libm.exp2: no progress for 2 s", facts="all"),
    Fault("rightless", "its user has no rights: measured", "run --container $RIGHTLESS -o x.json", 0, facts="all"),
    Fault("read-only", "the container's root is read-only: measured, since nothing is written",
          "run --exec $C -o x.json", 0, container="sleep 1000 (read-only)", facts="all"),
    Fault("vanishes", "its interpreter is gone when it is to be started again: what was measured is kept",
          "run --job operators --repeat 2 --exec $C --container-python " + FIRST + " -o x.json", 3,
          "cannot be started again", "operators: ", container="vanishes", facts="all"),
    Fault("exec-hangs", "a process in somebody's container hangs: ended from inside, and the container runs on",
          "run --limit 1 --exec $C -o x.json --container-python " + FIRST, 3, "no progress for 1 s",
          "it could not run the probes", container="hangs", facts="still"),
    Fault("two-images", "one image fails and the next does not: both are in the report",
          "run --container $EXITS --container $GOOD -o x.json", 3, "(exit status 3)", facts="all"),
]  # fmt: skip

FAULTS = [*REFUSED, *NO_PYTHON, *HOSTILE]

SMALL = "from audit.targets import container; container.SHARE_OF_MEMORY = {share}; " \
        "import sys; from audit.__main__ import main; sys.exit(main())"  # fmt: skip


class Place:
    """An empty folder in which a fault happens, and what must be true of it afterwards."""

    def __init__(self, folder: Path, images: Images, names: dict[str, str]) -> None:
        self.folder = folder
        self.images = images
        self.names = names
        self.marker = secrets.token_hex(8)
        share = 0.2e9 / engines.info(images.client)["MemTotal"]
        (folder / "bin").mkdir()
        options = "--quiet --job none --label here"
        for name, words in (("run", "-m audit run"), ("small", f"-c '{SMALL.format(share=share)}' run")):
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\nexec '{sys.executable}' {words} {options} \"$@\"\n")
            path.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            **self.names,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "AS_OTHER": "setpriv --reuid=54321 --regid=54321 --clear-groups",
            "MARKER": self.marker,
            **more,
        }

    def start(self, line: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def left(self) -> list[str]:
        """Processes of this test that still run, and containers that the engine still lists."""
        for _ in range(40):
            running = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if self._mine(path)]
            if not running:
                break
            time.sleep(0.05)
        return running + [one for one in self.images.containers() if "audit-c-" not in one]

    def end_processes(self) -> None:
        for path in Path("/proc").glob("[0-9]*/environ"):
            if self._mine(path):
                os.kill(int(path.parent.name), signal.SIGKILL)

    def _mine(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            return self.marker.encode() in path.read_bytes()
        return False

    def targets(self) -> list[Target]:
        return codec.read(str(self.folder / "x.json"))[0].targets


@pytest.fixture(scope="module")
def images(engine: DockerClient) -> Iterator[Images]:
    with made(engine) as images:
        yield images


@pytest.fixture(scope="module")
def python_files(engine: DockerClient) -> bytes:
    return minimal()


@pytest.fixture(scope="module")
def names(images: Images, python_files: bytes) -> dict[str, str]:
    images.base = images.imported("base", python_files)
    return {name: make(images, name.lower()) for name, make in IMAGES.items()}


@pytest.fixture
def place(images: Images, names: dict[str, str]) -> Iterator[Place]:
    """Not pytest's own temporary folder: another user must be able to enter it."""
    folder = Path(tempfile.mkdtemp(prefix="audit-faults-"))
    folder.chmod(0o777)
    yield Place(folder, images, names)
    shutil.rmtree(folder)


@contextlib.contextmanager
def container(how: str, place: Place) -> Iterator[str]:
    """A container that somebody else has."""
    api = place.images.client.api
    name = "audit-c-" + secrets.token_hex(4)
    image = place.names[{"vanishes": "VANISHES", "hangs": "SLEEPS"}.get(how, "GOOD")]
    host = api.create_host_config(network_mode="none", read_only="read-only" in how)
    api.create_container(image, ["sleep", "1000"], name=name, host_config=host)
    try:
        if how != "stopped":
            api.start(name)
        if how == "paused":
            api.pause(name)
        yield name
        if how not in ("stopped", "paused"):
            processes = {line[-1] for line in api.top(name)["Processes"]}
            assert processes == {"sleep 1000"}, "the container is left as it was"
    finally:
        api.remove_container(name, force=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and standard error."""
    try:
        _, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        errors += f"no end after {SECONDS} s\n"
    return process.returncode, errors


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault(fault: Fault, place: Place) -> None:
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(container(fault.container, place)) if fault.container else ""
        status, errors = ended(place.start(fault.how, C=name))
        assert "Traceback" not in errors
        assert (status, errors.count("\n")) == (fault.status, 1 if fault.words else 0), errors
        assert fault.words in errors
        assert place.left() == []
        if fault.status == 2:
            assert not (place.folder / "x.json").exists()
            return
        host, *others = place.targets()
        assert host.facts["libc.version"].value
        assert host.incomplete == []
        last = others[-1]
        assert fault.incomplete in "; ".join(last.incomplete)
        assert any(one.incomplete for one in others) == (fault.status == 3)
        assert bool(last.facts) == bool(fault.facts)
        if fault.facts == "all":
            assert last.facts["python.version"].value
        if fault.facts == "still":
            assert last.facts["python.version"].status == "absent"
        assert "licence" not in json.dumps(json.loads((place.folder / "x.json").read_text()))


def test_every_fault_has_its_own_name_and_a_sentence() -> None:
    rows = [*FAULTS, *INTERRUPTIONS, *ENGINE_FAULTS]
    assert len({row.name for row in rows}) == len(rows) > 30
    assert all(": " in row.what_happens and "|" not in row.what_happens for row in rows)
    assert {word for row in FAULTS for word in IMAGES if f"${word}" in row.how} <= set(IMAGES)


# -- signals ----------------------------------------------------------------------------------------------------------

CREATING = """
import os, sys, time
from audit.targets import engine
ending = engine.ending
def halting(*arguments):
    open(os.environ["HALTED"], "w").close()
    time.sleep(1)
    return ending(*arguments)
engine.ending = halting
from audit.__main__ import main
sys.exit(main())
"""
"""`audit` that stops for a second between a container's creation and its start."""

STUCK = """
import os, sys, time
from audit.targets import engine
from audit.targets.container import ImageTarget
def stuck(self, python):
    open(os.environ["HALTED"], "w").close()
    time.sleep(1000)
engine.SECONDS_TO_ANSWER = 1
ImageTarget._created = stuck
from audit.__main__ import main
sys.exit(main())
"""
"""`audit` with an engine that never answers when it is to create a container, and little patience."""

HOST_HALTS = """
import os, time
write = os.write
def halting(descriptor, data):
    if b'"begin":{"name":"libm.exp2"' in bytes(data):
        open(os.environ["HALTED"], "w").close()
        time.sleep(1000)
    return write(descriptor, data)
os.write = halting
"""

BATTERY = "run --quiet --job operators --repeat 1 --label here -o x.json"


@dataclass(frozen=True)
class Interruption:
    """A signal in a phase of a run of two targets; what the parts of the report then lack, host first."""

    name: str
    what_happens: str
    at: str
    options: str
    status: int
    words: str = ""
    incomplete: tuple[str, ...] = ()
    number: signal.Signals = signal.SIGINT


INTERRUPTIONS = [
    Interruption("host-battery", "Ctrl-C in the host's battery: refused", "host", "", 2, "interrupted; nothing"),
    Interruption("host-battery-partial", "the same with --partial: the host's part is kept, the image says not begun",
                 "host", "--partial", 3, "", ("interrupted during operators", "interrupted before it was begun")),
    Interruption("creation", "Ctrl-C while the container is created: refused, and it is removed", "creation", "", 2,
                 "interrupted; nothing was written (--partial"),
    Interruption("creation-partial", "the same with --partial: the host's part is whole", "creation", "--partial", 3,
                 "", ("", "interrupted")),
    Interruption("stuck", "Ctrl-C while the engine does not answer: refused, and not waited for", "stuck", "", 2,
                 "interrupted; nothing was written (--partial"),
    Interruption("stuck-partial", "the same with --partial: the host's part is whole", "stuck", "--partial", 3,
                 "", ("", "interrupted")),
    Interruption("battery", "a scheduler's SIGTERM in the container's battery: refused, and it is removed", "battery",
                 "", 2, "interrupted; nothing was written (--partial", number=signal.SIGTERM),
    Interruption("battery-partial", "the same with --partial: what was measured in it is kept", "battery",
                 "--partial", 3, "is incomplete: interrupted during operators", ("", "interrupted during operators"),
                 signal.SIGTERM),
    Interruption("exec-partial", "Ctrl-C in the battery in somebody's container: kept, and its process is ended",
                 "exec", "--partial", 3, "is incomplete: interrupted", ("", "interrupted during operators")),
]  # fmt: skip


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(100 * SECONDS):
        if there():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail("it never came to that point")


def halted_inside(client: DockerClient, image: str) -> bool:
    """Whether a container of an image stands at the point of HALT."""
    identity = client.api.inspect_image(image)["Id"]
    running = [one["Id"] for one in client.api.containers() if one["ImageID"] == identity]
    with contextlib.suppress(OSError):  # it has just ended
        return any("/halted" in {one["Path"] for one in client.api.diff(container) or []} for container in running)
    return False


def begun(case: Interruption, place: Place, name: str) -> subprocess.Popen[str]:
    """An audit that stands at the case's point."""
    command, flag = "-m audit", place.folder / "halted"
    target, prefix = f"--container {place.names['GOOD']}", ""
    if case.at == "host":
        (place.folder / "sitecustomize.py").write_text(HOST_HALTS)
        prefix = f"--via 'env PYTHONPATH={place.folder}' --python {sys.executable}"
    if case.at in ("creation", "stuck"):
        (place.folder / "creating.py").write_text(CREATING if case.at == "creation" else STUCK)
        command = f"{place.folder}/creating.py"
    if case.at == "battery":
        target = f"--container {place.names['HALTS']}"
    if case.at == "exec":
        target = f"--exec {name}"
    process = place.start(f"exec $PYTHON {command} {BATTERY} {prefix} {target} {case.options}", HALTED=str(flag))
    inside = {"battery": place.names["HALTS"], "exec": place.names["HALTS"]}.get(case.at)
    client = place.images.client
    wait_for(lambda: halted_inside(client, inside) if inside else flag.exists(), process)
    return process


@pytest.mark.parametrize("case", INTERRUPTIONS, ids=lambda case: case.name)
def test_an_interruption(case: Interruption, place: Place) -> None:
    api = place.images.client.api
    name = "audit-c-" + secrets.token_hex(4) if case.at == "exec" else ""
    if name:
        api.create_container(place.names["HALTS"], ["sleep", "1000"], name=name)
        api.start(name)
    try:
        process = begun(case, place, name)
        process.send_signal(case.number)
        status, errors = ended(process)
        assert (status, "Traceback" in errors) == (case.status, False), errors
        assert errors.count("\n") == bool(case.words)
        assert case.words in errors
        assert place.left() == []
        if name:
            assert len(api.top(name)["Processes"]) == 1
    finally:
        if name:
            api.remove_container(name, force=True)
    if status == 2:
        assert not (place.folder / "x.json").exists()
        return
    parts = place.targets()
    assert parts[0].facts["libc.version"].value
    for part, words in zip(parts, case.incomplete, strict=True):
        assert bool(part.incomplete) == bool(words)
        assert words in "; ".join(part.incomplete)


def gone(place: Place) -> None:
    """Wait until nothing is left, or for half a minute."""
    deadline = time.monotonic() + 30
    while place.left() and time.monotonic() < deadline:
        time.sleep(0.2)


AHEAD = """
import os, time
write = os.write
def halting(descriptor, data):
    if b'"machine"' in bytes(data):
        open(os.environ["HALTED"], "w").close()
        time.sleep(1000 if os.environ["HOW"] != "dies" else 2)
        os._exit(9)
    return write(descriptor, data)
os.write = halting
"""
"""A host's interpreter that stops before its facts: beside it the first container is started already."""


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("dies", 2, "exit status 9"),
        ("interrupted", 2, "interrupted; nothing was written"),
        ("killed", -signal.SIGKILL, ""),
    ],
)
def test_a_container_that_was_started_ahead_is_removed(how: str, status: int, words: str, place: Place) -> None:
    (place.folder / "sitecustomize.py").write_text(AHEAD)
    via = f"--via 'env PYTHONPATH={place.folder}' --python {sys.executable}"
    command = f"exec run {via} --container {place.names['GOOD']} --container {place.names['EMPTY']} -o x.json"
    flag = place.folder / "halted"
    process = place.start(command, HALTED=str(flag), HOW=how)
    wait_for(lambda: flag.exists() and any(" Up " in one for one in place.images.containers()), process)
    if how != "dies":
        process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    found, errors = ended(process)
    assert (found, errors.count("\n")) == (status, bool(words)), errors
    assert words in errors
    if how == "killed":  # the connection to the container's input ends with the auditor, and Python there with it
        place.end_processes()
        gone(place)
    assert place.left() == []
    assert not (place.folder / "x.json").exists()


def test_a_killed_auditor_leaves_no_container_that_hangs(place: Place) -> None:
    """SIGKILL: nothing of the auditor can act any more. What hangs inside ends itself soon after the limit."""
    image = place.names["HALTS"]
    process = place.start(f"exec $PYTHON -m audit {BATTERY} --limit 1 --container {image}")
    wait_for(lambda: halted_inside(place.images.client, image), process)
    process.kill()
    ended(process)
    gone(place)
    assert place.left() == []


def test_what_a_killed_auditor_left_is_removed_by_the_next_run(place: Place) -> None:
    """No Python ran in it, so nothing inside could end it. Containers of living auditors, others', are left alone."""
    api = place.images.client.api
    where, _, _ = engines.owner().split(":")
    good = place.names["GOOD"]
    others = [
        api.create_container(good, ["true"], name="audit-c-" + secrets.token_hex(4), labels={engines.LABEL: label})
        for label in (engines.owner(), "0" * 12 + ":1:1", "nonsense", f"{where}:x:y")
    ]
    process = place.start(f"exec $PYTHON -m audit {BATTERY} --container {place.names['SLEEPS']}")
    wait_for(lambda: any(" Up " in one for one in place.images.containers()), process)
    process.kill()
    ended(process)
    assert len(place.left()) == 1
    status, errors = ended(place.start("run --container $EMPTY -o x.json"))
    assert status == 3, errors
    try:
        assert place.left() == []
        assert len(place.images.containers()) == len(others)
    finally:
        for one in others:
            api.remove_container(one["Id"], force=True)


# -- the engine itself ------------------------------------------------------------------------------------------------


class Engine:
    """An engine of this test's own, so that it may be stopped, killed and given a full disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.log = (folder / "log").open("wb")
        self.start()

    def start(self) -> None:
        import docker

        options = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--pidfile", f"{self.folder}/pid"]
        roots = ["--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        self.process = subprocess.Popen(
            ["dockerd", *options, *roots, "-H", self.address], stdout=self.log, stderr=subprocess.STDOUT
        )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"{self.folder}/docker.sock")
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b"200 OK" in connection.recv(100):
                    self.client = docker.DockerClient(base_url=self.address)
                    return
            time.sleep(0.1)
        raise OSError("dockerd does not start")

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def end(self) -> None:
        """With what a killed engine leaves: its containerd, which names this folder, and whose containers end it."""
        if self.process.poll() is None:
            self.stop()
        self.client.close()
        self.log.close()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
        mounted = [*self.folder.glob("exec/netns/*"), self.folder / "data/overlay2", self.folder / "data"]
        subprocess.run(["umount", "-R", "-q", *mounted], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def own(engine: DockerClient, lacking: Callable[[str], None]) -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="audit-engine-"))
    if not shutil.which("dockerd") or os.getuid():
        lacking("no dockerd that may be started here")
    found = None
    try:
        found = Engine(folder)
        yield found
    except OSError as error:
        lacking(str(error))
    finally:
        if found:
            found.end()


@dataclass(frozen=True)
class EngineFault:
    name: str
    what_happens: str
    act: Callable[[Engine], Any]
    incomplete: str


ENGINE_FAULTS = [
    EngineFault("engine-stopped", "the engine is stopped in mid-run: the host's part is kept, the reason is said",
                lambda own: own.stop(), "cannot be started again"),
    EngineFault("engine-killed", "the engine is killed in mid-run: the host's part is kept, the reason is said",
                lambda own: own.stop(signal.SIGKILL), "the container engine went away"),
    EngineFault("container-removed", "somebody removes our container in mid-run: what was measured is kept",
                lambda own: [own.client.api.remove_container(one["Id"], force=True)
                             for one in own.client.api.containers()], "operator libm.exp2: "),
]  # fmt: skip


@pytest.mark.parametrize("fault", ENGINE_FAULTS, ids=lambda fault: fault.name)
def test_an_engine_fault(fault: EngineFault, own: Engine, python_files: bytes, place: Place) -> None:
    theirs = Images(own.client)
    theirs.base = theirs.imported("base", python_files)
    halts = theirs.over("halts", {SITE: HALT})
    process = place.start(f"exec $PYTHON -m audit {BATTERY} --limit 4 --container {halts}", DOCKER_HOST=own.address)
    wait_for(lambda: halted_inside(own.client, halts), process)
    fault.act(own)
    status, errors = ended(process)
    assert (status, errors.count("\n")) == (3, 1), errors
    assert "Traceback" not in errors
    host, inside = place.targets()
    assert host.battery
    assert host.battery.operators
    assert not host.incomplete
    assert fault.incomplete in "; ".join(inside.incomplete)
    if fault.name == "engine-killed":  # nor can another be started in its place before its own children have ended
        return
    if own.process.poll() is not None:
        own.client.close()
        own.start()
    deadline = time.monotonic() + 10
    while own.client.api.containers(all=True) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert own.client.api.containers(all=True) == []


def test_a_full_disk_of_the_engine(engine: DockerClient, lacking: Callable[[str], None], place: Place) -> None:
    """A container cannot be created: one line, and the host's part is kept."""
    folder = Path(tempfile.mkdtemp(prefix="audit-engine-"))
    (folder / "data").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder / "data")], check=False)
    if mounted.returncode or not shutil.which("dockerd"):
        lacking("no small file system can be mounted here")
    own = Engine(folder)
    try:
        own.client.api.import_image_from_data(tar({"etc/os-release": "ID=x\n"}), repository="small")
        with contextlib.suppress(OSError), (folder / "data" / "fill").open("wb") as file:
            while True:
                file.write(bytes(1 << 12))
                file.flush()
        status, errors = ended(place.start("run --container small -o x.json", DOCKER_HOST=own.address))
        assert (status, errors.count("\n")) == (3, 1), errors
        assert "no space left on device" in errors
        assert place.targets()[0].facts["libc.version"].value
        (folder / "data" / "fill").unlink()
        assert own.client.api.containers(all=True) == []
    finally:
        own.end()
