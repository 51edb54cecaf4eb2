"""Which layer of an image brought what a fact is about; the layers themselves are found by `audit.targets.layers`."""

from __future__ import annotations

from collections.abc import Callable


def key(fact: str, value: Callable[[str], object]) -> str:
    """The KEY of the fact `image.KEY.layer` that names what brought the thing behind a fact; "" where no layer does.

    value: gives the target's other facts by name.
    """
    facet, _, rest = fact.partition(".")
    member = rest.rpartition(".")[0]
    if facet in ("packages", "system_packages", "libraries") and member:
        return member if "." not in member or facet != "libraries" else member.partition(".")[0]
    if facet in ("blas", "lapack"):
        return str(value(f"{facet}.{member}.owner".replace("..", ".")) or "").partition(" ")[0]
    return {"python": "python", "os": "os", "libc": "libc", "libm": "libm", "numpy": "numpy"}.get(facet, "")
