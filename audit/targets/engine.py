"""The container engine that the environment names, through its API: Docker's, or another's that speaks it (Podman)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.targets.ssh import Tunnel

if TYPE_CHECKING:
    from docker import DockerClient
    from requests import Response

LABEL = "reproducibility-auditor"
"""On every container that we make, with who made it: one whose maker is gone is removed by the next run."""


SECONDS_TO_ANSWER = 10
"""For each answer while it is asked whether there is an engine; its work may then take longer."""


def connect() -> DockerClient:
    """A client of the engine that DOCKER_HOST, the current Docker context, or a socket in its usual place names.

    Raises AuditError if none answers.
    """
    import docker
    from docker.constants import DEFAULT_TIMEOUT_SECONDS
    from docker.errors import DockerException

    named, tunnel = os.environ.get("DOCKER_HOST", ""), None
    try:
        options = _address()
        named = options["base_url"]
        if named.startswith("ssh://"):
            tunnel = Tunnel(named)
            options["base_url"] = f"unix://{tunnel.socket}"
        client = docker.DockerClient(**options, timeout=SECONDS_TO_ANSWER)
    except (DockerException, OSError, ValueError) as error:
        why = (tunnel and tunnel.last_words()) or _unanswered(error)
        raise AuditError(f"no container engine answers at {named}: {why}; {_remedy(error)}") from None
    client.api.timeout = DEFAULT_TIMEOUT_SECONDS
    return client


def _address() -> dict[str, Any]:
    """Where the engine is, as docker-py wants to be told: DOCKER_HOST, else a context, else a socket that is there."""
    from docker.utils import kwargs_from_env

    found: dict[str, Any] = kwargs_from_env()
    if not found.get("base_url"):
        found.update(_context() or {"base_url": _usual()})
    return found


def _context() -> dict[str, Any]:
    """What the Docker context says that DOCKER_CONTEXT or Docker's own configuration names; {} for the default one."""
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name

    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if name == "default":
        return {}
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # docker-py raises no narrower one for a file that it cannot read
        raise AuditError(f"Docker context {name}: {reason(error)}") from None
    if context is None or not context.Host:
        raise AuditError(f"there is no Docker context {name}, which this shell names; see docker context ls")
    return {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}


def _usual() -> str:
    """Docker's socket, or Podman's where only that is there."""
    docker = "/var/run/docker.sock"
    podman = [f"{os.environ.get('XDG_RUNTIME_DIR', '/run')}/podman/podman.sock", "/run/podman/podman.sock"]
    return "unix://" + next((place for place in (docker, *podman) if os.path.exists(place)), docker)


def _unanswered(error: BaseException) -> str:
    """Why what was asked is no engine that this program can use."""
    text = str(error)
    if "timed out" in text:
        return f"nothing came within {SECONDS_TO_ANSWER} s"
    if isinstance(error.__cause__, (LookupError, TypeError, ValueError)) or "BadStatusLine" in text:
        return "what answers there is no container engine"
    status = re.search(r"(\d{3}) (Client|Server) Error", text)
    return f"it answered with HTTP status {status[1]}; is it a container engine?" if status else reason(error)


_KNOWN = (
    "No such file or directory",
    "Permission denied",
    "Connection refused",
    "Connection reset by peer",
    "Name or service not known",
    "certificate verify failed",
)


def reason(error: BaseException) -> str:
    """What an engine's error comes to, without the layers of libraries that it came through."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, str) and explanation:
        return explanation.strip().splitlines()[0][:300]
    text = str(error)
    for known in _KNOWN:
        if known in text:
            return known
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__


def refused(error: BaseException) -> bool:
    """Whether the engine answered, and the answer was no."""
    from docker.errors import APIError

    return isinstance(error, APIError)


def _remedy(error: BaseException) -> str:
    if "Permission denied" in str(error):
        return "you may not use its socket: join its group, or name another engine in DOCKER_HOST"
    return "start one, or name yours in DOCKER_HOST"


def owner() -> str:
    """This process, as a label of its containers: where its number means something (a salted digest of this boot, this
    namespace of process numbers and this user), its number, and when it began."""
    place = f"{_line('/proc/sys/kernel/random/boot_id')} {_link('/proc/self/ns/pid')} {platform.node()} {os.getuid()}"
    where = hashlib.blake2b(place.encode("utf-8", "replace"), digest_size=6, person=b"audit owner")
    return f"{where.hexdigest()}:{os.getpid()}:{_began(os.getpid())}"


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot; "" if there is none of that number, or no telling."""
    fields = _line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def sweep(client: DockerClient) -> None:
    """Remove containers whose maker was this user, here, and was killed before it could. Others' are left alone, and
    whether a maker lives can only be known where its number means something."""
    from docker.errors import APIError

    with contextlib.suppress(APIError, OSError):  # it is another run's litter, and no reason to refuse this one
        for found in client.api.containers(all=True, filters={"label": LABEL}):
            if abandoned(found):
                remove(client, found["Id"])


