"""A Dockerfile as a target: its recipe as a report may hold it, and what two builds of it (`build`) have in common."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.targets import history, image
from audit.targets.build import Builds
from audit.targets.container import ImageTarget
from audit.targets.target import Facts
from probes import session
from probes.facts import Absent
from probes.facts import Facts as Reading
from probes.session import Notify

if TYPE_CHECKING:
    pass

MOST_BYTES = 500 << 20
"""Of a build's context, which is sent to the engine twice."""

MOST_TEXT = 1 << 20
"""Bytes of a Dockerfile."""

_PUBLIC = re.compile(
    r"(?:docker\.io/(?:library/)?)?(debian|ubuntu|python|pypy|alpine|fedora|centos|rockylinux(?:/rockylinux)?|almalinux"
    r"|amazonlinux|archlinux|busybox|buildpack-deps|nvidia/cuda|pytorch/pytorch|tensorflow/tensorflow|rocm/pytorch"
    r"|continuumio/(?:mini|ana)conda3|mambaorg/micromamba|condaforge/(?:miniforge3|mambaforge)|intel/\w{1,40}"
    r"|nvcr\.io/nvidia/(?:pytorch|tensorflow|jax|cuda)|ghcr\.io/astral-sh/uv|quay\.io/pypa/manylinux\w{1,40}"
    r"|huggingface/transformers-pytorch-gpu|jupyter/[a-z]+-notebook|gcr\.io/distroless/[a-z0-9-]{1,40})"
    r"(?::([\w.-]{1,80}))?(?:@(sha256:[0-9a-f]{64}))?"
)
"""Images whose names are everybody's. Any other is somebody's own."""


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
        return left_open(self.bases, self.steps)


def left_open(bases: list[str], steps: list[tuple[str, str]]) -> list[str]:
    """What steps leave open, and images without a digest that they build on, in words."""
    found = [f"FROM {shown(base)}: no digest" for base in bases if "@sha256:" not in base]
    for word, rest in steps:
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

    def __call__(self, captured: dict[str, Any], notify: Notify) -> Facts:
        facts = Reading()
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
        finally:
            self.second.close()


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
    """Distributions and packages of the system that are not the same in both images."""
    both = [captured["facts"], _measured(again)["facts"]]
    names = {name for facts in both for name in facts if name.startswith(("packages.", "system_packages."))}
    values = {name: [facts.get(name, {}).get("value") for facts in both] for name in names}
    moved = {name for name, (one, other) in values.items() if one != other}
    found = {name.split(".", 1)[1].rpartition(".")[0] for name in moved} - {""}
    unnamed = "system_packages.digest" in moved and not any(re.match(r"system_packages\..+\.", name) for name in moved)
    return sorted(found) + (["other system packages"] if unnamed else [])


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
