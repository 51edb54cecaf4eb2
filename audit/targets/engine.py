"""The container engine that the environment names, through its API: Docker's, or another's that speaks it (Podman)."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "reproducibility-auditor"
"""On every container that we make, with who made it: one whose maker is gone is removed by the next run."""


def connect() -> DockerClient:
    """A client of the engine that DOCKER_HOST, the current Docker context, or a socket in its usual place names.

    Raises AuditError if none answers.
    """
    import docker
    from docker.errors import DockerException

    address = _address()
    try:
        client = docker.from_env() if address is None else docker.DockerClient(base_url=address)
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        raise AuditError(
            f"no container engine answers at {address or _named()}: {reason(error)}; {_remedy(error)}"
        ) from None
    return client


def _named() -> str:
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def _address() -> str | None:
    """Where the engine is, if DOCKER_HOST does not say it and it is not Docker's default."""
    if os.environ.get("DOCKER_HOST"):
        return None
    from docker.context import ContextAPI

    context = ContextAPI.get_current_context()
    if context is not None and context.name != "default" and context.Host:
        return str(context.Host)
    if os.path.exists("/var/run/docker.sock"):
        return None
    places = [
        os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "podman/podman.sock"),
        "/run/podman/podman.sock",
    ]
    return next((f"unix://{place}" for place in places if os.path.exists(place)), None)


def reason(error: BaseException) -> str:
    """What an engine's error comes to, without the layers of libraries that it came through."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, str) and explanation:
        return explanation.strip().splitlines()[0][:300]
    text = str(error)
    for known in ("No such file or directory", "Permission denied", "Connection refused", "Name or service not known"):
        if known in text:
            return known
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__


def _remedy(error: BaseException) -> str:
    if "Permission denied" in str(error):
        return "you may not use its socket: join its group, or name another engine in DOCKER_HOST"
    return "start one, or name yours in DOCKER_HOST"


def owner() -> str:
    """This process, as a label of its containers: the machine (salted digest), its number and when it began."""
    machine = hashlib.blake2b(platform.node().encode("utf-8", "replace"), digest_size=6, person=b"audit owner")
    return f"{machine.hexdigest()}:{os.getpid()}:{_began(os.getpid())}"


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot; "" if there is none of that number, or no telling."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def sweep(client: DockerClient) -> None:
    """Remove containers whose maker on this machine was killed before it could."""
    machine, _, _ = owner().split(":")
    for found in client.api.containers(all=True, filters={"label": LABEL}):
        made_by = str(found.get("Labels", {}).get(LABEL, "")).split(":")
        ours = len(made_by) == 3 and made_by[0] == machine and made_by[1].isdigit()
        if ours and _began(int(made_by[1])) != made_by[2]:
            remove(client, found["Id"])


def remove(client: DockerClient, container: str) -> None:
    """Remove a container with its anonymous volumes; that it is gone already is as good."""
    import contextlib

    from docker.errors import APIError, NotFound

    with contextlib.suppress(NotFound, APIError, OSError):
        client.api.remove_container(container, force=True, v=True)


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
    if not found["State"]["Running"]:
        raise AuditError(
            f"container {name} does not run; start it, or audit its image: --container {found['Config']['Image']}"
        )
    return found
