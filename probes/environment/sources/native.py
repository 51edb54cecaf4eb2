"""A few x86-64 instructions, executed in this process: CPUID, XGETBV, RSQRTPS and RCPPS.

Why not /proc/cpuinfo: under user-mode emulation that file is the host's, and a masked CPUID (a hypervisor, rr) does not
show there. What a library's dispatcher sees is what the instruction says, in the process that computes.
Source: Intel SDM volume 2, by the instructions' names; System V AMD64 ABI for the calling convention.
"""

import ctypes
import functools
import mmap
import platform
from typing import Any, NamedTuple

from ...facts import Absent

_CPUID = bytes.fromhex(
    "53"  # push rbx                the ABI wants it back, CPUID overwrites it
    "4989d0"  # mov r8, rdx         third argument: where the four registers go
    "89f8"  # mov eax, edi          first argument: leaf
    "89f1"  # mov ecx, esi          second argument: subleaf
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8+4], ebx
    "41894808"  # mov [r8+8], ecx
    "4189500c"  # mov [r8+12], edx
    "5bc3"  # pop rbx; ret
)
_XGETBV = bytes.fromhex(
    "31c9"  # xor ecx, ecx          register XCR0
    "0f01d0"  # xgetbv
    "48c1e220"  # shl rdx, 32
    "4809d0"  # or rax, rdx
    "c3"  # ret
)
_XGETBV_OFFSET = 64
_APPROXIMATE = bytes.fromhex(
    "0f1007"  # movups xmm0, [rdi]  first argument: numbers
    "0f52c8"  # rsqrtps xmm1, xmm0
    "0f110e"  # movups [rsi], xmm1  second argument: where both approximations go
    "0f53c8"  # rcpps xmm1, xmm0
    "0f114e10"  # movups [rsi+16], xmm1
    "4883c710"  # add rdi, 16
    "4883c620"  # add rsi, 32
    "48ffca"  # dec rdx             third argument: how many times four numbers
    "75e3"  # jnz                   to the beginning
    "c3"  # ret
)
_APPROXIMATE_OFFSET = 128
_OSXSAVE = 1 << 27  # CPUID 1, ECX: XGETBV may be executed


class Registers(NamedTuple):
    """What CPUID leaves: four unsigned 32-bit numbers."""

    eax: int
    ebx: int
    ecx: int
    edx: int


def is_x86_64() -> bool:
    """Whether this process executes x86-64 code (an emulated one counts)."""
    return platform.machine().lower() in ("x86_64", "amd64") and ctypes.sizeof(ctypes.c_void_p) == 8


@functools.lru_cache(maxsize=None)
def _page() -> Any:
    # One executable page for the life of the process. Raises Absent where the system allows none.
    if not is_x86_64():
        raise Absent("CPUID is an x86 instruction")
    if not hasattr(mmap, "PROT_EXEC"):
        raise Absent("executing CPUID is implemented for POSIX systems only")
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError as error:
        raise Absent("the system allows no executable memory ({})".format(error.strerror)) from None
    for offset, code in ((0, _CPUID), (_XGETBV_OFFSET, _XGETBV), (_APPROXIMATE_OFFSET, _APPROXIMATE)):
        page[offset : offset + len(code)] = code
    return page


def _address() -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(_page()))


@functools.lru_cache(maxsize=None)
def cpuid(leaf: int, subleaf: int = 0) -> Registers:
    """The registers of one CPUID leaf. Raises Absent where the instruction cannot be executed."""
    function = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(_address())
    out = (ctypes.c_uint32 * 4)()
    function(leaf, subleaf, ctypes.cast(out, ctypes.c_void_p))
    return Registers(*out)


@functools.lru_cache(maxsize=None)
def xcr0() -> int:
    """The register states that the operating system saves (bit 1 SSE, 2 AVX, 5 to 7 AVX-512, 17 and 18 AMX).

    0 where XGETBV may not be executed. Raises Absent where no instruction can be executed.
    """
    if not cpuid(1).ecx & _OSXSAVE:
        return 0
    function = ctypes.CFUNCTYPE(ctypes.c_uint64)(_address() + _XGETBV_OFFSET)
    return int(function())


def approximations() -> bytes:
    """What RSQRTPS and RCPPS give for 8,192 numbers from 1 to 4: these differ in the twelve highest bits of their
    fractions, with others below, and both halves of what an exponent can be to a root.

    Intel documents the largest error of both (1.5 * 2**-12) and no bits: each maker, and each emulator, has its own.
    Raises Absent where no instruction can be executed.
    """
    numbers = (ctypes.c_uint32 * 8192)(*(0x3F800000 + (n << 11) + n % 2039 for n in range(8192)))
    found = (ctypes.c_uint32 * (2 * len(numbers)))()
    pointer = ctypes.c_void_p
    function = ctypes.CFUNCTYPE(None, pointer, pointer, ctypes.c_uint64)(_address() + _APPROXIMATE_OFFSET)
    function(ctypes.cast(numbers, pointer), ctypes.cast(found, pointer), len(numbers) // 4)
    return bytes(found)


class _GlibcLeaf(ctypes.Structure):
    _fields_ = [("cpuid", ctypes.c_uint32 * 4), ("active", ctypes.c_uint32 * 4)]


@functools.lru_cache(maxsize=None)
def glibc_leaf(index: int, active: bool) -> Registers:
    """One leaf as glibc read it at start, or what it considers active of it (tunables and XCR0 applied).

    Index (sysdeps/x86/include/cpu-features.h): 0 is CPUID 1, 1 is CPUID 7, 2 is CPUID 0x80000001. Raises Absent
    where the C library does not export it (glibc older than 2.33, another C library).
    """
    if not is_x86_64():
        raise Absent("CPUID is an x86 instruction")
    try:
        function = ctypes.CDLL(None).__getattr__("__x86_get_cpuid_feature_leaf")
    except (AttributeError, OSError, TypeError):
        raise Absent("the C library does not tell its CPU features (glibc does since 2.33)") from None
    function.restype = ctypes.POINTER(_GlibcLeaf)
    leaf = function(ctypes.c_uint(index)).contents
    return Registers(*(leaf.active if active else leaf.cpuid))