def abandoned(found: dict[str, Any]) -> bool:
    """Whether a listed container or image was made by a process of this user, here, that is gone."""
    maker = str((found.get("Labels") or {}).get(LABEL, "")).split(":")
    where, _, began = owner().split(":")
    known = began and len(maker) == 3 and maker[0] == where and maker[1].isdigit()
    return bool(known) and _began(int(maker[1])) != maker[2]


def remove(client: DockerClient, container: str) -> None:
    """Remove a container with its anonymous volumes, and see it gone; that it is gone already is as good. An engine may
    lose the answer (or the end of what ran there), so it is asked once more, and nobody waits for its work in vain."""
    from docker.errors import APIError, NotFound

    def ask(method: str, path: str, parameters: dict[str, str]) -> None:
        _answer(client, method, f"/containers/{container}{path}", parameters, SECONDS_TO_ANSWER).close()

    for _ in range(2):
        with contextlib.suppress(OSError):
            try:
                ask("DELETE", "", {"force": "1", "v": "1"})
            except NotFound:
                pass
            except APIError:  # the engine is about to do it, because the container has ended
                with contextlib.suppress(NotFound):
                    deadline = time.monotonic() + SECONDS_TO_ANSWER
                    while time.monotonic() < deadline:
                        ask("GET", "/json", {})
                        time.sleep(0.02)
            return  # it answered


def get(client: DockerClient, path: str, parameters: dict[str, str]) -> Response:
    """An answer whose body was not read yet; its reader closes it. Raises APIError, NotFound or OSError."""
    return _answer(client, "GET", path, parameters, client.api.timeout)


def ending(client: DockerClient, container: str, seconds: float) -> Response:
    """The answer that comes when a container ends: asked for before its start, so that no end is too quick for it.
    Reading it raises OSError after so many seconds. Raises APIError or OSError."""
    return _answer(client, "POST", f"/containers/{container}/wait", {"condition": "next-exit"}, seconds)


def _answer(client: DockerClient, method: str, path: str, parameters: dict[str, str], seconds: float) -> Response:
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    api = client.api
    address = f"{api.base_url}/v{api.api_version}{path}"
    answer: Response = api.request(method, address, params=parameters, stream=True, timeout=seconds)
    try:
        answer.raise_for_status()
    except HTTPError as error:
        with answer:
            create_api_error_from_http_exception(error)
    return answer


def answers(client: DockerClient) -> bool:
    """Whether the engine is still there."""
    from docker.errors import APIError

    try:
        return bool(client.ping())
    except (APIError, OSError):
        return False


def out_of_memory(client: DockerClient, container: str) -> bool:
    """Whether the kernel killed something in a container for its memory limit. The container may be gone already: the
    engine keeps its last events, and ours are among them."""
    filters = json.dumps({"container": [container], "event": ["oom", "die"]})
    soon = str(int(time.time()) + 2)  # what has not been said by then is not waited for
    asked = {"since": "1", "until": soon, "filters": filters}
    with contextlib.suppress(OSError, ValueError), get(client, "/events", asked) as told:
        for line in told.iter_lines():
            action = json.loads(line).get("Action")
            if action in ("oom", "die"):
                return bool(action == "oom")
    return False


def info(client: DockerClient) -> dict[str, Any]:
    """What the engine says of itself."""
    found: dict[str, Any] = client.api.info()
    return found


def inspect_container(client: DockerClient, name: str) -> dict[str, Any]:
    """What the engine knows of a container. Raises AuditError if there is none of that name, or it is stopped."""
    from docker.errors import APIError, NotFound

    try:
        found: dict[str, Any] = client.api.inspect_container(name)
    except NotFound:
        raise AuditError(f"the engine has no container {name}; its names: docker ps") from None
    except (APIError, OSError) as error:
        raise AuditError(f"container {name}: {reason(error)}") from None
    state = found["State"]
    if not state["Running"]:
        image = found["Config"]["Image"]
        raise AuditError(f"container {name} does not run; start it, or audit its image: --container {image}")
    if state.get("Paused") or state.get("Restarting"):
        remedy = "docker unpause it first" if state.get("Paused") else "wait until it stays up"
        raise AuditError(f"container {name} is {state.get('Status', 'paused')}; {remedy}")
    return found
