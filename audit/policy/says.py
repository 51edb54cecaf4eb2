"""The sentences of findings: values, counts, and how to keep, accept or postpone a change."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from audit.causes.words import value
from audit.policy.against import Compared
from reports.comparison import Size
from reports.render.pages.words import count, listed
from reports.report import Value

_DAYS = 30


def came_with(root: str | None, others: int) -> str:
    if others < 1:
        return ""
    what = "another image; " if root and root.startswith("image.") else ""
    return f"{what}{count(others, 'other change')} folded into this finding"


@dataclass(frozen=True)
class Words:
    """baseline, policy, report: the files as a person named them ("" where there is none); options: of the target, as
    they were typed; whole: the baseline is a report."""

    baseline: str
    policy: str = ""
    report: str = ""
    options: str = ""
    whole: bool = False

    def accept(self, new_only: bool = False) -> str:
        """The command that makes what is there the accepted state. new_only: without touching a line of the others."""
        if self.whole:
            return f"make another report the baseline: audit run -o {shlex.quote(self.baseline)}"
        report = f" {shlex.quote(self.report)}" if self.report else ""
        option = "--update-new-only" if new_only else "--update"
        return f"audit baseline{report}{self.options} {option} {shlex.quote(self.baseline)}"

    def postpone(self, fact: str, today: datetime.date) -> str:
        until = today + datetime.timedelta(days=_DAYS)
        file = self.policy if self.policy.endswith(".toml") else "audit.toml"
        return f'in {file}: waivers = [{{fact = "{fact}", reason = "...", until = {until}}}]'

    def keep(self, root: str | None, before: Value) -> str:
        """How to have what was held, by what the root is."""
        if root is None:
            return ""
        facet, _, rest = root.partition(".")
        name, text = rest.removesuffix(".version").removesuffix(".record"), value(before)
        if facet == "variables":
            return f"unset {rest}" if before is None else f"export {rest}={shlex.quote(str(before))}"
        if facet == "packages" and root.endswith(".version"):
            return f"pip uninstall {name}" if before is None else f"pip install {name}=={text}"
        if facet == "packages":
            return f"pip install --force-reinstall {name}: its files are not those that were accepted"
        if root == "image.digests" and isinstance(before, list) and before:
            return f"FROM {before[0]}    (the baseline's digest)"
        if facet == "image":
            return "pin the image by the digest that was accepted"
        if facet == "system_packages":
            return f"{name} {text}, as in the baseline" if before is not None else f"without {name}"
        if root in ("python.version", "libc.version", "os.release"):
            return f"{facet} {text}, as in the baseline" if facet != "os" else f"{text}, as in the baseline"
        return f"{root} = {text}, as in the baseline"

    def effect(self, compared: Compared, operators: Sequence[str], jobs: Sequence[str] | None = None) -> str:
        """How large it is, where values were kept; and what became of the jobs."""
        found = [f"job {name} gives another result" for name in (compared.jobs if jobs is None else jobs)]
        first = compared.first
        if first and found and first.step is not None:
            found = [f"job {first.job} differs from step {first.step}, {first.phase}, {first.operator}"]
        sizes = [(name, compared.sizes[name]) for name in operators if name in compared.sizes]
        if sizes:
            name, size = max(sizes, key=lambda one: one[1].ulp.max or 0)
            found.append(f"the largest: {name}, {_size(size)}")
        if compared.untested:
            found.append(
                f"the tolerance of {listed(compared.untested, 3)} needs values, which this baseline has not: "
                "give a whole report to --baseline"
            )
        return "; ".join(found)


def _size(size: Size) -> str:
    parts = [f"{100 * size.fraction:.2g}% of {size.elements:,} elements"] if size.fraction else []
    parts += [f"at most {size.ulp.max:,} ULP"] if size.ulp.max is not None else []
    parts += [f"rtol {size.smallest_rtol:.1e} would pass"] if size.smallest_rtol is not None else []
    return ", ".join(parts) or size.reason
