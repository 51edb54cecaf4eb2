"""The orders in which libraries really add, written as trees and run in real or exact arithmetic, are told apart.

Every algorithm here is run in a way of its own (numpy's own float32 and float64 operations, the C library's fma, exact
fractions), so nothing is shared with the code that recovers the tree.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import random
from collections.abc import Callable
from fractions import Fraction

import numpy
import pytest

from probes.operators import summation
from probes.operators.summation import Tree
from tests.probes.operators.test_summation import Simulated, canonical, may_fuse

COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48]
PRECISIONS = {"f32": numpy.float32, "f64": numpy.float64}


class Ordinary:
    """Adds in the order of `tree` by numpy's scalar operations, each product rounded."""

    def __init__(self, tree: Tree, precision: str) -> None:
        self.tree, self.real = tree, PRECISIONS[precision]

    def __call__(self, left: list[float], right: list[float]) -> float:
        return float(self.value(self.tree, [self.real(a) * self.real(b) for a, b in zip(left, right, strict=True)]))

    def value(self, tree: Tree, products: list[numpy.floating]) -> numpy.floating:
        if isinstance(tree, int):
            return products[tree]
        return self.value(tree[0], products) + self.value(tree[1], products)


def chain(leaves: list[Tree]) -> Tree:
    """Left to right, into one accumulator."""
    tree = leaves[0]
    for leaf in leaves[1:]:
        tree = (tree, leaf)
    return tree


def pairwise(leaves: list[Tree], block: int) -> Tree:
    """Halves of halves, down to blocks that are added left to right."""
    if len(leaves) <= block:
        return chain(leaves)
    half = len(leaves) // 2
    return (pairwise(leaves[:half], block), pairwise(leaves[half:], block))


def lanes(leaves: list[Tree], width: int, fold: Callable[[list[Tree]], Tree]) -> Tree:
    """One accumulator a lane, the lanes then folded together, and what is left over added one by one."""
    whole = len(leaves) // width * width
    folded = [fold([chain(leaves[lane:whole:width]) for lane in range(width)])] if whole else []
    return chain([*folded, *leaves[whole:]])


def halves(leaves: list[Tree]) -> Tree:
    """The upper half of a register onto the lower one, until one is left."""
    while len(leaves) > 1:
        half = len(leaves) // 2
        leaves = [(leaves[i], leaves[i + half]) for i in range(half)]
    return leaves[0]


