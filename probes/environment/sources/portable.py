"""What psutil knows on systems without /proc and /sys. psutil is compiled, so it is used only where it is installed."""

from typing import Any

from ...facts import Absent


def psutil() -> Any:
    """The module. Raises Absent where the audited environment does not have it."""
    try:
        import psutil as module
    except ImportError:
        raise Absent("this system has no /proc or /sys for it, and psutil is not installed") from None
    return module


def memory_total() -> int:
    """Bytes of main memory. Raises Absent."""
    return int(psutil().virtual_memory().total)


def swap_total() -> int:
    """Bytes of swap space. Raises Absent."""
    return int(psutil().swap_memory().total)


def physical_cores() -> int:
    """Physical cores of the machine. Raises Absent."""
    cores = psutil().cpu_count(logical=False)
    if not cores:
        raise Absent("psutil does not know it on this system")
    return int(cores)
