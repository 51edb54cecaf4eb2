"""How images differ, in the order in which one thing leads to the next: their recipe, their layers, their packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from audit.causes import layer
from audit.compare.side import Outline
from reports.comparison import FactDifference, ImagePackage, Images

_RECIPE = ("recipe.digest", "recipe.context", "recipe.base")


def compare(sides: Sequence[Outline], differences: Sequence[FactDifference]) -> Images | None:
    """None unless every side is an image. differences: those of all sides' facts."""
    layers = [side.fact("image.layers") for side in sides]
    known = [one for one in layers if isinstance(one, list) and one]
    if len(known) < len(sides):
        return None
    shared = next((n for n, those in enumerate(zip_longest(*known)) if len(set(those)) > 1), len(known[0]))
    built = all(side.fact("recipe.digest") for side in sides)
    moved = {one.fact: one for one in differences}
    recipe = [name for name in _RECIPE if name in moved] if built else None
    packages = list(_packages(sides, moved)) if len(sides) == 2 else []
    return Images([len(one) for one in known], shared, recipe, packages)


def _packages(sides: Sequence[Outline], moved: dict[str, FactDifference]) -> Iterator[ImagePackage]:
    """What is not the same: the release, Python, its distributions, packages of the system; each once."""
    named: dict[str, str] = {}
    for fact in sorted(moved, key=_order):
        name = _name(fact)
        if name and not _is_told(fact, name, named):
            named[name] = fact
            key = layer.key(fact, lambda _: None)
            layers = [_text(side.fact(f"image.{key}.layer")) for side in sides]
            yield ImagePackage(name, [_text(one) for one in moved[fact].values], layers, fact)


def _is_told(fact: str, name: str, named: dict[str, str]) -> bool:
    """Whether what is told already says this: one package under two managers' names, its digest beside its version."""
    if fact == "system_packages.digest":
        return any(one.startswith("system_packages.") for one in named.values())
    python = fact.startswith("system_packages.python3.") and "Python" in named
    return python or name in named or (fact.startswith("system_") and name.removeprefix("python3-") in named)


_KINDS = ("os.release", "python.version", "packages", "system_packages")


def _order(fact: str) -> tuple[int, bool, str]:
    """Versions before digests: where both differ, the version says it."""
    kind = fact if fact in _KINDS else fact.partition(".")[0]
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS), fact.endswith((".record", ".digest")), fact


def _name(fact: str) -> str:
    """A package as a person names it; "" for a fact that is not about which package is there."""
    facet, _, rest = fact.partition(".")
    member, _, what = rest.rpartition(".")
    if fact == "os.release":
        return "system"
    if fact == "python.version":
        return "Python"
    if fact == "system_packages.digest":
        return "other system packages"
    told = ("version", "record") if facet == "packages" else ("version",) if facet == "system_packages" else ()
    return member if what in told else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
