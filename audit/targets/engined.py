"""Targets that a container engine runs: images, running containers, and recipes that are built first."""

from __future__ import annotations

import argparse
import weakref
from typing import Any

from audit.progress import Progress
from audit.targets import build, engine, image, recipe
from audit.targets.asked import Asked, refuse_twice
from audit.targets.container import ImageTarget, RunningTarget


def asked(images: list[str], options: argparse.Namespace, others: list[Asked]) -> list[Asked]:
    """Images, running containers and recipes, in this order. others: targets of other kinds, whose names are taken.

    Raises AuditError, for example where no engine answers or it has no such image.
    """
    recipes = [recipe.read(path) for path in options.dockerfile]
    client = engine.connect()
    engine.sweep(client)
    found = [_image(client, name, image.inspect(client, name, options.pull), options) for name in images]
    found += [_running(client, name, options) for name in options.exec]
    refuse_twice([*(one.name for one in (*others, *found)), *(one.name for one in recipes)])
    if recipes:
        build.sweep(client)
    return found + [_built(client, one, options) for one in recipes]  # last: it takes longest


def _image(client: Any, name: str, inspected: dict[str, Any], options: argparse.Namespace) -> Asked:
    target = ImageTarget(client, inspected, name, options.container_python, options.limit)
    chosen = "as --container-python says" if options.container_python else "found in the image"
    outside = image.Outside(client, inspected["Id"], target.host_config, gpus_refused=lambda: bool(target.warnings))
    return Asked(name, target, chosen, outside=outside, still=target.still, warnings=target.warnings)


def _running(client: Any, name: str, options: argparse.Namespace) -> Asked:
    inspected = engine.inspect_container(client, name)
    target = RunningTarget(client, inspected, name, options.container_python, options.limit)
    chosen = "as --container-python says" if options.container_python else "found in the container"
    outside = image.Outside(client, inspected["Image"], lambda: dict(inspected["HostConfig"]), inspected)
    return Asked(f"exec:{name}", target, chosen, outside=outside, still=target.still)


def _built(client: Any, one: recipe.Recipe, options: argparse.Namespace) -> Asked:
    with Progress(options.quiet, patience=0) as progress:
        builds = build.twice(client, one, options.pull, progress.of(one.name))
    weakref.finalize(one, builds.remove)  # at the latest when this process ends
    first, second = (
        ImageTarget(client, image.inspect(client, built, False), one.name, options.container_python, options.limit)
        for built in builds.images
    )
    outside = image.Outside(client, builds.images[0], first.host_config, gpus_refused=lambda: bool(first.warnings))
    chosen = "as --container-python says" if options.container_python else "found in the image"
    return Asked(
        one.name,
        first,
        chosen,
        outside=recipe.Outside(one, builds, outside, second),
        still=first.still,
        warnings=first.warnings,
    )
