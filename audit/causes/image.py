"""The image that a report was made in, found again in this engine by its content.

A report is untrusted. It never chooses by a name and nothing is pulled: what runs is an image that is here already and
whose layers are those of the report's, and it runs as `audit run --container` would run it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from audit.compare.side import Measured
from audit.errors import AuditError
from audit.targets import engine
from audit.targets.image import short

if TYPE_CHECKING:
    from docker import DockerClient

Inspected = dict[str, Any]

_LAYER = re.compile(r"[0-9a-f]{12}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?P<repository>{_PART}(?::\d{{1,5}}(?=/))?(?:/{_PART})*)(?::[\w][\w.-]{{0,127}})?", re.ASCII)
"""What engines accept as an image's name, without a digest. Source: distribution/reference, the grammar."""

_MOST = 4096


def layers(side: Measured) -> list[str]:
    """The layers of the image that a side is of, as its report names them; [] if it is no engine's image."""
    found = side.fact("image.layers")
    if str(side.fact("image.store")).startswith("SIF"):  # no engine's: what is named there are samples of a file
        return []
    known = isinstance(found, list) and len(found) <= _MOST and all(_LAYER.fullmatch(str(one)) for one in found)
    return list(map(str, found)) if known and isinstance(found, list) else []


def find(client: DockerClient, there: Measured) -> Inspected | None:
    """The engine's own image with the report's layers; of several the one that is most like it otherwise.

    Raises AuditError if the engine does not answer.
    """
    from docker.errors import APIError, ImageNotFound

    wanted, found = layers(there), []
    try:
        for listed in client.api.images():
            try:
                inspected: Inspected = client.api.inspect_image(listed["Id"])
            except ImageNotFound:  # removed meanwhile
                continue
            if wanted and of(inspected) == wanted:
                found.append(inspected)
    except (APIError, OSError) as error:
        raise AuditError(f"the engine does not list its images: {engine.reason(error)}") from None
    return max(found, key=lambda one: _likeness(one, there), default=None)


def of(inspected: Inspected) -> list[str]:
    """The layers of one of the engine's images, as reports name them."""
    return [short(layer) for layer in (inspected.get("RootFS") or {}).get("Layers") or []]


def _likeness(inspected: Inspected, there: Measured) -> tuple[bool, bool]:
    """Layers are files only: which variables an image sets is told by its digest and its ID."""
    its = there.fact("image.digests")
    mine = [str(one).rpartition("@")[2] for one in inspected.get("RepoDigests") or []]
    return bool(set(mine) & set(its if isinstance(its, list) else [])), short(inspected["Id"]) == there.fact("image.id")


def name(inspected: Inspected) -> str:
    """What the engine calls an image: its first tag, else its ID."""
    tags = [str(tag) for tag in inspected.get("RepoTags") or [] if "<none>" not in str(tag)]
    return tags[0].removesuffix(":latest") if tags else short(inspected["Id"])


def lacking(there: Measured) -> str:
    """That this engine has not got the report's image, and how it can be had, in one line."""
    digests = there.fact("image.digests")
    known = [str(one) for one in digests if _DIGEST.fullmatch(str(one))] if isinstance(digests, list) else []
    called = _NAME.fullmatch(there.target.name)
    identity = short(known[0]) if known else layers(there)[-1]
    said = f"this engine has no image with the report's layers ({'digest' if known else 'the last is'} {identity})"
    if known and called:
        return f"{said}; to have it: docker pull {shlex.quote(called['repository'] + '@' + known[0])}"
    if known:
        return f"{said}, and what the report calls it is no image's name"
    if there.target.name.startswith("dockerfile:"):
        return f"{said}; build it from its recipe and name it: --container IMAGE"
    return f"{said}; it is in no registry: have it sent (docker save, docker load)"
