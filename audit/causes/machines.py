"""What one machine can be made to be: every setting alone, and the machines that several settings together imitate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from audit.causes import settings
from audit.causes.extensions import LEVELS, cpu
from audit.causes.settings import BY_NAME, SETTINGS, Values
from audit.compare.side import Measured

AS_IS = "this machine as it is"

_ALSO = {
    "OPENBLAS_NUM_THREADS": ("OMP_NUM_THREADS", "GOTO_NUM_THREADS"),
    "MKL_NUM_THREADS": ("OMP_NUM_THREADS",),
    "ONEDNN_MAX_CPU_ISA": ("DNNL_MAX_CPU_ISA",),
}
"""Other variables that decide the same, where a person has set one of them."""


@dataclass(frozen=True)
class Candidate:
    """Something to run under. name: of a machine; "" for one setting alone. impossible: why it cannot be run here."""

    values: Values
    name: str = ""
    impossible: str = ""


@dataclass(frozen=True)
class Possible:
    """Everything to try on one machine. kept: variables that are set already. They travel with the job, so they are
    not varied. levels: machines of fewer vector extensions, downwards; threads: the value of a machine with one CPU."""

    alone: list[Candidate] = field(default_factory=list)
    levels: list[Candidate] = field(default_factory=list)
    threads: Values = field(default_factory=dict)
    kept: Values = field(default_factory=dict)

    @property
    def crossed(self) -> list[Candidate]:
        """Every level with one CPU."""
        if not self.threads:
            return []
        return [
            Candidate({**one.values, **self.threads}, f"{one.name}, 1 CPU") for one in self.levels if not one.impossible
        ]

    @property
    def every(self) -> list[Candidate]:
        return [*self.alone, *self.levels, *self.crossed]


def possible(here: Measured) -> Possible:
    """What this side can be made to be."""
    kept = _kept(here)
    alone = [Candidate({one.name: value}) for one in SETTINGS if one.name not in kept for value in one.values(here)]
    # A library takes no fewer threads than one, so every machine can be told to use one.
    threads = {name: value for one in alone for name, value in one.values.items() if _is_threads(name) and value == "1"}
    return Possible(alone, list(_levels(here, kept)), threads, kept)


def _is_threads(name: str) -> bool:
    return BY_NAME[name].fact in ("blas.threads", "torch.threads", "xla.threads") and BY_NAME[name].how == "variable"


def _kept(here: Measured) -> Values:
    """The variables of the table that are set already, with their values; for one that is decided by another variable,
    that one's. Only of what is in effect here: a library that was not loaded is not varied either."""
    found = {}
    for one in SETTINGS:
        if here.fact(one.fact) is None:
            continue
        for name in (one.name, *_ALSO.get(one.name, ())):
            value = here.fact(f"variables.{name}") if one.how == "variable" else None
            if value is not None and one.name not in found:
                found[one.name] = str(value)
    return found


def _levels(here: Measured, kept: Values) -> list[Candidate]:
    """The CPUs below this one, downwards. Two that mean the same to every library are one."""
    found: list[Candidate] = []
    for name, left in LEVELS.items():
        wanted = settings.level(here, left)
        values = {key: _added(kept.get(key, ""), value) for key, value in wanted.items()}
        if not values or cpu(here) <= left or any(values == one.values for one in found):
            continue
        stuck = [key for key in wanted if key in kept and not (_is_mask(here, key) and _MASK.fullmatch(kept[key]))]
        found.append(Candidate(values, name, f"{stuck[0]}={kept[stuck[0]]} is set already" if stuck else ""))
    return found


_MASK = re.compile(r"[\w.,:=+ -]+")


def _is_mask(here: Measured, name: str) -> bool:
    """Whether a setting takes away features, so that it can take away more beside what is set already."""
    return isinstance(here.fact(BY_NAME[name].fact), list)


def _added(own: str, value: str) -> str:
    """A mask beside one that is set already. glibc has several tunables in one variable, and words behind their "=".

    Without spaces, so that one line NAME=VALUE means the same to a shell, to env and in an env file, which knows no
    quotes; who has set numpy's may have used them (npy_cpu_features.c: the delimiters are ", \\t\\v\\r\\n\\f").
    """
    own = own.replace(" ", ",")
    tunable, equals, words = value.partition("=")
    if not own or not equals:
        return ",".join(filter(None, (own, value)))
    parts = own.split(":")
    if not any(part.startswith(f"{tunable}=") for part in parts):
        return f"{own}:{value}"
    return ":".join(f"{part},{words}" if part.startswith(f"{tunable}=") else part for part in parts)
