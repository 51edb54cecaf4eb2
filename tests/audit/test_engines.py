"""One image through every way there is to an engine, and with none: the same bits, or one line that says why not.

The ways are real: Docker's own socket, a TCP port with TLS and without, a Docker context, ssh to an sshd, and Podman.
Rootless runtimes that need no engine stand at the end.
"""

from __future__ import annotations

import contextlib
import getpass
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.targets.engine import LABEL
from reports import codec
from reports.report import Target

if TYPE_CHECKING:
    from docker import DockerClient

IMAGE = "audit-bookworm"
AS_OTHER = "setpriv --reuid=54321 --regid=54321 --clear-groups"
ELSEWHERE = ("VIRTUAL_ENV", "CONDA_PREFIX", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY",
             "DOCKER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # fmt: skip
"""Variables that would lead to another interpreter, engine or certificate than the test's."""

Lacking = Callable[[str], None]
Way = dict[str, str]


def run(*arguments: str, prefix: str = "", **variables: str) -> tuple[int, int, str]:
    """`audit run`: its process's number, its exit status, and what it said on standard error."""
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    process = subprocess.Popen(
        [*prefix.split(), sys.executable, "-m", "audit", "run", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **variables},
    )
    _, said = process.communicate(timeout=300)
    return process.pid, process.returncode, said


def measured(file: Path, *arguments: str, **variables: str) -> tuple[int, Target]:
    """A report's last target, and the number of the process that measured it."""
    pid, status, said = run("--job", "operators", "--repeat", "1", "-o", str(file), *arguments, **variables)
    assert (status, said) == (0, "")
    return pid, codec.read(str(file))[0].targets[-1]


def digests(target: Target) -> dict[str, str]:
    assert target.battery
    found = {one.name: one.result.digest for one in target.battery.operators if one.result and not one.hazard}
    assert len(found) > 500
    return found


def left_by(client: DockerClient, pid: int) -> list[str]:
    """Containers that a process of ours left on an engine. Others may be at work there."""
    labels = [str(one.labels[LABEL]) for one in client.containers.list(all=True, filters={"label": LABEL})]
    return [label for label in labels if label.split(":")[1] == str(pid)]


@pytest.fixture(scope="module")
def place(engine: DockerClient, lacking: Lacking) -> str:
    """The path of the engine's socket, to which the other ways lead."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        lacking("the engine is reached by no UNIX socket here")
    return address.removeprefix("unix://")


@pytest.fixture(scope="module")
def expected(place: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The operators' digests of the image, by Docker's own socket."""
    file = tmp_path_factory.mktemp("expected") / "r.json"
    return digests(measured(file, "--container", IMAGE, DOCKER_HOST=f"unix://{place}")[1])


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """One direction of a connection. That it ends there does not end the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def port(place: str, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to a socket."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                near = tls.wrap_socket(near, server_side=True) if tls else near
                far = socket.socket(socket.AF_UNIX)
                far.connect(place)
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for end in ends:
        end.close()


@contextlib.contextmanager
def tcp(place: str, folder: Path, lacking: Lacking) -> Iterator[Way]:
    with port(place) as number:
        yield {"DOCKER_HOST": f"tcp://127.0.0.1:{number}"}


@contextlib.contextmanager
def tls(place: str, folder: Path, lacking: Lacking) -> Iterator[Way]:
    """One certificate that is its own authority, for both ends."""
    if not shutil.which("openssl"):
        lacking("no openssl")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    shutil.copy(certificate, folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    with port(place, context) as number:
        yield {"DOCKER_HOST": f"tcp://127.0.0.1:{number}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}


@contextlib.contextmanager
def context(place: str, folder: Path, lacking: Lacking) -> Iterator[Way]:
    """As Docker's own command makes it. It is the one in use, until DOCKER_CONTEXT names another."""
    settings = {**os.environ, "DOCKER_CONFIG": str(folder)}
    endpoint = f"host=unix://{place}"
    subprocess.run(["docker", "context", "create", "lab", "--docker", endpoint], check=True, env=settings)
    (folder / "config.json").write_text(json.dumps({"currentContext": "lab"}))
    yield {"DOCKER_CONFIG": str(folder)}


@contextlib.contextmanager
def over_ssh(place: str, folder: Path, lacking: Lacking) -> Iterator[Way]:
    """An sshd of our own. The `ssh` on the path is the real one, told where our key is."""
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if not sshd or not Path("/run/sshd").is_dir():
        lacking("no sshd, or no /run/sshd for it")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    (folder / "sshd").write_text(
        f"ListenAddress 127.0.0.1:{number}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    )
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
    )
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    daemon = subprocess.Popen([str(sshd), "-D", "-e", "-f", str(folder / "sshd")], stderr=subprocess.DEVNULL)
    try:
        _answers(number)
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{number}{place}"
        yield {"DOCKER_HOST": address, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}
    finally:
        daemon.terminate()
        daemon.wait()


def _answers(number: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", number)):
            return
        time.sleep(0.1)


@contextlib.contextmanager
def podman(place: str, folder: Path, lacking: Lacking) -> Iterator[Way]:
    address = os.environ.get("AUDIT_PODMAN")
    if not address:
        lacking(f"AUDIT_PODMAN names no socket of a Podman that has {IMAGE}")
    yield {"DOCKER_HOST": str(address)}


@pytest.mark.docker
@pytest.mark.parametrize("way", [tcp, tls, context, over_ssh, podman], ids=lambda way: way.__name__)
def test_every_way_to_an_engine_gives_the_same_bits_and_leaves_nothing(
    way: Callable[[str, Path, Lacking], contextlib.AbstractContextManager[Way]],
    engine: DockerClient,
    place: str,
    expected: dict[str, str],
    lacking: Lacking,
    tmp_path: Path,
) -> None:
    with way(place, tmp_path, lacking) as variables:
        pid, target = measured(tmp_path / "r.json", "--container", IMAGE, **variables)
        assert digests(target) == expected
        asked = _client(variables["DOCKER_HOST"]) if way is podman else contextlib.nullcontext(engine)
        with asked as client:
            assert left_by(client, pid) == []


def _client(address: str) -> contextlib.closing[DockerClient]:
    import docker

    return contextlib.closing(docker.DockerClient(base_url=address))


class Page(http.server.BaseHTTPRequestHandler):
    """A web server that is no engine."""

    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(self.answer)


class Words(Page):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Other(Page):
    answer = b"SSH-2.0-OpenSSH\r\n"


class Silent(Page):
    answer = b""

    def handle(self) -> None:
        time.sleep(15)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (Page, "it answered with HTTP status 404; is it a container engine?"),
        (Words, "what answers there is no container engine"),
        (Other, "what answers there is no container engine"),
        (Silent, "nothing came within 10 s"),
    ],
)
def test_what_is_no_engine_is_called_that(handler: type[Page], why: str, tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        began = time.monotonic()
        refused(tmp_path, f"no container engine answers at {address}: {why};", DOCKER_HOST=address)
        assert time.monotonic() - began < 14
        server.shutdown()


def refused(folder: Path, words: str, image: str = "x", prefix: str = "", **variables: str) -> None:
    """One line with these words and exit status 2, before anything is measured."""
    _, status, said = run("--container", image, "-o", str(folder / "x.json"), prefix=prefix, **variables)
    assert (status, said.count("\n")) == (2, 1), said
    assert words in said
    assert not (folder / "x.json").exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DOCKER_HOST": "unix:///nowhere"}, "at unix:///nowhere: No such file or directory; start one, or name yours"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:1"}, "at tcp://127.0.0.1:1: Connection refused; start one"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:99999"}, "Port out of range"),
        ({"DOCKER_HOST": "tcp://nowhere.invalid:2375"}, "Name or service not known"),
        ({"DOCKER_HOST": "carrier-pigeon://x"}, "Invalid bind address format"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nowhere"}, "certificate"),
        ({"DOCKER_HOST": "ssh://"}, "ssh:// names no machine; it is ssh://[USER@]HOST[:PORT]"),
        ({"DOCKER_HOST": "ssh://127.0.0.1:1"}, "port 1: Connection refused"),
        ({"DOCKER_HOST": "ssh://lab", "PATH": "/nowhere"}, "is reached by ssh, which is not on this machine"),
        ({"DOCKER_CONTEXT": "lab"}, "there is no Docker context lab, which this shell names; see docker context ls"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_engine_that_does_not_answer_is_one_line(variables: Way, words: str, tmp_path: Path) -> None:
    refused(tmp_path, words, **variables)


@pytest.mark.docker
def test_a_spoilt_context_is_one_line(place: str, lacking: Lacking, tmp_path: Path) -> None:
    with context(place, tmp_path, lacking) as variables:
        (meta,) = tmp_path.glob("contexts/meta/*/meta.json")
        meta.write_text("{")
        refused(tmp_path, "Docker context lab: ", **variables)


def test_a_socket_that_one_may_not_use_is_said() -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o777)
        place = f"{folder}/engine.sock"
        listener.bind(place)
        listener.listen()
        Path(place).chmod(0o600)
        words = "Permission denied; you may not use its socket: join its group"
        refused(Path(folder), words, prefix=AS_OTHER, DOCKER_HOST=f"unix://{place}")


@pytest.fixture(scope="module")
def tree(engine: DockerClient, lacking: Lacking, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image as a folder, for Charliecloud."""
    if not shutil.which("ch-run"):
        lacking("no ch-run (Debian: charliecloud-runtime)")
    folder = tmp_path_factory.mktemp("tree")
    container = engine.containers.create(IMAGE, "true")
    try:
        archive = folder.with_suffix(".tar")
        with archive.open("wb") as file:
            file.writelines(container.export())
        with tarfile.open(archive) as tar:
            tar.extractall(folder, [one for one in tar if not one.isdev()], filter="tar")
        archive.unlink()
        yield str(folder)
    finally:
        container.remove(v=True)
        shutil.rmtree(folder, ignore_errors=True)


USER = {"USER": "somebody"}
"""ch-run wants it set, and where tests run it may not be."""


@pytest.mark.docker
def test_charliecloud_runs_the_same_image_to_the_same_bits(tree: str, expected: dict[str, str], tmp_path: Path) -> None:
    via = ["--via", f"ch-run {tree} --", "--python", "/usr/bin/python3"]
    target = measured(tmp_path / "r.json", *via, **USER)[1]
    assert digests(target) == expected
    assert (target.via, target.facts["os.release"].value) == ("ch-run", "debian 12")


APPTAINER = """#!/bin/sh
# A stand-in for `apptainer exec FILE.sif COMMAND ...`: Charliecloud with the image's folder. Home is bound, as there.
echo "$@" >> "$CALLS"
[ "$1" = exec ] && shift
[ "$1" = --nv ] && shift
shift
exec ch-run --home "$TREE" -- "$@"
"""


def _bin(folder: Path, *programs: str) -> str:
    """A PATH with stand-ins of these names, and nothing else but the system's own."""
    for name in programs:
        (folder / name).write_text(APPTAINER)
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.docker
@pytest.mark.parametrize("program", ["apptainer", "singularity"])
def test_a_sif_file_is_run_by_apptainer_or_singularity(
    program: str, tree: str, expected: dict[str, str], tmp_path: Path
) -> None:
    """By a stand-in: the real ones are not to be had where this is tested. What leaks in from outside is in the report:
    a package of the home folder that is bound, and a variable."""
    if os.path.exists("/proc/driver/nvidia/version"):
        options = "exec --nv"
    else:
        options = "exec"
    sif, calls, home = tmp_path / "x.sif", tmp_path / "calls", tmp_path / "home"
    sif.touch()
    installed = home / ".local/lib/python3.11/site-packages/leaky-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (installed / "RECORD").write_text("")
    inherited = {"OMP_DYNAMIC": "FALSE", "HOME": str(home), "PATH": _bin(tmp_path, program)}
    target = measured(tmp_path / "r.json", "--container", str(sif), CALLS=str(calls), TREE=tree, **inherited, **USER)[1]
    assert digests(target) == expected
    assert (target.name, target.via) == ("x.sif", program)
    assert calls.read_text().startswith(f"{options} {sif} python3 -c ")
    assert target.facts["python.user_site"].value is True
    assert target.facts["packages.leaky.version"].value == "1.0"
    assert target.facts["variables.OMP_DYNAMIC"].value == "FALSE"
    assert target.facts["container.user_packages"].value == ["leaky 1.0"]
    assert "OMP_DYNAMIC=FALSE" in str(target.facts["container.inherited"].value)


def test_without_apptainer_or_the_file_it_is_one_line(tmp_path: Path) -> None:
    sif = tmp_path / "x.sif"
    refused(tmp_path, f"--container {sif}: no such file", image=str(sif))
    sif.touch()
    refused(tmp_path, "apptainer is not on this machine, nor singularity", image=str(sif), PATH="/nowhere")
