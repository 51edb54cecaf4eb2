"""A Dockerfile as a target: its recipe is read, built twice, and the second build says what of the first repeats."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.targets import engine, history, image
from audit.targets.container import ImageTarget
from audit.targets.image import Records
from probes import interrupts, session
from probes.facts import Absent, Facts
from probes.session import Notify

if TYPE_CHECKING:
    from docker import DockerClient

MOST_BYTES = 500 << 20
"""Of a build's context, which is sent to the engine twice."""

MOST_TEXT = 1 << 20
"""Bytes of a Dockerfile."""

SECONDS_SILENT = 900.0
SECONDS = 7200.0
"""How long a build may say nothing, and how long it may take: packages can be large, and some are compiled."""

SECONDS_TO_END = 10.0
"""How long an image is waited for that something still uses."""

_PUBLIC = re.compile(
    r"(?:docker\.io/(?:library/)?)?(debian|ubuntu|python|pypy|alpine|fedora|centos|rockylinux(?:/rockylinux)?|almalinux"
    r"|amazonlinux|archlinux|busybox|buildpack-deps|nvidia/cuda|pytorch/pytorch|tensorflow/tensorflow|rocm/pytorch"
    r"|continuumio/(?:mini|ana)conda3|mambaorg/micromamba|condaforge/(?:miniforge3|mambaforge)|intel/\w{1,40}"
    r"|nvcr\.io/nvidia/(?:pytorch|tensorflow|jax|cuda)|ghcr\.io/astral-sh/uv|quay\.io/pypa/manylinux\w{1,40}"
    r"|huggingface/transformers-pytorch-gpu|jupyter/[a-z]+-notebook|gcr\.io/distroless/[a-z0-9-]{1,40})"
    r"(?::([\w.-]{1,80}))?(?:@(sha256:[0-9a-f]{64}))?"
)
"""Images whose names are everybody's. Any other is somebody's own."""

_STEP = re.compile(r"(?:Step|STEP) (\d+)/(\d+)")
_ENGINES_OWN = re.compile(r"\s*(-+> |Removing intermediate container )")
_MADE = re.compile(r"^\s*-+> ([0-9a-f]{12,64})\s*$", re.MULTILINE)
_NEWER = "BuildKit"


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile and its context. name: the target's; file: the Dockerfile's; files: what of the folder is sent."""

    name: str
    file: str
    text: str
    folder: str
    files: list[str]
    context: str
    steps: list[tuple[str, str]]

    @property
    def bases(self) -> list[str]:
        """What its FROM lines name, but for stages of its own."""
        stages: set[str] = set()
        found = []
        for rest in (rest for word, rest in self.steps if word == "FROM"):
            words = [word for word in rest.split() if not word.startswith("--")]
            if words and words[0].lower() not in stages and words[0] != "scratch":
                found.append(words[0])
            if len(words) > 2 and words[1].lower() == "as":
                stages.add(words[2].lower())
        return found

    def unpinned(self) -> list[str]:
        """What the recipe leaves open, in words: "FROM debian:bookworm: no digest", "pip install torch: no version"."""
        found = [f"FROM {shown(base)}: no digest" for base in self.bases if "@sha256:" not in base]
        for word, rest in self.steps:
            found += history.unpinned(word, re.sub(r"^(?:--\S+\s+)+", "", rest))
        return list(dict.fromkeys(found))


def shown(base: str) -> str:
    """A base image's name as a report may hold it."""
    return base if _PUBLIC.fullmatch(base) else "(another image)"


