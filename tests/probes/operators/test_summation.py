"""Random trees, evaluated in simulated binary32 and binary64, are recovered exactly; boxes without a tree say so."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.operators import summation
from probes.operators.summation import Tree

DIGITS = {"f32": 24, "f64": 53}


def rounded(value: Fraction, digits: int) -> Fraction:
    """To nearest, ties to even, exponents unbounded."""
    if value == 0:
        return value
    exponent = math.frexp(float(value))[1] - digits
    unit = Fraction(2) ** exponent
    return round(value / unit) * unit


class Simulated:
    """A box that adds in the order of `tree`; products of the leaves in `fused` are added unrounded.

    A wide node aligns its terms to the largest and truncates them to `digits`, as matrix units do.
    """

    def __init__(self, tree: Tree, precision: str, fused: frozenset[int] = frozenset()) -> None:
        self.tree, self.digits, self.fused = tree, DIGITS[precision], fused

    def __call__(self, left: list[float], right: list[float]) -> float:
        products = [Fraction(a) * Fraction(b) for a, b in zip(left, right, strict=True)]
        return float(rounded(self.value(self.tree, products), self.digits))

    def value(self, tree: Tree, products: list[Fraction]) -> Fraction:
        if isinstance(tree, int):
            return products[tree] if tree in self.fused else rounded(products[tree], self.digits)
        terms = [self.value(child, products) for child in tree]
        if len(terms) == 2:
            return rounded(terms[0] + terms[1], self.digits)
        largest = max(abs(term) for term in terms)
        if largest == 0:
            return largest
        unit = Fraction(2) ** (math.frexp(float(largest))[1] - self.digits)
        return rounded(sum((int(term / unit) * unit for term in terms), Fraction(0)), self.digits)


@st.composite
def trees(draw: st.DrawFn, widest: int) -> Tree:
    """A tree over 2 to 20 shuffled leaves, nodes of 2 to `widest` children, in canonical order."""
    count = draw(st.integers(2, 20))
    parts: list[Tree] = list(draw(st.permutations(range(count))))
    while len(parts) > 1:
        width = min(draw(st.integers(2, widest)), len(parts))
        places = sorted(draw(st.permutations(range(len(parts))))[:width], reverse=True)
        parts.append(tuple(parts.pop(place) for place in places))
    return canonical(parts[0])


def canonical(tree: Tree) -> Tree:
    if isinstance(tree, int):
        return tree
    return tuple(sorted(map(canonical, tree), key=lambda child: min(summation.leaves_of(child))))


def may_fuse(tree: Tree) -> list[int]:
    """Leaves that a fused multiply-add can add: of each binary node one leaf, the other operand being the sum."""
    if isinstance(tree, int):
        return []
    below = [leaf for child in tree for leaf in may_fuse(child)]
    leaves = [child for child in tree if isinstance(child, int)]
    return below + (leaves[-1:] if len(tree) == 2 else [])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["f32", "f64"]), st.data())
def test_binary_trees_with_fused_leaves(precision: str, data: st.DataObject) -> None:
    tree = data.draw(trees(widest=2))
    fused = frozenset(data.draw(st.lists(st.sampled_from(may_fuse(tree)), unique=True)))
    count = len(summation.leaves_of(tree))
    assert summation.reveal(Simulated(tree, precision, fused), count, precision) == summation.text(tree, fused)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["f32", "f64"]), trees(widest=6))
def test_trees_with_wide_nodes(precision: str, tree: Tree) -> None:
    count = len(summation.leaves_of(tree))
    assert summation.discover(Simulated(tree, precision), count, precision) == tree


def test_text_is_canonical() -> None:
    assert summation.text(((0, 1), (2, 3)), [3]) == "((0 1) (2 3*))"


def test_an_exact_sum_has_no_tree() -> None:
    def box(left: list[float], right: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(left, right, strict=True))

    with pytest.raises(summation.NoTree):
        summation.discover(box, 5, "f64")
    assert summation.reveal(box, 5, "f64").startswith("no tree: ")


@pytest.mark.parametrize("result", [math.nan, math.inf, -1.0, 0.5])
def test_a_box_that_does_not_count_has_no_tree(result: float) -> None:
    assert summation.reveal(lambda left, right: result, 4, "f64").startswith("no tree: ")


def test_one_term_is_a_leaf() -> None:
    assert summation.reveal(lambda left, right: left[0] * right[0], 1, "f32") == "0"


def test_numpys_pairwise_sum() -> None:
    """numpy's documented algorithm: eight accumulators, then pairs of them."""
    import numpy

    def box(left: list[float], right: list[float]) -> float:
        return float(numpy.sum(numpy.array(left)))

    assert summation.text(summation.discover(box, 8, "f64")) == "(((0 1) (2 3)) ((4 5) (6 7)))"
