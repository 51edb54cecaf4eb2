"""An image, or a running container, as a target: each child is a process in it, started through the engine's API."""

from __future__ import annotations

import contextlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from audit.errors import TargetError
from audit.targets import bundle, engine, still
from audit.targets.attached import Attached
from audit.targets.beside import Beside
from audit.targets.image import foreign
from audit.targets.process import Process
from audit.targets.talk import Child, Talk
from audit.targets.target import Facts, Target
from probes import interrupts
from probes.session import SECONDS_WITHOUT_PROGRESS, Died, Record, Request, death

if TYPE_CHECKING:
    from docker import DockerClient
    from requests import Response

PYTHONS = ("python3", "python")
"""What an image's Python is called, in the order tried; the engine looks for them on the image's own PATH."""

ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables of an image that name the environment which its programs run in."""

SHARE_OF_MEMORY = 0.75
"""How much of the engine's memory one of our containers may take: the machine must outlive what runs wild in it."""

MOST_PROCESSES = 4096
"""Threads count as processes there, and a BLAS starts one a CPU."""

SECONDS_TO_END = 5.0
"""How long the end of a child is waited for when it has closed its output."""

_MOMENT = 0.2
"""Seconds between two looks at whether a signal came."""

_KILLED = 137
_UNKNOWN = 256
"""No process ends with this status: the engine did not say with which."""

_NOT_STARTED = (126, 127)
"""What an engine gives as the status of a process that it could not start beside others."""

_FOREIGN = "exec format error"
_MISSING = ("executable file not found", "no such file or directory", _FOREIGN, "permission denied")
"""What engines say of a program that is not there or not for this machine, in small letters."""

_NO_GPU = ("could not select device driver", "nvidia", "cdi")
"""What they say, also in small letters, where there is no GPU after all."""

_GPUS = re.compile(r"(nvidia|amd|intel)\.com/gpu=all")
"""What the Container Device Interface calls all GPUs of a maker."""


class NoPython(TargetError):
    """The engine could start no Python there. named: it was to be one in particular."""

    def __init__(self, message: str, named: bool = False) -> None:
        super().__init__(message)
        self.named = named


class _Inside(Target):
    """What an image and a running container have in common: names of Python are tried until one can be started."""

    where: str

    def __init__(self, client: DockerClient, inspected: dict[str, Any], python: str | None, seconds: float) -> None:
        super().__init__(seconds)
        self.client = client
        self.named = python is not None
        self.pythons = [python] if python else pythons(inspected)
        self.lost = ""  # why the engine is asked for nothing more

    @property
    def python(self) -> str:
        """The interpreter that is started, or the next to be tried."""
        return self.pythons[0]

    @property
    def words(self) -> str:
        return f"{self.python} in {self.where}"

    def launch(self, request: Request) -> Iterator[Record]:
        while True:
            try:
                yield from super().launch(request)
                return
            except NoPython:
                raise
            except TargetError as error:  # it could not be started, and no record was sent
                self._next(str(error))

    def begun(self, request: Request) -> Talk:
        # Where the auditor is killed, nobody else ends a child that hangs.
        return super().begun({**request, "mortal": self.seconds + SECONDS_TO_END})

    def use(self, python: str) -> None:
        self.pythons = [python]

    def _next(self, why: str) -> None:
        """Go on to the next name, if this one is nothing that can be started. Raises TargetError."""
        if not any(words in why.lower() for words in _MISSING):
            raise TargetError(why)
        if len(self.pythons) == 1:
            what = f"no {self.python}" if self.named else "no Python that can be started"
            raise NoPython(f"{what} in {self.where}", self.named)
        del self.pythons[0]

    def start(self) -> Child:
        why = self.lost
        if not why:
            try:
                return self.started(self.python)
            except OSError as error:
                why = engine.reason(error)
                if not engine.refused(error):
                    why = self.lost = f"the container engine does not answer ({why})"
        if self.proven:
            raise Died("failed", f"cannot be started again: {why}")
        raise TargetError(f"cannot start {self.words}: {why}")

    def death(self, status: int) -> str:
        if status == _UNKNOWN:
            there = engine.answers(self.client)
            return "its container was taken away" if there else "the container engine went away"
        return death(status)

    @abstractmethod
    def started(self, python: str) -> Attached:
        """A child. Raises OSError, and then leaves nothing; the engine's own refusals are one."""


