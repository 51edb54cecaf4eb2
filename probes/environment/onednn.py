"""The oneDNN in effect that torch calls: its version, and the instruction set that it compiles its loops for.

Torch's build hides oneDNN's functions, so what is in effect is read from what oneDNN prints before its first verbose
line. Nothing is recorded where the process did not import torch.
"""

import contextlib
import ctypes
import functools
import os
import re
import sys
import tempfile
from typing import Any

from ..facts import Absent, Facts
from .sources import forms

SCOPE = "effect"
NAMES = ()

_VARIABLES = ("ONEDNN_VERBOSE", "DNNL_VERBOSE", "MKLDNN_VERBOSE")
_WORDS = r"[A-Za-z0-9.,()/ -]{1,120}"

ISAS = {
    "Intel SSE4.1": "SSE41",
    "Intel AVX": "AVX",
    "Intel AVX2": "AVX2",
    "Intel AVX2 with Intel DL Boost": "AVX2_VNNI",
    "Intel AVX2 with Intel DL Boost, float16 and bfloat16 support": "AVX2_VNNI_2",
    "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions": "AVX512_CORE",
    "Intel AVX-512 with Intel DL Boost": "AVX512_CORE_VNNI",
    "Intel AVX-512 with Intel DL Boost and bfloat16 support": "AVX512_CORE_BF16",
    "Intel AVX-512 with float16, Intel DL Boost and bfloat16 support": "AVX512_CORE_FP16",
    "Intel AVX 10.1": "AVX512_CORE_FP16",
}
"""What oneDNN tells of itself, and the name by which ONEDNN_MAX_CPU_ISA knows it (cpu/x64/cpu_isa_traits.cpp)."""


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "_C"):
        return
    if not torch.backends.mkldnn.is_available():
        facts.missing("onednn.version", "absent", "this build of torch has no oneDNN")
        return
    facts.read("onednn.version", "torch.__config__", lambda: _version(torch))
    facts.read("onednn.isa", "what oneDNN prints", lambda: _isa(told(torch)))


def _version(torch: Any) -> str:
    found = re.search(r"MKL-DNN v([\w.]+)", torch.__config__.show())
    if found is None:
        raise Absent("torch does not tell")
    return forms.recorded(found.group(1), r"[\w.]{1,20}")


def _isa(lines: str) -> str:
    """ "AVX2" of the line "onednn_verbose,v1,info,cpu,isa:Intel AVX2"; what has no such name, as it is told. Raises
    Absent."""
    found = re.search(r"^(?:onednn|dnnl)_verbose,.*info,cpu,isa:(.+)$", lines, re.MULTILINE)
    if found is None:
        raise Absent("oneDNN did not tell")
    words = found.group(1).strip()
    return ISAS.get(words) or forms.recorded(words, _WORDS)


@functools.lru_cache(maxsize=None)
def told(torch: Any) -> str:
    """What oneDNN prints of itself when it is asked for the first time, and never again in a process.

    One small call is made with its verbose mode on and standard output going to a file meanwhile; what anybody else has
    printed in between is handed on. Raises Absent where a variable has it print all the time.
    """
    if any(os.environ.get(name) for name in _VARIABLES):
        raise Absent("it is told on standard output: a variable asks for oneDNN's verbose mode")
    flush = ctypes.CDLL(None).fflush
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none at all
        sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        flush(None)
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            with torch.no_grad(), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                _call(torch)
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
    own = [line for line in lines if line.startswith((b"onednn_verbose,", b"dnnl_verbose,"))]
    others = b"".join(line for line in lines if line not in own)
    if others:
        os.write(1, others)
    return b"".join(own).decode("ascii", "replace")


def _call(torch: Any) -> None:
    """A convolution on the CPU, whatever device, type or mode the program has made the usual one."""
    with torch._C._DisableTorchDispatch():
        x = torch.zeros((2, 4, 8, 8), dtype=torch.float32, device="cpu")
        torch.nn.functional.conv2d(x, torch.zeros((4, 4, 3, 3), dtype=torch.float32, device="cpu"))
