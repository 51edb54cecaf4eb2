"""Reports and answers as text. A format is one file and one line of `_PAGES` or `_FINDINGS`.

Those of `_PAGES` show everything, and the same pages; those of `_FINDINGS` are for programs that read findings, so only
a check can be shown in them. A format's file has the functions of `Renderer` or `Checks`; it is imported when it is
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from ..checked import Check
from ..comparison import Comparison
from ..explained import Explanation
from ..fleet import Fleet
from ..history import Added, History
from ..report import Report
from ..reproduction import Reproduction
from ..screening import Screening
from ..variation import Variation

if TYPE_CHECKING:
    from .pages.run import RunSummary

_PAGES = {
    "terminal": "terminal",
    "markdown": "markdown",
    "html": "html",
    "json": "json",
}
"""The format's name, and the file here that makes it."""

_FINDINGS = {
    "github": "github",
    "junit": "junit",
    "sarif": "sarif",
    "gitlab": "gitlab",
    "line": "line",
}
"""The same of formats that hold findings and nothing else."""

FORMATS = tuple(_PAGES)
CHECK_FORMATS = (*_PAGES, *_FINDINGS)


class Checks(Protocol):
    """What every format's file must have. color is for terminals; other formats ignore it."""

    def check(self, found: Check, all: bool = False, color: bool = False) -> str: ...


class Renderer(Checks, Protocol):
    """What the file of a format that shows everything must have."""

    def run_summary(self, report: Report, facts: RunSummary, color: bool = False) -> str: ...

    def show(self, report: Report, all: bool = False, color: bool = False) -> str: ...

    def sharing(self, report: Report, file: str, color: bool = False) -> str: ...

    def diff(self, comparison: Comparison, all: bool = False, color: bool = False) -> str: ...

    def reproduction(self, one: Reproduction, all: bool = False, color: bool = False) -> str: ...

    def variation(self, one: Variation, all: bool = False, color: bool = False) -> str: ...

    def explain(self, one: Explanation, all: bool = False, color: bool = False) -> str: ...

    def screening(self, found: Screening, all: bool = False, color: bool = False) -> str: ...

    def fleet(self, found: Fleet, all: bool = False, color: bool = False) -> str: ...

    def history(self, found: History | Added, all: bool = False, color: bool = False) -> str: ...


def renderer(format: str) -> Renderer:
    """The functions of one format. Raises KeyError for a format that is not in FORMATS."""
    return cast(Renderer, import_module(f".{_PAGES[format]}", __package__))


def run_summary(report: Report, facts: RunSummary, format: str = "terminal", *, color: bool = False) -> str:
    """What `audit run` prints at its end."""
    return renderer(format).run_summary(report, facts, color)


def drawing(found: Comparison | Report) -> str:
    """The main pictures of a comparison or a report as an SVG file; "" where there is nothing to draw."""
    from .pages.diff import diff_page
    from .pages.show import show_page
    from .plot import alone

    return (
        alone(diff_page(found, all=True))
        if isinstance(found, Comparison)
        else alone(show_page(found, all=True), most=3)
    )


def show(report: Report, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """One report for a person. all: every fact with its source."""
    return renderer(format).show(report, all, color)


def sharing(report: Report, file: str, format: str = "terminal", *, color: bool = False) -> str:
    """What leaves this machine with a report. file: what the report is called here."""
    return renderer(format).sharing(report, file, color)


def diff(comparison: Comparison, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """One comparison for a person. all: every difference, not only what decides the answer."""
    return renderer(format).diff(comparison, all, color)


def reproduction(one: Reproduction, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What `audit reproduce` found, for a person. all: every try."""
    return renderer(format).reproduction(one, all, color)


def variation(one: Variation, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What `audit vary` found, for a person. all: every setting by itself."""
    return renderer(format).variation(one, all, color)


def explain(one: Explanation, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What a fact, a rule or a component is. all: all that decides it."""
    return renderer(format).explain(one, all, color)


def fleet(found: Fleet, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What the reports of a fleet say, for a person. all: every node of every list."""
    return renderer(format).fleet(found, all, color)


def history(found: History | Added, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What a history tells, or what was added to it. all: every change with all its facts."""
    return renderer(format).history(found, all, color)


def screening(found: Screening, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What `audit screen` found, as a page or as one line. all: every operator that differs."""
    file = {**_PAGES, **_FINDINGS}[format]
    return cast(Renderer, import_module(f".{file}", __package__)).screening(found, all, color)


def check(found: Check, format: str = "terminal", *, all: bool = False, color: bool = False) -> str:
    """What `audit check` found, in any of CHECK_FORMATS. all: everything that is folded into a finding."""
    file = {**_PAGES, **_FINDINGS}[format]
    return cast(Checks, import_module(f".{file}", __package__)).check(found, all, color)
