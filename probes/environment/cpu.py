"""The processor as the computing process sees it: CPUID executed here, else glibc's view of it, else /proc/cpuinfo.

`cpu.flags` names only instruction sets that a program may use and that the operating system saves the registers of
(XCR0), in the spelling of Linux's /proc/cpuinfo; kernel-only flags are left out, so a kernel upgrade changes nothing.
Source of the bits: Intel SDM volume 2 CPUID; AMD APM volume 3 appendix E; Linux arch/x86/include/asm/cpufeatures.h.
"""

import os
import platform
import re
import sys
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..facts import Absent, Facts, text
from .sources import hwcap, native, portable

SCOPE = "machine"
NAMES = (
    "cpu.vendor",
    "cpu.model",
    "cpu.stepping",
    "cpu.name",
    "cpu.flags",
    "cpu.level",
    "cpu.machine",
    "cpu.microcode",
    "cpu.count",
    "cpu.cores",
    "cpu.sockets",
    "cpu.smt",
    "cpu.numa_nodes",
    "cpu.caches",
    "cpu.governor",
    "cpu.emulated",
    "cpu.emulation",
)

SYSFS = "/sys/devices/system"
CPUINFO = "/proc/cpuinfo"
_FIRST_PROCESSOR = 8192  # bytes; the kernel writes the file as it is read, and 192 processors take long

