"""The operating system: kernel, distribution, evidence of a hypervisor, load. The host's name is not captured."""

import os
import platform
import re
import shlex
import sys
from typing import Any, Dict, List

from ..facts import Absent, Facts, text
from . import cpu

SCOPE = "machine"
NAMES = ("os.name", "os.release", "os.kernel", "os.kernel_build", "os.variant", "system.hypervisor", "time.load")

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
DMI = "/sys/class/dmi/id"


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("os.name", "uname", platform.system)
    facts.read("os.release", "os-release", _release)
    facts.read("os.variant", "os-release", _variant)
    facts.read("os.kernel", "uname", platform.release)
    facts.read("os.kernel_build", "uname", platform.version)
    facts.read("system.hypervisor", "CPUID, /sys/hypervisor, DMI, the device tree", hypervisor)
    facts.read("time.load", "getloadavg", _load)


def _os_release() -> Dict[str, str]:
    for path in OS_RELEASE:
        try:
            lines = text(path).splitlines()
        except FileNotFoundError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        return {key: " ".join(shlex.split(value)) for key, _, value in pairs}
    raise Absent("this system has no os-release file")


def _release() -> str:
    """Such as "debian 12", "ubuntu 24.04", "macos 14.5", "windows 11"."""
    if sys.platform == "darwin":
        return "macos {}".format(platform.mac_ver()[0])
    if sys.platform == "win32":
        return "windows {}".format(platform.release())
    fields = _os_release()
    # A rolling distribution has no version, a testing one only a code name.
    version = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME") or fields.get("BUILD_ID", "")
    return "{} {}".format(fields.get("ID", "linux"), version).strip()


def _variant() -> str:
    """The release as the distribution writes it for people, and a point release where it keeps one."""
    if sys.platform in ("darwin", "win32"):
        return platform.platform()
    name = _os_release().get("PRETTY_NAME", "")
    try:
        point = text("/etc/debian_version")
    except OSError:
        point = ""
    return "{} ({})".format(name, point) if re.match(r"\d+\.\d+", point) else name


def hypervisor() -> List[str]:
    """Everything that says this is a virtual machine, sorted; empty where nothing does."""
    evidence = []
    try:
        vendor = cpu.hypervisor_vendor()
        if vendor:
            evidence.append("CPUID 0x40000000: {}".format(vendor.strip()))
    except Absent:
        pass
    for path in ("/sys/hypervisor/type", "/proc/device-tree/hypervisor/compatible"):
        evidence.extend("{}: {}".format(path, line) for line in _line(path))
    for file in ("sys_vendor", "product_name", "bios_vendor", "board_vendor"):
        evidence.extend("DMI {}: {}".format(file, line) for line in _line(DMI + "/" + file) if _is_virtual(line))
    if os.path.isdir("/proc/xen"):
        evidence.append("/proc/xen is there")
    return sorted(evidence)


def _line(path: str) -> List[str]:
    try:
        content = text(path, 4096).replace("\0", " ").strip()
    except OSError:
        return []
    return [content] if content else []


def _is_virtual(name: str) -> bool:
    # Only names of virtual machines: a real machine's product would be its identity, not evidence.
    words = "qemu|kvm|vmware|virtualbox|xen|bochs|innotek|microsoft corporation|virtual|amazon ec2|google|openstack"
    words += "|parallels|bhyve|firecracker|digitalocean|hetzner|alibaba|oraclecloud|scaleway|nutanix|red hat|rhev"
    return re.search(words, name, re.IGNORECASE) is not None


def _load() -> List[float]:
    if not hasattr(os, "getloadavg"):
        raise Absent("this system has no load average")
    return [round(value, 2) for value in os.getloadavg()]
