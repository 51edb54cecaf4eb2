"""The pages that the browser opens: of every recorded machine, of every verdict, of many machines, of other answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "reports"))

import samples  # noqa: E402 - its folder is on the path by now

from audit import explaining  # noqa: E402
from audit.compare.engine import compare  # noqa: E402
from audit.compare.side import Measured  # noqa: E402
from fixtures import many  # noqa: E402
from reports import codec, render  # noqa: E402
from reports.comparison import Comparison  # noqa: E402
from reports.report import Report  # noqa: E402

MACHINES = ROOT / "fixtures" / "machines"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in MACHINES.glob("*.json.gz"))
PAIRS = [name for name in NAMES if "~" in name]
NEHALEM = "host~blas+numpy+libm=cpu.model~nehalem"


@lru_cache(maxsize=4)
def machine(name: str) -> Report:
    return codec.read(str(MACHINES / f"{name}.json.gz"))[0]


def side(name: str, label: str = "") -> Measured:
    report = machine(name)
    return Measured(label or report.label, f"{name}.json", report, report.targets[0])


@lru_cache(maxsize=4)
def pair(name: str) -> Comparison:
    return compare([side(name.split("~")[0]), side(name)])


@lru_cache(maxsize=1)
def nodes() -> Comparison:
    """Machines of four kinds, of which most agree."""
    kinds = ["host", "host", "host", NEHALEM, "host~blas=blas.threads", "bookworm", "host"]
    return compare([side(kind, many.label(number)) for number, kind in enumerate(kinds)])


def _page(rendered: Callable[..., str], make: Callable[[], Any]) -> str:
    return rendered(make(), "html")


COMPARISONS = {**{name: partial(pair, name) for name in PAIRS}, "nodes": nodes, **samples.COMPARISONS}
REPORTS = {**{name: partial(machine, name) for name in NAMES}, **samples.REPORTS}

PAGES: dict[str, Callable[[], str]] = {
    **{f"diff {name}": partial(_page, render.diff, make) for name, make in COMPARISONS.items()},
    **{f"show {name}": partial(_page, render.show, make) for name, make in REPORTS.items()},
    **{f"check {name}": partial(_page, render.check, make) for name, make in samples.CHECKS.items()},
    "explain": partial(_page, render.explain, partial(explaining.explain, "blas.kernel")),
}
"""What makes the text of each page."""
