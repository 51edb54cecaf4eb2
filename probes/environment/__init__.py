"""The facts of an environment, one file a facet.

Contract of a file here: it is named after its facet and has
- `SCOPE`: "machine" (stands once), "effect" (what is in effect; read in the process that computed, after its
  computation, because libraries load lazily) or "gpu" (in a child of its own: a driver can hang);
- `NAMES`: every fact of a fixed name that it gives. Families, whose members depend on the machine, are not in it;
- `capture(facts, options)`: reads them, each through `facts.read`, so that a reading that fails costs one fact.

Standard library only; numpy, threadpoolctl, pynvml and psutil are imported guarded, in the one file that owns them.
What several facets read in the same way is in `sources`. A fact also needs its row in the catalogue.
"""

import importlib
from typing import Any, Dict, NamedTuple, Tuple

from ..facts import Facts, failure
from .sources.privacy import scrub

SCOPES: Dict[str, Tuple[str, ...]] = {
    "machine": (
        "cpu",
        "memory",
        "limits",
        "system",
        "container",
        "libc",
        "python",
        "packages",
        "system_packages",
        "locale",
        "variables",
        "nvml",
    ),
    "effect": ("fpu", "process", "libm", "numpy", "libraries", "blas", "torch", "onednn", "mkl", "xla"),
    "gpu": ("gpu",),
}
"""The facets of each scope, in the order in which they run. They stand here as well as in the files so that a capture
imports no file that it does not need."""

FACETS: Tuple[str, ...] = tuple(facet for facets in SCOPES.values() for facet in facets)


class Options(NamedTuple):
    """What a request may ask for beyond the usual.

    verify: compare every installed file with its package's RECORD (slow: reads all of them), and say whether an
    editable installation's working tree has changes (runs git).
    """

    verify: bool = False


def capture(scope: str, options: Options = Options()) -> Facts:  # noqa: B008 - immutable
    """All facts of one scope: "machine", "effect" or "gpu". Raises KeyError for another scope, and nothing else."""
    facts = Facts()
    for facet in SCOPES[scope]:
        _capture_facet(facet, facts, options)
    for name, record in scrub(facts.records).items():
        facts.records[name].update(record)
    return facts


def _capture_facet(facet: str, facts: Facts, options: Options) -> None:
    names: Tuple[str, ...] = ()
    reason = "the probe gave nothing"
    try:
        module: Any = importlib.import_module("." + facet, __name__)
        names = module.NAMES
        module.capture(facts, options)
    except Exception as error:  # the contract: a probe that fails costs its facts, never the run
        reason = failure(error)
        names = names or (facet + ".probe",)
    for name in names:
        if name not in facts.records:
            facts.missing(name, "failed", reason)
