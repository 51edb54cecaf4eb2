"""What is screened, each by a process of its own: the cores of this machine, or the GPUs that it may use."""

import os
import select
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from . import environment
from .environment.limits import ranges
from .facts import Absent, text
from .operators import cuda
from .pinned import Emit, Pinned, Record, Say

VISIBLE = "CUDA_VISIBLE_DEVICES"

_ARM = "/sys/devices/system/cpu/cpu{}/regs/identification/midr_el1"


class Unit(NamedTuple):
    """A core or a GPU. product: of a GPU; others give other bits by design. take: lets a process compute on it, before
    that imports anything."""

    number: int
    product: str
    take: Callable[[], object]


class Units(NamedTuple):
    """kind: "core" or "GPU"; all: those to screen; machine: how many the machine has."""

    kind: str
    all: List[Unit]
    machine: int


def cores(asked: Optional[List[int]]) -> Units:
    """These cores (None: all that this process may use). Raises Absent where they cannot be screened."""
    if not hasattr(os, "sched_setaffinity") or not hasattr(os, "fork"):
        raise Absent("this system cannot pin a process to a core; audit screen needs Linux")
    allowed = os.sched_getaffinity(0)
    others = sorted(set(asked or ()) - allowed)
    if others:
        raise Absent("core {} may not be used here; allowed: {}".format(ranges(others), ranges(sorted(allowed))))
    chosen = sorted(asked or allowed)
    kinds: Dict[str, List[int]] = {}
    for core in chosen:
        kinds.setdefault(_kind(core), []).append(core)
    if len(kinds) > 1:
        words = "cores {} are of different kinds, which may give other bits by design; name one with --cores"
        raise Absent(words.format(" and ".join(map(ranges, kinds.values()))))
    units = [Unit(core, "", partial(_take_core, core)) for core in chosen]
    return Units("core", units, os.cpu_count() or len(chosen))


def _take_core(core: int) -> None:
    os.environ[VISIBLE] = ""  # torch's operators of a GPU say nothing of a core, and every core would want its memory
    os.sched_setaffinity(0, {core})


def _kind(core: int) -> str:
    """What distinguishes the cores of one machine by design: libraries choose code by it. Only Arm's have several."""
    try:
        return text(_ARM.format(core))
    except OSError:
        return ""


def gpus(load: Callable[[str, Emit], bool], deadline: float) -> Units:
    """The GPUs that torch sees, by the numbers of CUDA_VISIBLE_DEVICES where it has numbers. Raises Absent where there
    is none. A process of its own asks torch, as one that has begun CUDA cannot be forked."""
    if not hasattr(os, "fork"):
        raise Absent("this system cannot fork a process; audit screen needs Linux")
    if VISIBLE not in os.environ:
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the numbers are nvidia-smi's then
    asked = Pinned(lambda: None, partial(_tell, load), [])
    try:
        told = _answer(asked, deadline)
    finally:
        asked.kill()
        asked.reap()
    products = told["products"]
    places = range(len(products))
    names = [name.strip() for name in os.environ.get(VISIBLE, ",".join(map(str, places))).split(",")][: len(products)]
    numbers = [int(name) if name.isdecimal() else place for place, name in enumerate(names)]
    if len(set(numbers)) < len(numbers):  # numbers beside UUIDs
        numbers = list(places)
    units = [
        Unit(number, product, partial(os.environ.__setitem__, VISIBLE, name))
        for number, name, product in zip(numbers, names, products)
    ]
    return Units("GPU", sorted(units), max(told["machine"] or 0, len(units)))


def _tell(load: Callable[[str, Emit], bool], commands: Iterable[str], emit: Emit, say: Say) -> None:
    load("torch", lambda record: None)
    cuda.operators()  # raises Absent
    torch: Any = sys.modules["torch"]
    products = [str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())]
    emit({"products": products, "machine": environment.capture("gpu").value("gpu.count")})


def _answer(asked: Pinned, deadline: float) -> Record:
    """What it tells. Raises Absent where it tells nothing in time."""
    while not asked.reason:
        if not select.select([asked.answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise Absent("no GPU can be screened: PyTorch gave no answer about them before the time limit")
        told = asked.answer()
        if told is not None:
            return told
    raise Absent("no GPU can be screened with this Python: " + asked.reason)
