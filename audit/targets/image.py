"""What an image cannot know of itself, read from outside through the engine: identity, layers, recipe, limits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.targets import engine, history, layers
from audit.targets.target import Facts
from probes.environment.sources import forms
from probes.facts import Absent
from probes.facts import Facts as Reading
from probes.session import Notify

if TYPE_CHECKING:
    from docker import DockerClient

Inspected = dict[str, Any]

UNKNOWN = "(another)"
"""Stands for a name that somebody gave to something of their own."""

_INSPECT, _HISTORY, _INFO, _VERSION, _HOST = (
    "image inspect",
    "image history",
    "engine info",
    "engine version",
    "the container's host configuration",
)
OUR_LIMITS = ("container.memory_limit", "container.processes_limit", "limits.memory", "limits.cgroup_processes")
"""What our own containers are limited by (`container.py`): a share of the machine they run on, and nothing of the
image's, which would otherwise be another one on every machine."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm", "i686": "386", "i386": "386"}
_BOTH = {("386", "amd64"), ("arm", "arm64")}
"""(image, engine): what the processor of the second executes itself, too."""

_ARCHITECTURE = forms.words("amd64 arm64 arm 386 ppc64le s390x riscv64 mips64le loong64")
_DRIVER = forms.words("overlay2 overlay overlayfs btrfs zfs vfs aufs devicemapper fuse-overlayfs native stargz nydus")
_RUNTIME = r"(?:io\.containerd\.)?" + forms.words(
    "runc crun runsc youki kata kata-runtime kata-qemu nvidia nvidia-cdi nvidia-legacy sysbox-runc krun"
) + r"(?:\.v\d)?"  # fmt: skip
_NETWORK = forms.words("none bridge host default private slirp4netns pasta")
_ENTRYPOINT = (
    r"python[\d.]*|pypy[\d.]*|"
    + forms.words(
        "sh bash dash zsh env tini tini-static dumb-init catatonit s6-svscan init gosu conda mamba micromamba"
    )
    + r"|docker-entrypoint\.sh|entrypoint\.sh|nvidia_entrypoint\.sh|_entrypoint\.sh|_activate_current_env\.sh"
)


def inspect(client: DockerClient, name: str, pull: bool) -> Inspected:
    """What the engine knows of an image. One that it lacks is pulled if that was asked for. Raises AuditError."""
    from docker.errors import APIError, ImageNotFound

    words = f"image {name}"
    try:
        with contextlib.suppress(*([ImageNotFound] if pull else [])):
            return dict(client.api.inspect_image(name))
        words += " cannot be pulled"
        client.images.pull(name)
        return dict(client.api.inspect_image(name))
    except ImageNotFound:
        remedy = "check its name" if pull else "pull it, or let audit do that: --pull"
        raise AuditError(f"the engine has no image {name}; {remedy}") from None
    except (APIError, OSError) as error:
        raise AuditError(f"{words}: {engine.reason(error)}") from None


def short(digest: str) -> str:
    """An image's or a layer's digest as engines show it: twelve digits."""
    return digest.removeprefix("sha256:")[:12]


