"""How two images part, in the order in which one thing leads to the next: recipe, layers, packages, results."""

from __future__ import annotations

from itertools import groupby

from ...comparison import Comparison, ImagePackage
from .groups import place, several
from .page import Block, Row, Section, section, sentence
from .words import count, listed

MOST = 4
"""So many packages are named."""

_LINE = 40
"""The most characters of a layer's line of the recipe."""

_RECIPE = {
    "recipe.digest": "another Dockerfile",
    "recipe.context": "other files beside it",
    "recipe.base": "another base image",
}


def images(comparison: Comparison) -> Section:
    """Nothing unless all sides are images."""
    found = comparison.images
    if found is None:
        return section()
    if found.one:
        text = f"one image ({count(found.shared, 'layer')}): what differs is under it (CPU, kernel, driver, limits)"
        return section(sentence("Image", text))
    texts = [
        f"recipe: {_recipe(found.recipe)}" if found.recipe is not None else "",
        f"layers: {_layers(found.layers, found.shared)}",
        "" if several(comparison) else f"packages: {_packages(comparison, found.packages)}",
        "" if several(comparison) else f"results: {_results(comparison)}",
    ]
    rows = tuple(Row((text,)) for text in texts if text)
    return section(Block("Image", rows, least=len(rows), weight=8))


def _recipe(moved: list[str]) -> str:
    shown = [
        name for name in moved if name != "recipe.context" or "recipe.digest" not in moved
    ]  # it is one of the files
    return listed(_RECIPE.get(name, name) for name in shown) or "the same Dockerfile, files and base image"


def _layers(layers: list[int], shared: int) -> str:
    same = f"{shared:,}" if shared else "none"
    totals = listed(dict.fromkeys(f"{one:,}" for one in layers))
    return f"{same} of {totals} the same" if len(set(layers)) == 1 else f"{same} the same, of {totals}"


def _packages(comparison: Comparison, moved: list[ImagePackage]) -> str:
    """Those that are causes first; those of one layer have it behind them."""
    roots = [cause.root for cause in comparison.causes]
    ranked = sorted(moved, key=lambda one: one.fact not in roots)
    shown = ranked if len(ranked) <= MOST else ranked[: MOST - 1]
    texts = [
        listed(map(_package, those)) + (f" (layer {layer})" if layer else "")
        for layer, those in groupby(shown, key=_layer)
    ]
    more = [f"{len(ranked) - len(shown)} more"] if len(ranked) > len(shown) else []
    return "; ".join([*texts, *more]) or "all the same"


def _package(one: ImagePackage) -> str:
    """ "numpy 2.2.4 -> 2.3.1"; a file may hold any number of versions."""
    if one.fact.endswith((".record", ".digest")):
        return f"{one.name} (other {'ones' if one.fact.endswith('.digest') else 'build'})"
    return f"{one.name} {' -> '.join(version or 'none' for version in one.versions)}"


def _layer(one: ImagePackage) -> str:
    """The layer that brought it, on the last side that has it; with its line of the recipe if that says something."""
    told = next((text for text in reversed(one.layers) if text), "")
    number, _, line = told.partition(": ")
    return number if not line or line.endswith(")") or len(line) > _LINE else told


def _results(comparison: Comparison) -> str:
    results = comparison.results
    if results.verdict == "identical":
        done = [count(results.operators.compared, "operator")] if results.operators.compared else []
        done += [f"job {job.name}" for job in results.jobs if job.verdict == "identical"]
        return f"the same bits ({listed(done)})"
    if results.verdict == "diverged" and results.first_divergence:
        return f"other bits, first at {place(results.first_divergence)}"
    return {"not-measured": "not measured", "nondeterministic": "not repeatable"}.get(results.verdict, results.verdict)
