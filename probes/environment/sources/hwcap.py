"""Instruction sets of processors without CPUID: Linux's auxiliary vector on aarch64, sysctl on macOS.

Source: Linux arch/arm64/include/uapi/asm/hwcap.h (bit numbers), getauxval(3); Apple's sysctl names `hw.optional.*`.
"""

import ctypes
import platform
import sys
from typing import List

from ...facts import Absent

_AT_HWCAP, _AT_HWCAP2 = 16, 26
# In bit order, as /proc/cpuinfo spells them.
_HWCAP = (
    "fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid",
    "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512", "sve", "asimdfhm",
    "dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb", "paca", "pacg",
)  # fmt: skip
_HWCAP2 = (
    "dcpodp", "sve2", "sveaes", "svepmull", "svebitperm", "svesha3", "svesm4", "flagm2", "frint", "svei8mm",
    "svef32mm", "svef64mm", "svebf16", "i8mm", "bf16", "dgh", "rng", "bti", "mte", "ecv", "afp", "rpres", "mte3",
    "sme", "smei16i64", "smef64f64", "smei8i32", "smef16f32", "smeb16f32", "smef32f32", "smefa64", "wfxt", "ebf16",
    "sveebf16", "cssc", "rprfm", "sve2p1", "sme2", "sme2p1", "smei16i32", "smebi32i32", "smeb16b16", "smef16f16",
    "mops", "hbc", "sveb16b16", "lrcpc3", "lse128",
)  # fmt: skip
_NOT_INSTRUCTIONS = {"evtstrm", "cpuid", "ssbs", "sb", "dit", "dgh", "bti", "mte", "mte3", "paca", "pacg", "ecv"}


def names() -> List[str]:
    """Sorted names of what aarch64 Linux lets this process use. Raises Absent elsewhere."""
    if platform.machine() != "aarch64":
        raise Absent("no way is known to read instruction sets on {}".format(platform.machine()))
    function = ctypes.CDLL(None).getauxval
    function.restype = ctypes.c_ulong
    return decode(function(ctypes.c_ulong(_AT_HWCAP)), function(ctypes.c_ulong(_AT_HWCAP2)))


def decode(hwcap: int, hwcap2: int) -> List[str]:
    """Sorted names of the bits of both words; those that decide no result (security, events) are left out."""
    found = {name for bit, name in enumerate(_HWCAP) if hwcap >> bit & 1}
    found.update(name for bit, name in enumerate(_HWCAP2) if hwcap2 >> bit & 1)
    return sorted(found - _NOT_INSTRUCTIONS)


def sysctl(name: str) -> str:
    """A text of macOS's sysctl. Raises Absent."""
    return _sysctl(name).split(b"\0")[0].decode("utf-8", "replace")


def _sysctl(name: str) -> bytes:
    if sys.platform != "darwin":
        raise Absent("sysctl is read on macOS only")
    library = ctypes.CDLL(None)
    size = ctypes.c_size_t(0)
    if library.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0) != 0:
        raise Absent("this system has no {}".format(name))
    content = ctypes.create_string_buffer(size.value)
    if library.sysctlbyname(name.encode(), content, ctypes.byref(size), None, 0) != 0:
        raise Absent("this system has no {}".format(name))
    return content.raw[: size.value]


def darwin_features() -> List[str]:
    """Sorted instruction sets of a Mac that decide results. Raises Absent elsewhere."""
    if sys.platform != "darwin":
        raise Absent("sysctl is read on macOS only")
    found = []
    for name in ("AdvSIMD", "arm.FEAT_FP16", "arm.FEAT_BF16", "arm.FEAT_I8MM", "arm.FEAT_SME", "arm.FEAT_SME2"):
        try:
            if any(_sysctl("hw.optional." + name)):
                found.append(name.split("_")[-1].lower())
        except Absent:
            continue
    return sorted(found)