ALGORITHMS: dict[str, Callable[[list[Tree]], Tree]] = {
    "chain": chain,
    "reversed": lambda leaves: chain(leaves[::-1]),
    "pairwise": lambda leaves: pairwise(leaves, 1),
    "pairwise in blocks of 8": lambda leaves: pairwise(leaves, 8),
    "4 lanes, halves": lambda leaves: lanes(leaves, 4, halves),
    "4 lanes, left to right": lambda leaves: lanes(leaves, 4, chain),
    "8 lanes, neighbours": lambda leaves: lanes(leaves, 8, lambda some: pairwise(some, 1)),
    "2 registers of 8 lanes": lambda leaves: lanes(leaves, 16, halves),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_libraries_do(algorithm: str, precision: str) -> None:
    for count in COUNTS:
        tree = canonical(ALGORITHMS[algorithm]([*range(count)]))
        assert summation.reveal(Ordinary(tree, precision), count, precision) == summation.text(tree), count


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_algorithms_are_told_apart(precision: str) -> None:
    for count in (17, 48):
        texts = [
            summation.reveal(Ordinary(make([*range(count)]), precision), count, precision)
            for make in ALGORITHMS.values()
        ]
        assert len(set(texts)) == len(ALGORITHMS)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_lanes_of_fused_multiply_adds(precision: str, width: int) -> None:
    """The first product of each lane is rounded, or added to zero, which is the same; all others are not."""
    for count in COUNTS:
        tree = canonical(lanes([*range(count)], width, halves))
        whole = count // width * width
        fused = frozenset([*range(width, whole), *range(whole if whole else 1, count)])
        assert summation.reveal(Simulated(tree, precision, fused), count, precision) == summation.text(tree, fused)


@pytest.mark.parametrize(("precision", "function"), [("f32", "fmaf"), ("f64", "fma")])
def test_the_c_librarys_fused_multiply_add(precision: str, function: str) -> None:
    """The processor's (or the library's) own single rounding, not one that is simulated."""
    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no C mathematics library here")
    fma = getattr(ctypes.CDLL(name), function)
    fma.argtypes, fma.restype = [ctypes.c_float if precision == "f32" else ctypes.c_double] * 3, None
    fma.restype = fma.argtypes[0]

    def box(left: list[float], right: list[float]) -> float:
        total = 0.0
        for a, b in zip(left, right, strict=True):
            total = fma(a, b, total)
        return total

    for count in COUNTS:
        expected = summation.text(chain([*range(count)]), range(1, count))
        assert summation.reveal(box, count, precision) == expected


@pytest.mark.parametrize("precision", PRECISIONS)
def test_random_trees_of_up_to_48_leaves(precision: str) -> None:
    """Binary trees with any leaves fused that can be, recovered exactly; whichever child of a node comes first."""
    for seed in range(40):
        source = random.Random(seed)
        count = source.randint(1, 48)
        parts: list[Tree] = [*range(count)]
        while len(parts) > 1:
            parts.append((parts.pop(source.randrange(len(parts))), parts.pop(source.randrange(len(parts)))))
        tree = canonical(parts[0])
        possible = may_fuse(tree)
        fused = frozenset(source.sample(possible, source.randint(0, len(possible))))
        assert summation.reveal(Simulated(tree, precision, fused), count, precision) == summation.text(tree, fused)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wider_accumulator_has_the_same_tree_and_exact_products(precision: str) -> None:
    """f32 products added in f64, f64 ones in twice that: nothing is rounded on the way, which every leaf shows."""
    tree = canonical(lanes([*range(9)], 4, halves))

    class Wider(Simulated):
        def __init__(self) -> None:
            super().__init__(tree, precision, frozenset(range(9)))
            self.digits *= 2

    assert summation.reveal(Wider(), 9, precision) == summation.text(tree, range(9))


def kahan(left: list[float], right: list[float]) -> float:
    total, lost = 0.0, 0.0
    for a, b in zip(left, right, strict=True):
        term = a * b - lost
        total, lost = total + term, (total + term - total) - term
    return total


def neumaier(left: list[float], right: list[float]) -> float:
    total, lost = 0.0, 0.0
    for a, b in zip(left, right, strict=True):
        term = a * b
        lost += (total - (total + term)) + term if abs(total) >= abs(term) else (term - (total + term)) + total
        total += term
    return total + lost


def exact(left: list[float], right: list[float]) -> float:
    return float(sum((Fraction(a) * Fraction(b) for a, b in zip(left, right, strict=True)), Fraction(0)))


def sorted_first(left: list[float], right: list[float]) -> float:
    return float(sum(sorted((a * b for a, b in zip(left, right, strict=True)), key=abs)))


@pytest.mark.parametrize("box", [neumaier, exact])
@pytest.mark.parametrize("count", [3, 4, 9, 48])
def test_sums_that_follow_no_tree_are_said_to(box: summation.Box, count: int) -> None:
    assert summation.reveal(box, count, "f64").startswith("no tree: ")


def test_what_masks_cannot_show() -> None:
    """Kahan's sum loses its compensation to a mask too, and looks like its chain. An order by size is no order of the
    leaves: every one is added before the masks, as if all were added at once."""
    assert summation.reveal(kahan, 5, "f64") == "((((0 1) 2) 3) 4)"
    assert summation.reveal(sorted_first, 4, "f64") == "(0 1 2 3)"


def test_discover_asks_as_little_as_it_says() -> None:
    """For the tree; then once for each two neighbours, as a check."""
    asked = []
    for tree in (chain([*range(48)]), chain([*range(48)][::-1])):
        box = Counting(canonical(tree), "f64")
        summation.discover(box, 48, "f64")
        asked.append(box.calls)
    assert asked == [2 * 47, 48 * 47 // 2 + 47]


class Counting(Ordinary):
    calls = 0

    def __call__(self, left: list[float], right: list[float]) -> float:
        self.calls += 1
        return super().__call__(left, right)
