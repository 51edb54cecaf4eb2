"""Which nodes should give the same bits: classes by normalised hardware, driver and image.

A class is what was bought and installed, never what came of it. Were the code paths in effect part of it (as in
`audit.policy.hold.KNOWN_BY`, which asks another question: does this runner fit a baseline), then a node whose firmware
hides AVX-512, whose OpenBLAS was told another kernel, or whose numpy drifted would be a class of its own and never an
outlier. Were the processor no part of it, two generations of hardware would be each other's outliers. So:

- machine: the architecture.
- cpu: vendor, family and model as CPUID tells them. Clock, stepping, microcode and the brand's name are no part: one
  name is sold with and without AVX-512, and two names of one silicon run the same code. Nor are its flags: nodes of one
  model of which some lack a flag are what a cluster's owner looks for.
- gpu: the products, without their number: a node that lost one of eight stays in its class.
- driver: its first two numbers; a fix of a release is no other class.
- image: the layers of a container's image; without one, the system's release. Interpreters and libraries within it are
  no part, unless the image says that they are others.

A majority needs three nodes. So a class of one or two is held against the nearest class: of the same architecture, at
most half of the other parts not the same, and larger. One emulated node among three is thus named, and a login node
with another CPU and without GPUs is not. Of two that are equally near, it is the larger one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from audit.compare.side import Outline
from audit.policy.hold import FOLDED_BY
from reports.fleet import Part
from reports.report import Value

MAJORITY = 3
"""So many nodes are needed for one of them to be the odd one."""

_PARTS: tuple[Part, ...] = ("machine", "cpu", "gpu", "driver", "image")
_RELEASE = re.compile(r"\d+\.\d+")

KnownBy = dict[Part, str]
"""What a class is known by; a part that its nodes do not have, or could not tell, is not there."""


@dataclass
class Class:
    """Nodes by their positions; near: smaller classes that are held against this one."""

    known_by: KnownBy
    members: list[int]
    near: list[Class] = field(default_factory=list)

    @property
    def all(self) -> list[int]:
        """Its nodes and those that are held against it, in the order given."""
        return sorted([*self.members, *(member for one in self.near for member in one.members)])


def classes(nodes: Sequence[Outline]) -> list[Class]:
    """The classes with a majority of their own and those that are near none, largest first; each node is in one of
    them or in its `near`. The order of nodes changes nothing."""
    found: dict[tuple[str, ...], Class] = {}
    for position, node in enumerate(nodes):
        known = known_by(node)
        found.setdefault(_key(known), Class(known, [])).members.append(position)
    hosts: list[Class] = []
    for one in sorted(found.values(), key=lambda one: (-len(one.members), _key(one.known_by))):
        able = [host for host in hosts if len(host.members) > len(one.members) and is_near(host.known_by, one.known_by)]
        if len(one.members) < MAJORITY and able:
            min(able, key=lambda host: len(differing(host.known_by, one.known_by))).near.append(one)
        else:
            hosts.append(one)
    return hosts


def known_by(node: Outline) -> KnownBy:
    """What class a node is of."""
    gpus = {value for name, value in node.values(["gpu"]).items() if name.startswith("gpu.") and name.endswith(".name")}
    found: dict[Part, Value] = {
        "machine": _text(node.fact("cpu.machine")),
        "cpu": _text(node.fact("cpu.model")),
        "gpu": ", ".join(sorted(map(str, gpus))),
        "driver": _driver(_text(node.fact("gpu.driver"))),
        "image": _image(node),
    }
    return {part: str(value) for part, value in found.items() if value}


def differing(one: KnownBy, other: KnownBy) -> list[Part]:
    """The parts in which two classes are not the same."""
    return [part for part in _PARTS if one.get(part) != other.get(part)]


def is_near(one: KnownBy, other: KnownBy) -> bool:
    """Whether nodes of two classes may be held against each other."""
    parts = {*one, *other} - {"machine"}
    apart = differing(one, other)
    return "machine" not in apart and 2 * len(apart) <= len(parts)


def _key(known: KnownBy) -> tuple[str, ...]:
    return tuple(known.get(part, "") for part in _PARTS)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _driver(version: str) -> str:
    found = _RELEASE.match(version)
    return found[0] if found else version


def _image(node: Outline) -> str:
    """The image by its layers, else as its registry has it; where there is none, the system's release."""
    for name in reversed(FOLDED_BY):
        value = node.fact(name)
        if value:
            return f"image {hashlib.blake2b(repr(value).encode('utf-8'), digest_size=4).hexdigest()}"
    return _text(node.fact("os.release"))