class ImageTarget(_Inside):
    """A new container of an image for each child: no network, no capability, no new privilege; removed in any outcome.

    The child is the container's first process, so whatever it started ends with it. Removing takes the engine 0.1 s: it
    is done beside what is done next here, and over before another child is started.
    """

    def __init__(
        self,
        client: DockerClient,
        image: dict[str, Any],
        name: str,
        python: str | None = None,
        seconds: float = SECONDS_WITHOUT_PROGRESS,
    ) -> None:
        super().__init__(client, image, python, seconds)
        self.image = image
        self.where = f"image {name}"
        self.limits = _limits(info := engine.info(client))
        self.foreign = foreign(image, info)
        self.gpus = gpus(info)
        self.warnings: list[str] = []
        self.containers: dict[int, tuple[str, Response]] = {}
        self.last = ""
        self.coming: tuple[Request, Beside[Talk]] | None = None
        self.leaving: Beside[None] | None = None

    def prepare(self, request: Request) -> None:
        def fed() -> Talk:
            talk = super(ImageTarget, self).begun(request)
            talk.begin()
            return talk

        self.coming = request, Beside(fed, daemon=True)

    def begun(self, request: Request) -> Talk:
        """Who interrupts this waits no longer for an engine than it takes to see that it does not answer. What it makes
        after that the next run removes."""
        if self.coming and self.coming[0] != request:
            self.close()
        if not self.coming:
            self.prepare(request)
        assert self.coming
        coming = self.coming[1]
        while not coming.done(_MOMENT):
            if interrupts.waiting() and not coming.done(engine.SECONDS_TO_ANSWER):
                self.coming = None
                interrupts.forget()
                raise KeyboardInterrupt
        self.coming = None
        return coming.result()

    def started(self, python: str) -> Attached:
        self._wait()
        return self._started(python)

    def close(self) -> None:
        coming, self.coming = self.coming, None
        with contextlib.suppress(TargetError, Died):
            if coming and coming[1].done(engine.SECONDS_TO_ANSWER):
                self.end(coming[1].result().process)
        self._wait()

    def _wait(self) -> None:
        leaving, self.leaving = self.leaving, None
        if leaving:
            leaving.result()

    def _started(self, python: str) -> Attached:
        container = self.last = self._created(python)
        with contextlib.ExitStack() as undone:
            undone.callback(engine.remove, self.client, container)
            ending = undone.enter_context(engine.ending(self.client, container, min(SECONDS_TO_END, self.seconds)))
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            connection = self.client.api.attach_socket(container, params=streams)
            child = Attached(connection, lambda: _known(lambda: _status(ending)))
            undone.callback(child.close)
            self.client.api.start(container)
            undone.pop_all()
        self.containers[id(child)] = container, ending
        return child

    def _created(self, python: str) -> str:
        """The ID of a new container in which that program is the first process."""
        api = self.client.api
        created: dict[str, Any] = api.create_container(
            self.image["Id"],
            entrypoint=[python],
            command=["-c", bundle.LOADER],
            stdin_open=True,
            host_config=self.host_config(),
            environment={name: value or None for name, value in self.variables.items()},  # None takes it out
            labels={engine.LABEL: engine.owner()},
            healthcheck={"test": ["NONE"]},
        )
        return str(created["Id"])

    def host_config(self) -> dict[str, Any]:
        """What our containers may do, in the engine's own words."""
        return dict(self.client.api.create_host_config(**self.limits, device_requests=self.gpus[:1] or None))

    def _next(self, why: str) -> None:
        reason = why.removeprefix(f"cannot start {self.words}: ")
        said = reason.replace(self.python, "").lower()  # an image and a path may have such a word in their names
        if self.foreign and _FOREIGN in said:
            made, machine = self.foreign
            raise NoPython(
                f"nothing in {self.where} can be started: it is for {made}, which its engine's machine ({machine})"
                " does not emulate"
            )
        if not self.gpus or not any(words in said for words in _NO_GPU):
            super()._next(why)
            return
        del self.gpus[0]
        if not self.gpus:
            self.warnings.append(f"{self.where} was measured without the GPUs that its engine offers: {reason}")

    def end(self, child: Child) -> None:
        assert isinstance(child, Attached)
        container, ending = self.containers.pop(id(child))

        def removed() -> None:
            engine.remove(self.client, container)
            child.close()
            ending.close()

        self.leaving = Beside(removed)

    def death(self, status: int) -> str:
        if status == _KILLED and engine.out_of_memory(self.client, self.last):
            return f"killed for memory: limit {self.limits['mem_limit'] / 1e9:.1f} GB"
        return super().death(status)

    def still(self) -> Facts:
        """What the image's files tell, without running anything. Raises TargetError."""
        with interrupts.held():
            try:
                container = self._created(self.python)
                try:
                    with interrupts.allowed():
                        return still.facts(self.client, container)
                finally:
                    engine.remove(self.client, container)
            except OSError as error:
                raise TargetError(f"{self.where} cannot be read: {engine.reason(error)}") from None


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
        super().__init__(client, container, python, seconds)
        self.container = container["Id"]
        self.where = f"container {name}"
        self.processes: dict[int, Process] = {}

    def started(self, python: str) -> Attached:
        process = Process(self.client, self.container, [python, "-c", bundle.LOADER])
        child = Attached(process.connection, lambda: _known(process.status))
        self.processes[id(child)] = process
        return child

    def end(self, child: Child) -> None:
        assert isinstance(child, Attached)
        child.close()
        self.processes.pop(id(child)).end()

    def death(self, status: int) -> str:
        if self.proven and status in _NOT_STARTED:  # the engine says why where the process would print
            return f"cannot be started again: exit status {status}"
        return super().death(status)

    def still(self) -> Facts:
        """What the container's files tell, without running anything. Raises TargetError."""
        try:
            return still.facts(self.client, self.container)
        except OSError as error:
            raise TargetError(f"{self.where} cannot be read: {engine.reason(error)}") from None