def read(path: str) -> Recipe:
    """The recipe in a folder, or that a file is. Raises AuditError."""
    from docker.utils.build import exclude_paths

    whole = os.path.abspath(path)
    folder, file = os.path.split(whole) if os.path.isfile(whole) else (whole, "Dockerfile")
    name = os.path.basename(folder if file == "Dockerfile" else whole) or "Dockerfile"
    try:
        with open(os.path.join(folder, file), "rb") as source:
            text = source.read(MOST_TEXT).decode("utf-8", "replace")
        files = sorted(exclude_paths(folder, _ignored(folder), dockerfile=file))
        context = _digest(folder, files, path)
    except FileNotFoundError:
        raise AuditError(f"--dockerfile {path}: no {file} there; name its folder, or the file itself") from None
    except OSError as error:
        raise AuditError(f"--dockerfile {path}: {error.strerror or error}") from None
    return Recipe(f"dockerfile:{name}", file, text, folder, files, context, list(instructions(text)))


def _ignored(folder: str) -> list[str]:
    try:
        with open(os.path.join(folder, ".dockerignore"), encoding="utf-8", errors="replace") as file:
            return [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return []


def _digest(folder: str, files: list[str], path: str) -> str:
    """64-bit BLAKE2b over names, permissions and contents. Raises AuditError for a context that is too large."""
    digest, size = hashlib.blake2b(digest_size=8), 0
    for name in files:
        found = os.lstat(os.path.join(folder, name))
        digest.update(f"{name}\0{stat.S_IFMT(found.st_mode):o}{found.st_mode & 0o777:o}\0".encode("utf-8", "replace"))
        if stat.S_ISLNK(found.st_mode):
            digest.update(os.fsencode(os.readlink(os.path.join(folder, name))))
        elif stat.S_ISREG(found.st_mode):
            size += found.st_size
            if size > MOST_BYTES:
                raise AuditError(
                    f"--dockerfile {path}: a context of more than {MOST_BYTES >> 20} MB would be sent to the engine;"
                    " leave out what the recipe does not copy, in .dockerignore"
                )
            with open(os.path.join(folder, name), "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with what stands behind it; comments left out, continued lines joined.

    Source: Dockerfile reference, Format, and Parser directives.
    """
    escape = "`" if re.match(r"(?:#[^\n]*\n)*#\s*escape\s*=\s*`", text) else "\\"
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or (joined and not line.strip()):
            continue
        line = line.rstrip()
        joined += line[:-1] + " " if line.endswith(escape) else line
        if not line.endswith(escape):
            word, rest = history.instruction(joined.strip())
            if word:
                yield word, rest
            joined = ""


# -- building ---------------------------------------------------------------------------------------------------------


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


def build(client: DockerClient, recipe: Recipe, pull: bool, notify: Notify) -> Builds:
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
        text = str(record.get("stream") or "")
        self.builds.made += _MADE.findall(text)
        step = _STEP.match(text)
        if step:
            self.step, self.said = f"step {step[1]}", ""
            self.notify(self.words, int(step[1]), int(step[2]))
        elif text.strip() and not _ENGINES_OWN.match(text):
            self.said = text.strip().splitlines()[-1]
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
            if _abandoned(str((found.get("Labels") or {}).get(engine.LABEL, ""))):
                Builds(client, set(), images=[found["Id"]]).remove()


def _abandoned(label: str) -> bool:
    """Whether a label's process was one of here and is gone."""
    where, number, began = label.split(":") if label.count(":") == 2 else ("", "", "")
    own, _, known = engine.owner().split(":")
    return bool(known) and where == own and number.isdigit() and engine._began(int(number)) != began


# -- facts ------------------------------------------------------------------------------------------------------------

_NAMES = "base context digest layers_changed layers_repeat packages_changed results_repeat unpinned"
NAMES = {f"recipe.{name}" for name in _NAMES.split()}
"""Every fact of a recipe. Each has its row in the catalogue."""


class Outside:
    """The facts of a recipe and of its first image.

    second: the second build's image as a target, measured only if its layers are not the first one's.
    """

    def __init__(self, recipe: Recipe, builds: Builds, first: image.Outside, second: ImageTarget) -> None:
        self.recipe = recipe
        self.builds = builds
        self.first = first
        self.second = second

    def __call__(self, captured: dict[str, Any], notify: Notify) -> Records:
        facts = Facts()
        facts.add("recipe.digest", _text_digest(self.recipe.text), "Dockerfile")
        facts.add("recipe.context", self.recipe.context, "the build's context")
        facts.read("recipe.base", "Dockerfile and image inspect", self._bases)
        facts.add("recipe.unpinned", self.recipe.unpinned(), "Dockerfile")
        changed = facts.read("recipe.layers_changed", "two builds", self._layers_changed)
        if changed is None:
            return {**self.first(captured, notify), **facts.records}
        facts.add("recipe.layers_repeat", not changed, "two builds")
        again = self._again(captured, notify) if changed else None
        facts.read("recipe.packages_changed", "two builds", lambda: _packages_changed(captured, again))
        facts.read("recipe.results_repeat", "operators in two builds", lambda: _results_repeat(captured, again))
        return {**self.first(captured, notify), **facts.records}

    def _bases(self) -> list[str]:
        """Each with the image that its name stood for at the time."""
        found = []
        for base in self.recipe.bases:
            with contextlib.suppress(OSError):
                inspected = self.builds.client.api.inspect_image(base)
                found.append(f"{shown(base)} = {image.short(inspected['Id'])}")
                continue
            found.append(shown(base))
        return found

    def _layers_changed(self) -> list[str]:
        """Layers of the first image that the second one has otherwise: "2 of 3"."""
        inspect = self.builds.client.api.inspect_image
        first, second = (inspect(one)["RootFS"]["Layers"] for one in self.builds.images)
        pairs = enumerate(itertools.zip_longest(first, second), 1)
        return [f"{at} of {max(len(first), len(second))}" for at, (one, other) in pairs if one != other]

    def _again(self, captured: dict[str, Any], notify: Notify) -> dict[str, Any] | Exception:
        """What the second image gives: its battery once, if the first one's was asked for."""
        asked = "operators" if captured.get("battery", {}).get("operators") else "none"

        def told(words: str, done: int, total: int) -> None:
            notify(f"second build: {words}", done, total)

        try:
            return session.capture(session.plan([asked], repeat=1), self.second.launch, told)
        except (session.Died, AuditError) as error:
            return error


def _text_digest(text: str) -> str:
    """64-bit BLAKE2b of a recipe, whatever ends its lines."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return hashlib.blake2b(lines.encode("utf-8"), digest_size=8).hexdigest()


def _measured(again: dict[str, Any] | Exception | None) -> dict[str, Any]:
    if again is None:
        raise Absent("not measured: all layers are the same")
    if isinstance(again, Exception):
        raise Absent("the second build's image could not be measured")
    return again


def _packages_changed(captured: dict[str, Any], again: dict[str, Any] | Exception | None) -> list[str]:
    """Distributions that are not the same in both images."""
    both = [captured["facts"], _measured(again)["facts"]]
    names = {name for facts in both for name in facts if name.startswith("packages.")}
    values = {name: [facts.get(name, {}).get("value") for facts in both] for name in names}
    moved = {name.split(".", 1)[1].rpartition(".")[0] for name, (one, other) in values.items() if one != other}
    return sorted(moved - {""})


def _results_repeat(captured: dict[str, Any], again: dict[str, Any] | Exception | None) -> bool:
    """Whether every operator that the first image repeats has the same bits in the second."""
    digests = [_digests(part) for part in (captured, _measured(again))]
    common = digests[0].keys() & digests[1].keys()
    if not common:
        raise Absent("no operators were asked for")
    return all(digests[0][name] == digests[1][name] for name in common)


def _digests(part: dict[str, Any]) -> dict[str, str]:
    operators = part.get("battery", {}).get("operators", [])
    steady = (one for one in operators if one.get("result") and not one.get("hazard") and not one.get("repeats"))
    return {one["name"]: one["result"]["digest"] for one in steady}
