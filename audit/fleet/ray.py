"""Ray as an engine: one task a node, which starts one child process there, as a target like any other.

Ray demands the same Ray and Python everywhere, which this command's environment need not have. So a driver of ours
(`driver.py`) runs in an interpreter that has them, and each child's pipes are handed to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from audit.errors import AuditError
from audit.fleet.engine import NO_PROGRAM, Engine, Node
from audit.targets import bundle
from audit.targets.talk import Child
from audit.targets.target import NotPython, Target
from probes import assemble
from probes.session import Died

DRIVER = Path(__file__).with_name("driver.py")

SECONDS_TO_REACH = 10.0
SECONDS_TO_CONNECT = 60.0
"""Ray imports itself first."""

SECONDS_TO_END = 10.0

_UNKNOWN = 1


@dataclass(frozen=True)
class Asked:
    """What the options say. address: of the cluster ("auto": this machine's, or RAY_ADDRESS); python: an interpreter
    that has the cluster's Ray; node_python: the audited one (None: that of Ray's workers); limit: seconds without
    progress; wait: how many more until the first: a worker of Ray's imports Ray before it starts anything."""

    address: str
    python: str
    node_python: str | None
    limit: float
    wait: float


class RayChild:
    """A child on a node: pipes as `subprocess.Popen` has them, and `wait`. told: why it has no exit status."""

    def __init__(self) -> None:
        script, stdin = os.pipe()
        stdout, output = os.pipe()
        stderr, errors = os.pipe()
        self.status, status = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb", 0)
        self.stderr: IO[bytes] = os.fdopen(stderr, "rb", 0)
        self.theirs = [script, output, errors, status]
        self.told = ""

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self.status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("ray", timeout or 0.0)
        said = os.read(self.status, 1 << 10).decode("utf-8", "replace")
        try:
            return int(said)
        except ValueError:
            self.told = said or "Ray's driver died"
            return _UNKNOWN

    def close(self) -> None:
        """Let go of the pipes, upon which the driver ends the child; wait until it has."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        select.select([self.status], [], [], SECONDS_TO_END)
        os.close(self.status)


class RayTarget(Target):
    """One node."""

    def __init__(self, driver: Driver, node: Node, asked: Asked) -> None:
        super().__init__(asked.limit)
        self.driver = driver
        self.node = node
        self.python = asked.node_python
        self.queue = asked.wait

    @property
    def words(self) -> str:
        return self.python or "the Python of Ray's workers"

    def start(self) -> Child:
        child = RayChild()
        self.driver.start({"id": self.node.name, "python": self.python, "loader": bundle.LOADER}, child.theirs)
        self.child = child
        return child

    def use(self, python: str) -> None:
        self.python = python

    def death(self, status: int) -> str:
        return self.child.told or super().death(status)

    def end(self, child: Child) -> None:
        assert isinstance(child, RayChild)
        child.close()


class Driver:
    """The driver's process. Raises AuditError if it cannot tell which nodes there are."""

    def __init__(self, python: str, address: str) -> None:
        self.lock = threading.Lock()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the rest
        self.python = python
        self.connected = False
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [python, "-c", DRIVER.read_text("utf-8"), str(theirs.fileno()), address],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=self.errors,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
                    start_new_session=True,
                )
            except OSError as error:
                raise AuditError(f"cannot start {python}: {error.strerror or error}") from None

    def nodes(self) -> list[dict[str, Any]]:
        stream = self.process.stdout
        assert stream
        if not select.select([stream], [], [], SECONDS_TO_CONNECT)[0]:
            raise AuditError(f"Ray did not answer within {SECONDS_TO_CONNECT:.0f} s; is the cluster up (ray status)?")
        line = stream.readline()
        answer: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {"error": self._last_words()}
        if "error" in answer:
            raise AuditError(_advised(self.python, str(answer["error"])))
        found: list[dict[str, Any]] = answer["nodes"]
        self.connected = True
        return found

    def start(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        """Start a task; the descriptors are the driver's then. Raises Died."""
        try:
            with self.lock:
                socket.send_fds(self.control, [json.dumps(asked).encode()], descriptors)
        except OSError:
            raise Died("failed", "Ray's driver died") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        self.control.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL) if self.connected else (signal.SIGKILL,):
            with contextlib.suppress(ProcessLookupError):
                if number:
                    os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS_TO_END)
                break
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()

    def _last_words(self) -> str:
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - 4000))
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "it ended without a word"


class Ray(Engine):
    """A running cluster. Nothing is started that outlives this, and no cluster is."""

    via = "ray"

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.python = asked.node_python or "python3"
        self.chosen = "as --node-python says" if asked.node_python else "that of Ray's workers"
        _reach(asked.address)
        self.driver = Driver(asked.python, asked.address)

    def close(self) -> None:
        self.driver.close()

    def nodes(self) -> list[Node]:
        found = labelled([one for one in self.driver.nodes() if one["alive"]])
        if not found:
            raise AuditError("Ray has no node that is alive")
        return found

    def target(self, node: Node) -> RayTarget:
        return RayTarget(self.driver, node, self.asked)

    def why(self, error: Exception, said: str) -> str:
        if isinstance(error, NotPython) and any(words in said.lower() for words in NO_PROGRAM):
            return f"it has no {os.path.basename(self.python)}"
        return super().why(error, said)

    def shown(self, nodes: list[Node]) -> str:
        python = shlex.quote(self.asked.node_python or "sys.executable")
        task = f'NodeAffinitySchedulingStrategy("{{}}", soft=False), num_cpus=0: {python} -c {bundle.SHELL_LOADER}'
        return "".join(f"{node.label}: {task.format(node.name)}\n" for node in nodes)


def _reach(address: str) -> None:
    """Raise AuditError where nobody listens at HOST:PORT: Ray itself tries for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not (separator and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_REACH).close()
    except (OSError, OverflowError) as error:
        raise AuditError(f"no Ray cluster answers at {address}: {getattr(error, 'strerror', '') or error}") from None


def labelled(nodes: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Nodes in the order of their labels, which are Ray's names for them, or addresses; of several with one name, each
    with the beginning of its number."""
    labels = [assemble.file_name(str(one["name"])).removesuffix(".json") for one in nodes]
    times = Counter(labels)
    named = [
        f"{label}-{one['id'][:8]}" if times[label] > 1 else label for one, label in zip(nodes, labels, strict=True)
    ]
    return sorted(Node(label, one["id"]) for one, label in zip(nodes, named, strict=True))


def _advised(python: str, error: str) -> str:
    if error == "it has no ray":
        return f"{python}: it has no ray; name the interpreter of your Ray cluster with --python"
    if "ConnectionError" in error:
        return "no Ray cluster answers; name one with --address HOST:PORT"
    return f"{python}: Ray says: {error.splitlines()[0][:300]}"