def pythons(inspected: dict[str, Any]) -> list[str]:
    """What to try: the Python of the environment that the variables name, then those on the PATH."""
    environment = dict(item.partition("=")[::2] for item in (inspected.get("Config") or {}).get("Env") or [])
    named = [f"{environment[name]}/bin/python" for name in ENVIRONMENTS if environment.get(name)]
    return [*named, *PYTHONS]


def _status(ending: Response) -> int | None:
    """The exit status that the engine sends when a container has ended; None if that takes too long."""
    try:
        return int(ending.json()["StatusCode"])
    except OSError as error:
        if "timed out" in str(error):
            return None
        raise


def _known(status: Callable[[], int | None]) -> int | None:
    """A status, or that it is not known, whatever an engine that goes away makes of the question."""
    try:
        return status()
    except (OSError, ValueError, LookupError, TypeError):
        return _UNKNOWN


def _limits(info: dict[str, Any]) -> dict[str, Any]:
    """What our containers may do: compute. What they print is not kept, since a flood would fill the engine's disk."""
    from docker.types import LogConfig

    memory = int(info.get("MemTotal", 0) * SHARE_OF_MEMORY) or 4 << 30
    return {
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": MOST_PROCESSES,
        "auto_remove": True,
        "log_config": LogConfig(type="none"),
    }


def gpus(info: dict[str, Any]) -> list[Any]:
    """Ways to ask an engine for all its GPUs, the first to be tried first; none where it offers none.

    Source: Docker Engine API, SystemInfo: Runtimes; DiscoveredDevices (since 1.50), before that CDISpecDirs, which says
    only that the Container Device Interface was turned on.
    """
    from docker.types import DeviceRequest

    ways = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if "nvidia" in (info.get("Runtimes") or {}) else []
    discovered = info.get("DiscoveredDevices")
    if discovered is None:
        named = ["nvidia.com/gpu=all"] if info.get("CDISpecDirs") else []
    else:
        named = sorted({str(one.get("ID")) for one in discovered if _GPUS.fullmatch(str(one.get("ID")))})
    return [*ways, DeviceRequest(driver="cdi", device_ids=named)] if named else ways
