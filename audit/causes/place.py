"""Where a report is reproduced: in its own image, where this engine has it; else by the interpreter of this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit.causes import image
from audit.compare.side import Measured
from audit.errors import AuditError
from audit.targets import asked, engine
from audit.targets import image as images
from audit.targets.container import ImageTarget
from audit.targets.environments import Environments
from audit.targets.prefix import PrefixTarget
from audit.targets.target import Facts, Target
from probes.session import Notify
from reports.reproduction import InImage

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Place:
    """What a laboratory is made of. image: the one that everything runs in; notes: for the reproduction; warnings: for
    the person at the terminal."""

    target: Target
    image: InImage | None = None
    outside: Callable[[], Facts] = dict
    environments: Environments | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def chosen(options: argparse.Namespace, there: Measured, notify: Notify) -> Place:
    """The place that the command line names, or the one that the report suggests.

    Raises AuditError for what cannot be had of what the command line names.
    """
    if options.wheels is not None and not options.packages:
        raise AuditError("--wheels says where --packages takes wheels from; give both")
    if options.container:
        if options.python or options.via or options.packages:
            raise AuditError(
                "--container runs in an image: --python, --via and --packages are for this machine's Python"
            )
        if options.container.endswith(".sif"):
            raise AuditError("--container takes an engine's image; for a SIF file: --via 'apptainer exec FILE.sif'")
        client = engine.connect()
        return _inside(
            client, images.inspect(client, options.container, False), options.container, there, options, notify
        )
    notes = []
    if image.layers(there) and not (options.python or options.via):
        try:
            client = engine.connect()
            found = image.find(client, there)
        except AuditError as error:
            notes.append(f"the report is of an image, and {error}; searched with this machine's own Python")
        else:
            if found:
                return _inside(client, found, image.name(found), there, options, notify)
            notes.append(image.lacking(there))
    one = asked.host(options)
    if one.missing:
        raise AuditError(f"cannot start {options.program[0]}: {one.missing}")
    environments = None
    if options.packages:
        assert isinstance(one.target, PrefixTarget)
        environments = Environments(one.target, options.wheels, notify)
        environments.begin()
    return Place(one.target, environments=environments, notes=notes, warnings=one.warnings)


def _inside(
    client: DockerClient,
    inspected: image.Inspected,
    name: str,
    there: Measured,
    options: argparse.Namespace,
    notify: Notify,
) -> Place:
    """In a container of an image. Its layers are not searched: what brought its packages decides nothing here."""
    engine.sweep(client)
    target = ImageTarget(client, inspected, name, seconds=options.limit)
    outside = images.Outside(client, inspected["Id"], target.host_config, gpus_refused=lambda: bool(target.warnings))
    same = bool(image.layers(there)) and image.of(inspected) == image.layers(there)
    notes = [] if same else [f"image {name} is not the report's: its layers are others"] * bool(image.layers(there))
    if same and there.target.name.startswith("exec:"):
        notes.append("what was changed in the report's container since it was started is not in its image")
    if options.packages:
        notes.append("packages are not tried in an image; --python INTERPRETER --packages tries them outside")
    return Place(target, InImage(name, same), lambda: outside({}, notify), notes=notes)
