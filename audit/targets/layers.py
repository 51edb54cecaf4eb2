"""Which layer of an image brought a package or library, read from the engine's export of the image."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.targets import history
from audit.targets.archive import MOST_BYTES, Archive, Layer, Unreadable
from probes import interrupts
from probes.environment.packages import normal
from probes.environment.sources import mapped
from probes.facts import Absent
from probes.session import Notify

if TYPE_CHECKING:
    from docker import DockerClient

SECONDS = 600.0
"""How long the engine may prepare an export, or be silent in it."""

_DISTRIBUTION = re.compile(r"(?:.*/)?([^/]+)\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)$")
_SYSTEM = re.compile(r"var/lib/dpkg/(?:info/([^/:]+)(?::\w+)?\.list|status\.d/([^/]+))$")
_RELEASE = re.compile(r"(?:etc|usr/lib)/os-release$")
_PYTHON = re.compile(r"(?:.*/)?bin/(python\d+\.\d+)$")


@dataclass(frozen=True)
class Wanted:
    """What the facts of a target name: distributions of Python, packages of the system, mapped libraries.

    python: the interpreter's file name, "python3.11".
    """

    names: frozenset[str]
    python: str

    @staticmethod
    def by(captured: dict[str, Any]) -> Wanted:
        """What `captured`, a target's part of a report, names."""
        works = [captured, captured.get("battery", {}), *captured.get("jobs", [])]
        facts = {name: fact.get("value") for work in works for name, fact in work.get("facts", {}).items()}
        version = ".".join(str(facts.get("python.version")).split(".")[:2])
        return Wanted(frozenset(_names(facts)), "python" + version)

    def key(self, path: str) -> str:
        """What a file of the image is of interest as, "" for most."""
        if ".so" in path:
            found = mapped.name("/" + path)
        elif match := _DISTRIBUTION.match(path):
            found = normal(match.group(1).partition("-")[0])
        elif match := _SYSTEM.match(path):
            found = match.group(1) or match.group(2)
        elif _RELEASE.match(path):
            return "os"
        else:
            match = _PYTHON.match(path)
            return "python" if match and match.group(1) == self.python else ""
        return found if found in self.names else ""


def _names(facts: dict[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if match := re.fullmatch(r"(?:system_)?packages\.(.+)\.version", name):
            yield match.group(1)
        elif name.endswith(".owner") and isinstance(value, str):
            yield value.partition(" ")[0]
        if match := re.fullmatch(r"libraries\.([^.@]+)\.build_id", name):  # an extension module is its package's
            yield match.group(1)


def brought(
    client: DockerClient, image: dict[str, Any], captured: dict[str, Any], changed: list[Any], notify: Notify
) -> dict[str, str]:
    """The layer of everything that the facts of a target name: "2 of 5: RUN pip install numpy==2.3.5".

    changed: what a running container has changed since, as the engine tells it: its own layer, above the image's.
    Raises Absent where the layers cannot be read.
    """
    wanted = Wanted.by(captured)
    if image.get("Size", 0) > MOST_BYTES:
        raise Absent(f"an image of more than {MOST_BYTES >> 30} GB is not searched")
    try:
        layers, config = _read(client, image, wanted, notify)
    except Unreadable as error:
        raise Absent(f"the image's layers cannot be searched: {error}") from None
    told = _told(len(layers), config)
    if changed:
        layers.append(_own(changed, wanted))
        told.append("changed in the running container")
    return {name: told[at] for name, at in sorted(topmost(layers).items())}


def _read(
    client: DockerClient, image: dict[str, Any], wanted: Wanted, notify: Notify
) -> tuple[list[Layer], dict[str, Any]]:
    api = client.api
    address = f"{api.base_url}/v{api.api_version}/images/{image['Id']}/get"
    response = api.get(address, stream=True, timeout=SECONDS)
    try:
        response.raise_for_status()
        with interrupts.allowed():
            archive = Archive(_Told(response.raw.read, image.get("Size", 0), notify).read, wanted.key)
        return archive.image(image["RootFS"]["Layers"])
    finally:
        response.close()


class _Told:
    """Reads, and says how far it is."""

    def __init__(self, read: Callable[[int], bytes], size: int, notify: Notify) -> None:
        self._read = read
        self._size = size
        self._notify = notify
        self._done = 0
        notify("layers", 0, size)

    def read(self, most: int) -> bytes:
        data = self._read(most)
        if (self._done + len(data)) >> 24 > self._done >> 24:
            self._notify("layers", min(self._done, self._size), self._size)
        self._done += len(data)
        return data


def topmost(layers: list[Layer]) -> dict[str, int]:
    """By key: the position of the highest layer with a file of it that no layer above removes."""
    alive: dict[str, tuple[str, int]] = {}
    for position, layer in enumerate(layers):
        if layer.removed or layer.emptied:
            alive = {path: found for path, found in alive.items() if not layer.hides(path)}
        alive.update({path: (found, position) for path, found in layer.files.items()})
    highest: dict[str, int] = {}
    for found, position in alive.values():
        highest[found] = max(position, highest.get(found, 0))
    return highest


def _told(count: int, config: dict[str, Any]) -> list[str]:
    """Each layer in words, with its line of the recipe where the configuration has one for each."""
    entries = [entry for entry in config.get("history") or [] if isinstance(entry, dict)]
    made = [entry for entry in entries if not entry.get("empty_layer")]
    words = [f"{position + 1} of {count}" for position in range(count)]
    if len(made) != count:
        return words
    lines = (history.recorded(str(one.get("created_by") or ""), str(one.get("comment") or "")) for one in made)
    return [f"{position}: {line}" for position, line in zip(words, lines, strict=True)]


def _own(changed: list[Any], wanted: Wanted) -> Layer:
    """A container's own layer. Kind: 0 modified, 1 added, 2 deleted (Docker's API, ContainerChanges)."""
    layer = Layer()
    for change in changed:
        path = os.path.normpath("/" + str(change["Path"])).lstrip("/")
        if change["Kind"] == 2:
            layer.removed.add(path)
        else:
            layer.add(path, True, wanted.key)
    return layer
