"""Main memory and how the kernel pages it. It decides speed and batch sizes chosen by free memory, never a result."""

import re
from typing import Any, Optional

from ..facts import Absent, Facts, text
from .sources import portable

SCOPE = "machine"
NAMES = (
    "memory.total",
    "memory.swap",
    "memory.page_size",
    "memory.huge_pages",
    "memory.huge_page_size",
    "memory.huge_pages_transparent",
    "memory.overcommit",
)

MEMINFO = "/proc/meminfo"
TRANSPARENT = "/sys/kernel/mm/transparent_hugepage/enabled"
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts."""
    facts.read("memory.total", MEMINFO, lambda: _bytes("MemTotal") or portable.memory_total())
    facts.read("memory.swap", MEMINFO, _swap)
    facts.read("memory.page_size", "mmap.PAGESIZE", _page_size)
    facts.read("memory.huge_pages", MEMINFO, lambda: _number("HugePages_Total"))
    facts.read("memory.huge_page_size", MEMINFO, lambda: _number("Hugepagesize") * 1024)
    facts.read("memory.huge_pages_transparent", TRANSPARENT, lambda: _chosen(text(TRANSPARENT)))
    facts.read("memory.overcommit", OVERCOMMIT, lambda: int(text(OVERCOMMIT)))


def _number(field: str) -> int:
    match = re.search(r"^{}:\s+(\d+)".format(field), text(MEMINFO), re.MULTILINE)
    if match is None:
        raise Absent("{} has no {}".format(MEMINFO, field))
    return int(match.group(1))


def _bytes(field: str) -> Optional[int]:
    try:
        return _number(field) * 1024
    except (OSError, Absent):
        return None


def _swap() -> int:
    total = _bytes("SwapTotal")
    return portable.swap_total() if total is None else total


def _page_size() -> int:
    import mmap

    return mmap.PAGESIZE


def _chosen(line: str) -> str:
    # "always [madvise] never": the kernel brackets the setting in effect.
    match = re.search(r"\[(\w+)\]", line)
    if match is None:
        raise Absent("the kernel marks no setting")
    return match.group(1)
