"""An image, or a running container, as a target: each child is a process in it, started through the engine's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.errors import TargetError
from audit.targets import bundle, engine
from audit.targets.attached import Attached
from audit.targets.talk import Child
from audit.targets.target import Target
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, death

if TYPE_CHECKING:
    from docker import DockerClient

PYTHONS = ("python3", "python")
"""What an image's Python is called, in the order tried; the engine looks for them on the image's own PATH."""

ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables of an image that name the environment which its programs run in."""

SHARE_OF_MEMORY = 0.75
"""How much of the engine's memory one of our containers may take: the machine must outlive what runs wild in it."""

MOST_PROCESSES = 4096
"""Threads count as processes there, and a BLAS starts one a CPU."""

_KILLED = 137
_MISSING = ("executable file not found", "no such file or directory", "exec format error", "permission denied")
"""What engines say of a program that is not there or not for this machine, in small letters."""


class NoPython(TargetError):
    """The engine could start no Python there."""


class _Inside(Target):
    """What an image and a running container have in common: names of Python are tried until one can be started."""

    where: str

    def __init__(self, client: DockerClient, pythons: list[str], seconds: float) -> None:
        super().__init__(seconds)
        self.client = client
        self.pythons = pythons

    @property
    def python(self) -> str:
        """The interpreter that is started, or the next to be tried."""
        return self.pythons[0]

    @property
    def words(self) -> str:
        return f"{self.python} in {self.where}"

    def start(self) -> Child:
        from docker.errors import APIError

        while True:
            try:
                return self.started(self.python)
            except (APIError, OSError) as error:
                why = engine.reason(error)
            if self.proven:
                raise Died("failed", f"cannot be started again: {why}")
            if not any(words in why.lower() for words in _MISSING):
                raise TargetError(f"cannot start {self.words}: {why}")
            if len(self.pythons) == 1:
                raise NoPython(f"no Python in {self.where} ({why})")
            del self.pythons[0]

    def started(self, python: str) -> Child:
        """A child. Raises APIError or OSError, and then leaves nothing."""
        raise NotImplementedError


class ImageTarget(_Inside):
    """A new container of an image for each child: no network, no capability, no new privilege; removed in any outcome.

    The child is the container's first process, so whatever it started ends with it.
    """

    def __init__(
        self,
        client: DockerClient,
        image: dict[str, Any],
        name: str,
        python: str | None = None,
        seconds: float = SECONDS_WITHOUT_PROGRESS,
    ) -> None:
        super().__init__(client, [python] if python else pythons(image), seconds)
        self.image = image
        self.where = f"image {name}"
        self.limits = _limits(engine.info(client))
        self.containers: dict[int, str] = {}

    def started(self, python: str) -> Child:
        api = self.client.api
        container = api.create_container(
            self.image["Id"],
            entrypoint=[python],
            command=["-c", bundle.LOADER],
            stdin_open=True,
            host_config=api.create_host_config(**self.limits),
            labels={engine.LABEL: engine.owner()},
            healthcheck={"test": ["NONE"]},
        )["Id"]
        try:
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            child = Attached(
                api.attach_socket(container, params=streams),
                lambda: int(api.wait(container, condition="next-exit")["StatusCode"]),
            )
            self.containers[id(child)] = container
            api.start(container)
        except BaseException:
            engine.remove(self.client, container)
            raise
        return child

    def end(self, child: Child) -> None:
        engine.remove(self.client, self.containers.pop(id(child)))
        assert isinstance(child, Attached)
        child.close()

    def death(self, status: int) -> str:
        if status == _KILLED:
            return f"killed, most likely for memory (its limit is {self.limits['mem_limit'] / 1e9:.1f} GB)"
        return death(status)


class RunningTarget(_Inside):
    """A process in a container that runs already, beside what runs there; the container is left as it was."""

    def __init__(
        self,
        client: DockerClient,
        container: dict[str, Any],
        name: str,
        python: str | None = None,
        seconds: float = SECONDS_WITHOUT_PROGRESS,
    ) -> None:
        super().__init__(client, [python] if python else pythons(container), seconds)
        self.container = container["Id"]
        self.where = f"container {name}"

    def started(self, python: str) -> Child:
        api = self.client.api
        process = api.exec_create(self.container, [python, "-c", bundle.LOADER], stdin=True)["Id"]
        return Attached(api.exec_start(process, socket=True), lambda: self._status(process))

    def _status(self, process: str) -> int:
        found = self.client.api.exec_inspect(process)
        return 1 if found["Running"] else int(found["ExitCode"])

    def end(self, child: Child) -> None:
        assert isinstance(child, Attached)
        child.close()


def pythons(inspected: dict[str, Any]) -> list[str]:
    """What to try: the Python of the environment that the image's variables name, then those on its PATH."""
    environment = dict(item.partition("=")[::2] for item in (inspected.get("Config") or {}).get("Env") or [])
    named = [f"{environment[name]}/bin/python" for name in ENVIRONMENTS if environment.get(name)]
    return [*named, *PYTHONS]


def _limits(info: dict[str, Any]) -> dict[str, Any]:
    """What our containers may do: compute. GPUs are passed through where the engine has a runtime for them."""
    from docker.types import DeviceRequest

    limits: dict[str, Any] = {
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": int(info.get("MemTotal", 0) * SHARE_OF_MEMORY) or 4 << 30,
        "pids_limit": MOST_PROCESSES,
        "auto_remove": True,
    }
    if "nvidia" in (info.get("Runtimes") or {}):
        limits["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    return limits
