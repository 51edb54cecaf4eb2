"""A recipe built twice by the engine; what building leaves there is removed in every outcome."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from audit.errors import AuditError
from audit.targets import engine, image
from probes import interrupts
from probes.session import Notify

if TYPE_CHECKING:
    from docker import DockerClient

    from audit.targets.recipe import Recipe

SECONDS_SILENT = 900.0
SECONDS = 7200.0
"""How long a build may say nothing, and how long it may take: packages can be large, and some are compiled."""

SECONDS_TO_END = 10.0
"""How long an image is waited for that something still uses."""

_STEP = re.compile(r"(?:Step|STEP) (\d+)/(\d+)")
_ERROR_STREAM = "\x1b[91m"
"""The classic builder says in red what a step writes to standard error; its order against the rest is by chance."""

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""Older engines colour what a step prints to standard error."""

_ENGINES_OWN = re.compile(r"\s*(-+> |Removing intermediate container )")
_MADE = re.compile(r"^\s*-+> ([0-9a-f]{12,64})\s*$", re.MULTILINE)
_NEWER = "BuildKit"


@dataclass
class Builds:
    """What building leaves in the engine. there: images that were there before; made: those that steps named."""

    client: DockerClient
    there: set[str]
    made: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def remove(self) -> None:
        """Remove what building made, the last first: an image that others are made of stays until they are gone.

        A step that was interrupted runs a moment longer, in a container of the image below it.
        """
        left = list(reversed(list(dict.fromkeys([*self.made, *self.images]))))
        deadline = time.monotonic() + SECONDS_TO_END
        with interrupts.held():
            while (left := [name for name in left if not self._removed(name)]) and time.monotonic() < deadline:
                time.sleep(0.1)

    def _removed(self, name: str) -> bool:
        """Whether an image is gone, or is not for us to remove."""
        from docker.errors import APIError, ImageNotFound

        try:
            found = self.client.api.inspect_image(name)
            if found["Id"] not in self.there and not found.get("RepoTags"):
                self.client.api.remove_image(found["Id"], force=True, noprune=True)
        except ImageNotFound:
            return True
        except APIError:
            return False
        except OSError:  # no engine, no image
            return True
        return True


def twice(client: DockerClient, recipe: Recipe, pull: bool, notify: Notify) -> Builds:
    """Build twice, the second time without the engine's cache. Raises AuditError, and then leaves nothing."""
    for base in recipe.bases:
        if "$" not in base:  # what a variable names, only the engine can tell
            image.inspect(client, base, pull)
    builds = Builds(client, {found["Id"] for found in client.api.images(all=True)})
    try:
        with interrupts.allowed(), _archived(recipe) as archive:
            for run in (1, 2):
                archive.seek(0)
                builds.images.append(_built(builds, recipe, archive, run, notify))
    except BaseException as error:
        builds.remove()
        if isinstance(error, KeyboardInterrupt):
            raise AuditError("interrupted; nothing was written") from None
        raise
    return builds


@contextlib.contextmanager
def _archived(recipe: Recipe) -> Iterator[IO[bytes]]:
    """The context in a file without a name: both builds are given the same."""
    from docker.utils.build import create_archive

    with tempfile.TemporaryFile() as archive:
        try:
            create_archive(recipe.folder, recipe.files, fileobj=archive)
        except OSError as error:
            raise AuditError(f"{recipe.name}: {error.strerror or error}") from None
        yield archive


def _built(builds: Builds, recipe: Recipe, archive: IO[bytes], run: int, notify: Notify) -> str:
    """The image of one build. Raises AuditError."""
    words = f"build {run} of 2"
    notify(words, 0, 0)
    api = builds.client.api
    parameters = {
        "dockerfile": recipe.file,
        "nocache": run > 1,
        "rm": True,
        "forcerm": True,
        "labels": json.dumps({engine.LABEL: engine.owner()}),
    }
    try:
        response = api.post(
            f"{api.base_url}/v{api.api_version}/build",
            params=parameters,
            data=archive,
            headers={"Content-Type": "application/tar"},
            stream=True,
            timeout=SECONDS_SILENT,
        )
        with contextlib.closing(response):
            return _Log(builds, recipe.name, words, notify).follow(response.iter_lines())
    except OSError as error:  # docker's and requests' own errors are some
        raise AuditError(f"{recipe.name}: {words}: {engine.reason(error)}") from None


class _Log:
    """What the engine says while it builds."""

    def __init__(self, builds: Builds, name: str, words: str, notify: Notify) -> None:
        self.builds = builds
        self.name = name
        self.words = words
        self.notify = notify
        self.step = ""
        self.said = ""
        self.complained = False
        self.image = ""

    def follow(self, lines: Iterator[bytes]) -> str:
        """The image that was built. Raises AuditError if none was."""
        deadline = time.monotonic() + SECONDS
        for line in filter(None, lines):
            self._take(line)
            if time.monotonic() > deadline:
                raise self._error(f"it takes more than {SECONDS / 3600:.0f} hours")
        if not self.image:
            raise self._error("the engine ended it without an image")
        return self.image

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(record, dict):
            return
        if "error" in record or set(record) == {"message"}:
            raise self._failed(str(record.get("error") or record.get("message")))
        stream = str(record.get("stream") or "")
        text = _COLOUR.sub("", stream)
        self.builds.made += _MADE.findall(text)
        step = _STEP.match(text)
        if step:
            self.step, self.said, self.complained = f"step {step[1]}", "", False
            self.notify(self.words, int(step[1]), int(step[2]))
        elif text.strip() and not _ENGINES_OWN.match(text):
            complains = stream.startswith(_ERROR_STREAM)
            if complains or not self.complained:
                self.said = text.strip().splitlines()[-1]
            self.complained |= complains
        found = (record.get("aux") or {}).get("ID") or re.findall(r"^Successfully built (\w{12,64})$", text, re.M)
        self.image = found if isinstance(found, str) else next(iter(found), self.image)

    def _failed(self, why: str) -> AuditError:
        status = re.search(r"returned a non-zero code: (\d+)", why)
        last = f"; it said: {self.said[:300]}" if status and self.said else ""
        newer = "; build it yourself and audit its image: --container IMAGE" if _NEWER in why else ""
        return self._error((f"exit status {status[1]}" if status else why.strip()[-300:]) + last + newer)

    def _error(self, why: str) -> AuditError:
        place = f"{self.words}, {self.step}" if self.step else self.words
        return AuditError(f"{self.name}: {place}: {why}")


def sweep(client: DockerClient) -> None:
    """Remove images of builds whose maker was killed before it could."""
    from docker.errors import APIError

    with contextlib.suppress(APIError, OSError):
        for found in client.api.images(all=True, filters={"label": engine.LABEL}):
            if engine.abandoned(found):
                Builds(client, set(), images=[found["Id"]]).remove()