class Outside:
    """The facts of one image, read when the target is complete.

    host: gives the host configuration that its containers are started with. container: the one that runs already, as
    the engine knows it. gpus_refused: tells whether the engine offers GPUs and could not pass them through.
    """

    def __init__(
        self,
        client: DockerClient,
        image: str,
        host: Callable[[], Inspected],
        container: Inspected | None = None,
        gpus_refused: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.image = image
        self.host = host
        self.container = container
        self.gpus_refused = gpus_refused

    def __call__(self, captured: dict[str, Any], notify: Notify) -> Facts:
        """The facts. captured: the target's part of the report so far; layers are searched only if something was
        computed in it, because that takes longer than facts alone."""
        facts = Reading()
        # Where the engine no longer answers, that is the one fact, and it is not asked again.
        known = facts.read("image.id", _INSPECT, self._known)
        if isinstance(known, _Known):
            for name, source, reading in READINGS:
                facts.read(name, source, lambda reading=reading: reading(known))  # type: ignore[misc]
            for name in () if self.container else OUR_LIMITS:
                facts.missing(name, "absent", "the auditor's own limit for its containers")
            facts.read("image.layers_searched", "image export", lambda: self._search(known, captured, facts, notify))
        return facts.records

    def _known(self) -> _Known:
        api = self.client.api
        told = api.inspect_image(self.image), api.history(self.image), api.info(), api.version()
        return _Known(*told, self.host(), self.gpus_refused())

    def _search(self, known: _Known, captured: dict[str, Any], facts: Reading, notify: Notify) -> int:
        """How many packages and libraries have their layer; each is a fact of its own."""
        if not (captured.get("battery", {}).get("operators") or captured.get("jobs")):
            raise Absent("facts only")
        changed = self.client.api.diff(self.container["Id"]) if self.container else []
        found = layers.brought(self.client, known.image, captured, changed or [], notify)
        for name, layer in found.items():
            facts.add(f"image.{name}.layer", layer, "image export")
        return len(found)


@dataclass(frozen=True)
class _Known:
    """What the engine tells of an image, of itself, and of how containers are started, in its own words."""

    image: Inspected
    history: list[Inspected]
    info: Inspected
    version: Inspected
    host: Inspected
    gpus_refused: bool = False

    @property
    def config(self) -> Inspected:
        return self.image.get("Config") or {}

    @property
    def security(self) -> list[str]:
        """The engine's own security options: "name=seccomp,profile=default", "name=rootless"."""
        return [str(option) for option in self.info.get("SecurityOptions") or []]

    @property
    def options(self) -> list[str]:
        """The container's security options: "no-new-privileges", "seccomp=unconfined"."""
        return [str(option).replace(":", "=", 1) for option in self.host.get("SecurityOpt") or []]


# -- the image --------------------------------------------------------------------------------------------------------


def _store(known: _Known) -> str:
    """Under a graph driver an image's ID is its configuration's digest, under containerd its manifest's or index's."""
    driver = forms.recorded(str(known.info.get("Driver", "")), _DRIVER)
    status = known.info.get("DriverStatus") or []
    return f"containerd: {driver}" if ["driver-type", "io.containerd.snapshotter.v1"] in status else f"graph: {driver}"


def architecture(name: object) -> str:
    """A machine's or an image's architecture as engines name it."""
    return forms.recorded(_ARCHITECTURES.get(str(name), str(name)), _ARCHITECTURE)


def _platform(known: _Known) -> str:
    system = forms.recorded(str(known.image.get("Os", "")), forms.words("linux windows freebsd"))
    variant = forms.recorded(str(known.image.get("Variant") or ""), r"v\d")
    return "/".join(filter(None, (system, architecture(known.image.get("Architecture")), variant)))


def foreign(image: Inspected, info: Inspected) -> tuple[str, str] | None:
    """The architectures of an image and of its engine's machine, if that cannot execute it itself."""
    pair = architecture(image.get("Architecture")), architecture(info.get("Architecture"))
    return pair if pair[0] != pair[1] and pair not in _BOTH else None


def _digests(known: _Known) -> list[str]:
    """Without the repository's name, which can be somebody's own."""
    digests = (str(one).rpartition("@")[2] for one in known.image.get("RepoDigests") or [])
    return sorted({digest for digest in digests if re.fullmatch(r"sha256:[0-9a-f]{64}", digest)})


def _unpinned(known: _Known) -> list[str]:
    created = (str(entry.get("CreatedBy") or "") for entry in reversed(known.history))
    return list(dict.fromkeys(line for one in created for line in history.unpinned(*history.instruction(one))))


def _user(known: _Known) -> str:
    user = str(known.config.get("User") or "").partition(":")[0]
    if user in ("", "0", "root"):
        return "root"
    return f"uid {user}" if re.fullmatch(r"\d{1,10}", user) else "not root"


def _entrypoint(known: _Known) -> str | None:
    words = known.config.get("Entrypoint") or []
    if not words:
        return None
    name = str(words[0]).rpartition("/")[2]
    return name if re.fullmatch(_ENTRYPOINT, name) else UNKNOWN


# -- the container ----------------------------------------------------------------------------------------------------


def _known_name(name: object, form: str) -> str:
    return str(name) if re.fullmatch(form, str(name)) else UNKNOWN


def _seccomp(known: _Known) -> str:
    """The filter of system calls: default, unconfined, custom or none."""
    own = [option.partition("=")[2] for option in known.options if option.startswith("seccomp=")]
    if known.host.get("Privileged"):
        return "unconfined"
    if own:
        return own[-1] if own[-1] in ("unconfined", "builtin") else "custom"
    engines = [option for option in known.security if option.startswith("name=seccomp")]
    if not engines:
        return "none"
    profile = engines[0].partition("profile=")[2]
    return "default" if profile in ("", "default", "builtin") else _known_name(profile, "unconfined|custom")


def _security(known: _Known) -> list[str]:
    """Everything else that confines it, or does not."""
    engines = {option.partition("=")[2].partition(",")[0] for option in known.security} & {
        "apparmor", "selinux", "userns", "rootless", "cgroupns"
    }  # fmt: skip
    own = {option for option in known.options if option in ("apparmor=unconfined", "label=disable")}
    if any(option.startswith("no-new-privileges") and not option.endswith("false") for option in known.options):
        own.add("no-new-privileges")
    return sorted(engines | own | ({"privileged"} if known.host.get("Privileged") else set()))


def _capabilities(known: _Known) -> list[str]:
    """What was added to (+) and taken from (-) the engine's default."""
    pairs = [("+", known.host.get("CapAdd")), ("-", known.host.get("CapDrop"))]
    names = [(sign, str(name).upper().removeprefix("CAP_")) for sign, found in pairs for name in found or []]
    return sorted(sign + forms.recorded(name, "[A-Z][A-Z_]{2,30}") for sign, name in names)


def _limit(known: _Known, name: str) -> int | None:
    value = known.host.get(name)
    return value if isinstance(value, int) and value > 0 else None


def _cpus(known: _Known) -> float | None:
    billionths, quota = _limit(known, "NanoCpus"), _limit(known, "CpuQuota")
    if billionths:
        return billionths / 1e9
    return quota / (_limit(known, "CpuPeriod") or 100_000) if quota else None


def _network(known: _Known) -> str:
    return _known_name(known.host.get("NetworkMode") or "default", _NETWORK)


def _gpu(known: _Known) -> bool:
    """Whether the host's driver and its libraries are put into the container: they are in no layer of the image."""
    if known.gpus_refused:
        raise Absent("the engine offers GPUs and could not pass them through")
    wanted = [
        capability
        for request in known.host.get("DeviceRequests") or []
        for group in request.get("Capabilities") or [["gpu" if request.get("Driver") in ("cdi", "nvidia") else ""]]
        for capability in group
    ]
    devices = [str(device.get("PathOnHost", "")) for device in known.host.get("Devices") or []]
    passed = any(device.startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd")) for device in devices)
    return "gpu" in wanted or passed or str(_runtime(known)).startswith("nvidia")


def _runtime(known: _Known) -> str:
    return _known_name(known.host.get("Runtime") or known.info.get("DefaultRuntime") or "runc", _RUNTIME)


# -- the engine -------------------------------------------------------------------------------------------------------


def _engine(known: _Known) -> str:
    names = {str(part.get("Name")) for part in known.version.get("Components") or []}
    return "Podman" if "Podman Engine" in names else "Docker" if "Engine" in names else UNKNOWN


def _cgroup(known: _Known) -> str:
    version = forms.recorded(str(known.info.get("CgroupVersion", "")), r"\d")
    return (
        f"v{version}, {forms.recorded(str(known.info.get('CgroupDriver', '')), forms.words('cgroupfs systemd none'))}"
    )


Value = Callable[[_Known], object]

READINGS: tuple[tuple[str, str, Value], ...] = (
    ("image.id", _INSPECT, lambda known: short(known.image["Id"])),
    ("image.store", _INFO, _store),
    ("image.platform", _INSPECT, _platform),
    ("image.emulated", "image inspect and engine info", lambda known: bool(foreign(known.image, known.info))),
    ("image.layers", _INSPECT, lambda known: [short(layer) for layer in known.image["RootFS"]["Layers"]]),
    ("image.digests", _INSPECT, _digests),
    ("image.recipe", _HISTORY, lambda known: history.lines(known.history)),
    ("image.unpinned", _HISTORY, _unpinned),
    ("image.env", _INSPECT, lambda known: sorted(history.allowed(known.config.get("Env") or []))),
    ("image.user", _INSPECT, _user),
    ("image.entrypoint", _INSPECT, _entrypoint),
    ("container.runtime", f"{_HOST} and engine info", _runtime),
    ("container.seccomp", f"{_HOST} and engine info", _seccomp),
    ("container.security", f"{_HOST} and engine info", _security),
    ("container.capabilities", _HOST, _capabilities),
    ("container.network", _HOST, _network),
    ("container.memory_limit", _HOST, lambda known: _limit(known, "Memory")),
    ("container.cpu_limit", _HOST, _cpus),
    ("container.cpuset", _HOST, lambda known: forms.recorded(str(known.host.get("CpusetCpus") or ""), forms.RANGES)),
    ("container.processes_limit", _HOST, lambda known: _limit(known, "PidsLimit")),
    ("container.shared_memory", _HOST, lambda known: _limit(known, "ShmSize")),
    ("container.gpu", _HOST, _gpu),
    ("engine.name", _VERSION, _engine),
    ("engine.version", _VERSION, lambda known: forms.version(str(known.version.get("Version", "")))),
    ("engine.storage_driver", _INFO, lambda known: forms.recorded(str(known.info.get("Driver", "")), _DRIVER)),
    ("engine.cgroup", _INFO, _cgroup),
    ("engine.rootless", _INFO, lambda known: "name=rootless" in known.security),
    ("engine.architecture", _INFO, lambda known: architecture(known.info.get("Architecture"))),
)
"""Every fact with its source and how it is told from what the engine says."""
