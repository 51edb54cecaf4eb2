"""GPUs of an engine that offers them. There is none where this is tested: a real engine stands behind a go-between that
adds the offer to what the engine says of itself, and keeps what the engine was then asked for. The engine's refusals
are its own; where it is to have GPUs, the go-between takes the request for them out, and the rest is the engine's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.targets import container
from audit.targets.container import ImageTarget
from reports import codec

if TYPE_CHECKING:
    from docker import DockerClient

IMAGE = "audit-bookworm"
ALL = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
CDI = {"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"], "Capabilities": [], "Options": {}}
RUNTIME = {"Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}}


def device(name: str) -> dict[str, str]:
    return {"Source": "cdi", "ID": name}


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        ({}, []),
        ({"Runtimes": {"runc": {}}, "CDISpecDirs": [], "DiscoveredDevices": None}, []),
        (RUNTIME, [ALL]),
        ({"CDISpecDirs": ["/etc/cdi", "/var/run/cdi"]}, [CDI]),
        ({"CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": []}, []),
        ({"DiscoveredDevices": [device("nvidia.com/gpu=0"), device("nvidia.com/gpu=all")]}, [CDI]),
        ({"DiscoveredDevices": [device("example.com/net=all"), device("nvidia.com/gpu=0")]}, []),
        ({"DiscoveredDevices": [device("amd.com/gpu=all")]}, [{**CDI, "DeviceIDs": ["amd.com/gpu=all"]}]),
        ({**RUNTIME, "DiscoveredDevices": [device("nvidia.com/gpu=all")]}, [ALL, CDI]),
    ],
)
def test_what_is_asked_of_an_engine(info: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    found = [dict(one) for one in container.gpus(info)]
    assert found == [{**one, "DeviceIDs": one["DeviceIDs"] or []} for one in wanted]


class GoBetween:
    """A socket in front of an engine's. gives: whether the engine is to seem to have the GPUs that it is asked for."""

    def __init__(self, engine: str, place: Path, offer: dict[str, Any], gives: bool) -> None:
        self.engine = engine
        self.address = f"unix://{place}"
        self.offer = offer
        self.gives = gives
        self.created: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(place))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, near: socket.socket) -> None:
        """One request a connection: only so is each seen. What is taken over (Upgrade) stays as it is."""
        far = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), near, far:
            far.connect(self.engine)
            head, _, body = self._request(near)
            if not re.search(rb"\r\nUpgrade:", head, re.IGNORECASE):
                head = re.sub(rb"\r\nConnection:[^\r]*", b"", head, flags=re.IGNORECASE) + b"\r\nConnection: close"
            if re.match(rb"POST \S+/containers/create", head):
                head, body = self._seen(head, body)
            far.sendall(head + b"\r\n\r\n" + body)
            if re.match(rb"GET \S+/info ", head):
                self._offered(near, far)
                return
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()

    def _request(self, near: socket.socket) -> tuple[bytes, bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            more = near.recv(1 << 16)
            if not more:
                raise OSError("no request")
            data += more
        head, middle, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: *(\d+)", head, re.IGNORECASE)
        while length and len(body) < int(length[1]):
            body += near.recv(1 << 16)
        return head, middle, body

    def _seen(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        asked = json.loads(body)
        self.created.append(json.loads(body))
        if self.gives:
            asked["HostConfig"]["DeviceRequests"] = None
        body = json.dumps(asked).encode()
        return re.sub(rb"(\r\nContent-Length: *)\d+", rb"\g<1>%d" % len(body), head, flags=re.IGNORECASE), body

    def _offered(self, near: socket.socket, far: socket.socket) -> None:
        data = b"".join(iter(lambda: far.recv(1 << 16), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n", body, re.DOTALL))
        body = json.dumps({**json.loads(body), **self.offer}).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close"
        near.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


Between = Callable[[dict[str, Any], bool], GoBetween]


@pytest.fixture
def between(engine: DockerClient, lacking: Callable[[str], None], tmp_path: Path) -> Iterator[Between]:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        lacking("the engine is reached by no UNIX socket here")
    with contextlib.ExitStack() as closed:

        def begin(offer: dict[str, Any], gives: bool) -> GoBetween:
            made = GoBetween(address.removeprefix("unix://"), tmp_path / "s", offer, gives)
            closed.callback(made.close)
            return made

        yield begin


def audit(one: GoBetween, folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "run", "--job", "none", "-o", str(folder / "x.json"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "DOCKER_HOST": one.address},
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def requests(one: GoBetween) -> list[Any]:
    return [created["HostConfig"].get("DeviceRequests") for created in one.created]


@pytest.mark.docker
@pytest.mark.parametrize(
    ("offer", "wanted"),
    [(RUNTIME, [ALL]), ({"DiscoveredDevices": [device("nvidia.com/gpu=all")]}, [CDI])],
    ids=["runtime", "cdi"],
)
def test_gpus_that_the_engine_offers_are_passed_through(
    offer: dict[str, Any], wanted: list[dict[str, Any]], between: Between, tmp_path: Path
) -> None:
    one = between(offer, True)
    status, _, said = audit(one, tmp_path, "--container", IMAGE)
    assert (status, said.count("without")) == (0, 0), said
    assert requests(one) == [[{**request, "DeviceIDs": request["DeviceIDs"] or []} for request in wanted]]
    (host,) = (created["HostConfig"] for created in one.created)
    assert (host["NetworkMode"], host["CapDrop"]) == ("none", ["ALL"])
    assert codec.read(str(tmp_path / "x.json"))[0].targets[1].facts["container.gpu"].value is True


@pytest.mark.docker
def test_gpus_that_the_engine_refuses_are_done_without_and_that_is_said(between: Between, tmp_path: Path) -> None:
    """Each way is tried once; then the image is measured all the same."""
    one = between({**RUNTIME, "DiscoveredDevices": [device("nvidia.com/gpu=all")]}, False)
    status, shown, said = audit(one, tmp_path, "--container", IMAGE)
    assert status == 0, said
    assert [request and request[0]["Driver"] for request in requests(one)] == ["", "cdi", None]
    words = " ".join((shown + said).split())
    assert f"image {IMAGE} was measured without the GPUs that its engine offers: could not select device" in words
    fact = codec.read(str(tmp_path / "x.json"))[0].targets[1].facts["container.gpu"]
    assert (fact.status, fact.reason) == ("absent", "the engine offers GPUs and could not pass them through")
    assert codec.read(str(tmp_path / "x.json"))[0].targets[1].facts["python.version"].value


@pytest.mark.docker
def test_a_python_that_is_missing_does_not_cost_the_gpus(engine: DockerClient) -> None:
    """Images and environments are called nvidia, too."""
    target = ImageTarget(engine, engine.api.inspect_image(IMAGE), "nvidia/cuda")
    target.pythons = ["/opt/nvidia/venv/bin/python", "python3"]
    target.gpus = container.gpus(RUNTIME)
    target._next(f"cannot start {target.words}: exec: {target.python}: executable file not found in $PATH")
    assert (target.pythons, len(target.gpus)) == (["python3"], 1)