_AVX, _AVX512, _AMX = 0x6, 0xE6, 0x60000
# (leaf, subleaf, register, XCR0 bits that must all be set): name by bit number
_FLAG_BITS: Dict[Tuple[int, int, str, int], Dict[int, str]] = {
    (1, 0, "edx", 0): {8: "cx8", 15: "cmov", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2"},
    (1, 0, "ecx", 0): {
        0: "pni", 1: "pclmulqdq", 9: "ssse3", 13: "cx16", 19: "sse4_1", 20: "sse4_2", 22: "movbe",
        23: "popcnt", 25: "aes", 27: "osxsave", 30: "rdrand",
    },
    (1, 0, "ecx", _AVX): {12: "fma", 28: "avx", 29: "f16c"},
    (7, 0, "ebx", 0): {3: "bmi1", 8: "bmi2", 9: "erms", 18: "rdseed", 19: "adx", 29: "sha_ni"},
    (7, 0, "ebx", _AVX): {5: "avx2"},
    (7, 0, "ebx", _AVX512): {
        16: "avx512f", 17: "avx512dq", 21: "avx512ifma", 26: "avx512pf", 27: "avx512er", 28: "avx512cd",
        30: "avx512bw", 31: "avx512vl",
    },
    (7, 0, "ecx", 0): {8: "gfni"},
    (7, 0, "ecx", _AVX): {9: "vaes", 10: "vpclmulqdq"},
    (7, 0, "ecx", _AVX512): {
        1: "avx512vbmi", 6: "avx512_vbmi2", 11: "avx512_vnni", 12: "avx512_bitalg", 14: "avx512_vpopcntdq",
    },
    (7, 0, "edx", 0): {4: "fsrm"},
    (7, 0, "edx", _AVX512): {2: "avx512_4vnniw", 3: "avx512_4fmaps", 8: "avx512_vp2intersect", 23: "avx512_fp16"},
    (7, 0, "edx", _AMX): {22: "amx_bf16", 24: "amx_tile", 25: "amx_int8"},
    (7, 1, "eax", _AVX): {4: "avx_vnni", 23: "avx_ifma"},
    (7, 1, "eax", _AVX512): {5: "avx512_bf16"},
    (7, 1, "eax", _AMX): {21: "amx_fp16"},
    (7, 1, "edx", _AVX): {4: "avx_vnni_int8", 5: "avx_ne_convert"},
    (0x80000001, 0, "ecx", 0): {0: "lahf_lm", 5: "abm", 6: "sse4a", 21: "tbm"},
    (0x80000001, 0, "ecx", _AVX): {11: "xop", 16: "fma4"},
    (0x80000001, 0, "edx", 0): {29: "lm", 30: "3dnowext", 31: "3dnow"},
}  # fmt: skip
_FLAG_NAMES = frozenset(name for bits in _FLAG_BITS.values() for name in bits.values())
_GLIBC_LEAVES = {1: 0, 7: 1, 0x80000001: 2}

# x86-64 psABI, section 3.1.1: what each microarchitecture level adds, in /proc/cpuinfo's spelling.
_LEVELS = (
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3", "pni"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "osxsave"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    source, view = _view()
    facts.add("cpu.machine", platform.machine(), "uname")
    facts.read("cpu.vendor", source, view["vendor"])
    facts.read("cpu.model", source, view["model"])
    facts.read("cpu.stepping", source, view["stepping"])
    facts.read("cpu.name", source, view["name"])
    flags = facts.read("cpu.flags", source, view["flags"])
    facts.read("cpu.level", "cpu.flags", lambda: level(flags))
    facts.read("cpu.microcode", CPUINFO, _microcode)
    facts.read("cpu.count", "os.cpu_count", _count)
    facts.read("cpu.cores", SYSFS + "/cpu/cpu*/topology", _cores)
    facts.read("cpu.sockets", SYSFS + "/cpu/cpu*/topology", lambda: len(_topology("physical_package_id")))
    facts.read("cpu.smt", SYSFS + "/cpu/smt/active", lambda: text(SYSFS + "/cpu/smt/active") == "1")
    facts.read("cpu.numa_nodes", SYSFS + "/node", _numa_nodes)
    facts.read("cpu.caches", SYSFS + "/cpu/cpu0/cache", _caches)
    governor = SYSFS + "/cpu/cpu0/cpufreq/scaling_governor"
    facts.read("cpu.governor", governor, lambda: text(governor))
    evidence = facts.read("cpu.emulation", "CPUID, /proc/self/status, /proc/cpuinfo", emulation)
    facts.read("cpu.emulated", "cpu.emulation", lambda: bool(evidence))


# -- which way the processor is read ------------------------------------------------------------------------------


def _view() -> Tuple[str, Dict[str, Callable[[], Any]]]:
    """The best source at hand, and the five readings from it."""
    if native.is_x86_64():
        try:
            native.cpuid(0)
            return "CPUID", {
                "vendor": _vendor,
                "model": lambda: "{} {}-{}".format(_vendor(), *_signature(native.cpuid(1).eax)[:2]),
                "stepping": lambda: _signature(native.cpuid(1).eax)[2],
                "name": _brand,
                "flags": lambda: flags_from(native.cpuid, native.xcr0(), native.cpuid(0).eax),
            }
        except Absent:
            pass
    if sys.platform == "darwin":
        return "sysctl", _darwin()
    view = _cpuinfo()
    if not native.is_x86_64():
        return CPUINFO, view
    try:
        signature = _signature(native.glibc_leaf(0, False).eax)
        view["model"] = lambda: "{} {}-{}".format(view["vendor"](), *signature[:2])
        view["stepping"] = lambda: signature[2]
        view["flags"] = _glibc_flags
        return "glibc's CPU features, {}".format(CPUINFO), view
    except Absent:
        return CPUINFO, view


def _vendor() -> str:
    leaf = native.cpuid(0)
    return b"".join(part.to_bytes(4, "little") for part in (leaf.ebx, leaf.edx, leaf.ecx)).decode("ascii", "replace")


def _signature(eax: int) -> Tuple[int, int, int]:
    """Family, model and stepping from CPUID 1 EAX, extended fields folded in as both vendors document it."""
    family, model, stepping = eax >> 8 & 15, eax >> 4 & 15, eax & 15
    if family in (6, 15):
        model += (eax >> 16 & 15) << 4
    if family == 15:
        family += eax >> 20 & 255
    return family, model, stepping


def _brand() -> str:
    if native.cpuid(0x80000000).eax < 0x80000004:
        raise Absent("this processor has no brand string")
    parts = [part for leaf in (2, 3, 4) for part in native.cpuid(0x80000000 + leaf)]
    brand = b"".join(part.to_bytes(4, "little") for part in parts).split(b"\0")[0]
    return " ".join(brand.decode("ascii", "replace").split())


def flags_from(cpuid: Callable[[int, int], Any], xcr0: int, highest: int) -> List[str]:
    """Sorted names of the usable instruction sets. highest: the last basic leaf; later ones would repeat it."""
    found: Set[str] = set()
    for (leaf, subleaf, register, states), bits in _FLAG_BITS.items():
        if highest < leaf < 0x80000000 or (xcr0 & states) != states:
            continue
        if subleaf > 0 and cpuid(leaf, 0).eax < subleaf:
            continue
        value = getattr(cpuid(leaf, subleaf), register)
        found.update(name for bit, name in bits.items() if value >> bit & 1)
    return sorted(found)


def _glibc_flags() -> List[str]:
    # No XGETBV here; the registers' states are told by what glibc holds active, before any tunable hides it.
    def leaf(number: int, subleaf: int) -> Any:
        if subleaf == 0 and number in _GLIBC_LEAVES:
            return native.glibc_leaf(_GLIBC_LEAVES[number], False)
        return native.Registers(0, 0, 0, 0)

    return flags_from(leaf, 0xE7 if native.glibc_leaf(1, True).ebx >> 16 & 1 else 0x7, 7)


# -- /proc/cpuinfo and other systems ------------------------------------------------------------------------------


def first_processor() -> Dict[str, str]:
    """The fields of /proc/cpuinfo's first processor. Raises FileNotFoundError where there is no such file."""
    fields: Dict[str, str] = {}
    for line in text(CPUINFO, _FIRST_PROCESSOR).splitlines():
        key, colon, value = line.partition(":")
        if not colon and fields:
            break
        fields.setdefault(key.strip(), value.strip())
    return fields


def _field(*names: str) -> str:
    fields = first_processor()
    for name in names:
        if fields.get(name):
            return fields[name]
    raise Absent("{} does not say it on this machine".format(CPUINFO))


def _cpuinfo() -> Dict[str, Callable[[], Any]]:
    if platform.machine() in ("aarch64", "arm64"):
        return {
            "vendor": lambda: "ARM implementer " + _field("CPU implementer"),
            "model": lambda: "ARM {} {}".format(_field("CPU implementer"), _field("CPU part")),
            "stepping": lambda: "r{}p{}".format(int(_field("CPU variant"), 16), int(_field("CPU revision"))),
            "name": lambda: _field("model name", "Model", "Hardware"),
            "flags": hwcap.names,
        }
    return {
        "vendor": lambda: _field("vendor_id"),
        "model": lambda: "{} {}-{}".format(_field("vendor_id"), _field("cpu family"), _field("model")),
        "stepping": lambda: int(_field("stepping")),
        "name": lambda: _field("model name", "cpu", "cpu model"),
        "flags": lambda: sorted(_FLAG_NAMES.intersection(_field("flags").split())),
    }


def _darwin() -> Dict[str, Callable[[], Any]]:
    return {
        "vendor": lambda: "Apple",
        "model": lambda: hwcap.sysctl("machdep.cpu.brand_string"),
        "stepping": _no_stepping,
        "name": lambda: hwcap.sysctl("machdep.cpu.brand_string"),
        "flags": hwcap.darwin_features,
    }


def _no_stepping() -> int:
    raise Absent("this system does not tell a stepping")


def level(flags: Optional[List[str]]) -> str:
    """The highest x86-64 level whose instruction sets are all there. Raises Absent on other architectures."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise Absent("levels are defined for x86-64 only")
    if flags is None:
        raise Absent("the instruction sets could not be read")
    reached = "x86-64-v1"
    for name, needed in _LEVELS:
        # /proc/cpuinfo has no osxsave; avx among the usable flags implies it.
        if not needed - {"osxsave"} <= set(flags):
            break
        reached = name
    return reached


def _microcode() -> str:
    # The kernel's file is the host's under user-mode emulation, and in a virtual machine what the hypervisor says.
    return _field("microcode")


# -- topology -----------------------------------------------------------------------------------------------------


def _count() -> int:
    count = os.cpu_count()
    if count is None:
        raise Absent("the system does not tell")
    return count


def _topology(file: str) -> Set[str]:
    folder = SYSFS + "/cpu"
    values = set()
    for entry in os.listdir(folder):
        if re.match(r"cpu\d+$", entry):
            try:
                values.add(text("{}/{}/topology/{}".format(folder, entry, file), 4096))
            except FileNotFoundError:
                continue  # offline
    if not values:
        raise Absent("the kernel shows no topology")
    return values


def _cores() -> int:
    try:
        return len(_topology("thread_siblings_list"))
    except OSError:
        return portable.physical_cores()


def _numa_nodes() -> int:
    return sum(1 for entry in os.listdir(SYSFS + "/node") if re.match(r"node\d+$", entry))


def _caches() -> Dict[str, int]:
    """Bytes of one instance by name: L1d, L1i, L2, L3."""
    folder = SYSFS + "/cpu/cpu0/cache"
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    caches = {}
    for entry in sorted(os.listdir(folder)):
        if not entry.startswith("index"):
            continue
        number, kind, size = (text("{}/{}/{}".format(folder, entry, file)) for file in ("level", "type", "size"))
        letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
        caches["L{}{}".format(number, letter)] = int(size.rstrip("KMG")) * units.get(size[-1], 1)
    if not caches:
        raise Absent("the kernel shows no caches")
    return caches


# -- emulated or native -------------------------------------------------------------------------------------------


def emulation() -> List[str]:
    """Evidence that this process's instructions are translated, not executed; empty on real hardware.

    Raises Absent where nothing could be looked at.
    """
    evidence = []
    try:
        name = re.search(r"^Name:\s*(\S+)", text("/proc/self/status", 4096), re.MULTILINE)
        if name and name.group(1).startswith(("qemu-", "rosetta", "box64", "FEX")):
            evidence.append("the kernel calls this process {}".format(name.group(1)))
    except OSError:
        pass
    try:
        if "TCG" in hypervisor_vendor():
            evidence.append("CPUID names the emulator TCG")
        if _vendor() == "VirtualApple" or "VirtualApple" in _brand():
            evidence.append("CPUID names VirtualApple (Rosetta)")
    except Absent:
        pass
    evidence.extend(_other_processor())
    return sorted(evidence)


def hypervisor_vendor() -> str:
    """CPUID leaf 0x40000000, twelve letters such as "KVMKVMKVM"; "" without a hypervisor. Raises Absent."""
    if not native.cpuid(1).ecx >> 31 & 1:
        return ""
    leaf = native.cpuid(0x40000000)
    letters = b"".join(part.to_bytes(4, "little") for part in (leaf.ebx, leaf.ecx, leaf.edx))
    return letters.rstrip(b"\0").decode("ascii", "replace")


def _other_processor() -> List[str]:
    try:
        fields = first_processor()
        if not native.is_x86_64():
            return ["{} shows an x86 processor".format(CPUINFO)] if "vendor_id" in fields else []
        if "CPU implementer" in fields:
            return ["{} shows an ARM processor".format(CPUINFO)]
        here = (_vendor(), *_signature(native.cpuid(1).eax))
        keys = ("cpu family", "model", "stepping")
        kernel = (fields.get("vendor_id", ""), *(int(fields.get(key, -1)) for key in keys))
        return [] if here == kernel else ["CPUID differs from {}".format(CPUINFO)]
    except (OSError, Absent, ValueError):
        return []
