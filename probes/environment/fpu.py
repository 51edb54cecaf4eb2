"""The floating-point unit's state in this thread, through the C library's fegetenv.

A library built with -Ofast sets flush-to-zero when it is loaded, for every thread started after; rounding may be set by
a call. Sticky status flags are left out: they say what was computed, not how.
Source: Intel SDM volume 1, 10.2.3 (MXCSR); Arm ARM, FPCR; fenv_t in glibc's, musl's and macOS's bits/fenv.h.
"""

import ctypes
import ctypes.util
import platform
import sys
from typing import Any, Optional

from ..facts import Absent, Facts

SCOPE = "effect"
NAMES = (
    "fpu.mxcsr",
    "fpu.control_word",
    "fpu.flush_to_zero",
    "fpu.denormals_are_zero",
    "fpu.rounding",
    "fpu.subnormals",
    "fpu.long_double_bytes",
)

_STATUS_FLAGS = 0x3F  # MXCSR bits 0 to 5
_X87_CONTROL = 0xFFF  # precision and rounding control, exception masks, two constant bits
_ROUNDING = ("nearest", "down", "up", "zero")  # the order of MXCSR's and the x87 control word's two bits
_ARM_ROUNDING = ("nearest", "up", "down", "zero")
_ARM_CONTROL = 0x7FF9F07  # FPCR without reserved bits


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    arm = platform.machine() in ("aarch64", "arm64")
    source = "fegetenv"
    control = facts.read("fpu.mxcsr", source, _fpcr if arm else _mxcsr)
    facts.read("fpu.control_word", source, _control_word)
    facts.read("fpu.flush_to_zero", "fpu.mxcsr", lambda: _bit(control, 24 if arm else 15))
    facts.read("fpu.denormals_are_zero", "fpu.mxcsr", lambda: _bit(control, 24 if arm else 6))
    facts.read("fpu.rounding", "fpu.mxcsr", lambda: _rounding(control, arm))
    facts.read("fpu.subnormals", "sys.float_info.min * 0.5", lambda: sys.float_info.min * 0.5 != 0.0)
    facts.read("fpu.long_double_bytes", "ctypes.sizeof", lambda: ctypes.sizeof(ctypes.c_longdouble))


def _fenv() -> bytes:
    """The bytes of fenv_t. Raises Absent."""
    if sys.platform == "win32":
        raise Absent("Windows' fenv_t is not read")
    for name in (None, "libm.so.6"):
        try:
            function = ctypes.CDLL(name).fegetenv
            break
        except (AttributeError, OSError):
            continue
    else:
        raise Absent("the C library has no fegetenv")
    environment = ctypes.create_string_buffer(64)  # fenv_t is 32 bytes at most where it is known
    if function(environment) != 0:
        raise Absent("fegetenv failed")
    return environment.raw


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")


def _mxcsr() -> str:
    """MXCSR's control bits, hexadecimal: "0x1f80" is the default of the ABI."""
    if not _is_x86():
        raise Absent("only x86 has an MXCSR, and this machine's control register is not known")
    # glibc and musl: 28 bytes of x87 environment, then MXCSR; macOS: control, status, MXCSR.
    at = 4 if sys.platform == "darwin" else 28
    return hex(int.from_bytes(_fenv()[at : at + 4], "little") & ~_STATUS_FLAGS)


def _fpcr() -> str:
    at = 8 if sys.platform == "darwin" else 0
    return hex(int.from_bytes(_fenv()[at : at + 4], "little") & _ARM_CONTROL)


def _control_word() -> str:
    """The x87 control word, which long double arithmetic obeys: "0x37f" is the default."""
    if not _is_x86():
        raise Absent("only x86 has an x87 unit")
    return hex(int.from_bytes(_fenv()[:2], "little") & _X87_CONTROL)


def _bit(control: Optional[str], number: int) -> bool:
    if control is None:
        raise Absent("the control register could not be read")
    return bool(int(control, 16) >> number & 1)


def _rounding(control: Optional[str], arm: bool) -> str:
    if control is None:
        raise Absent("the control register could not be read")
    return _ARM_ROUNDING[int(control, 16) >> 22 & 3] if arm else _ROUNDING[int(control, 16) >> 13 & 3]
