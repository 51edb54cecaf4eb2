"""In which order a library adds: the summation tree of a black box, without reading the library's name or version.

Method: P. Xie, Y. Gao, Y. Wang, J. Xue, "FPRev: Revealing the Order of Floating-Point Summation" (arXiv:2411.00442);
own implementation. Let the box add ones, but a mask M at leaf i and -M at leaf j, with M so large that M + 1 == M. Ones
that meet a mask before the masks meet each other are lost, the others are counted. So `count - result` is the number of
leaves under the lowest common ancestor of i and j; a few such numbers give the tree.

A node with more than two children is a fused addition of several terms (matrix units), which aligns its terms to the
largest and drops what lies below. Binary nodes that add a product without rounding it first (FMA) have the same tree
and other bits; `fused_leaves` finds them.

What masks do not show: a compensation that they absorb as well (Kahan's sum has the tree of a chain), and an order that
depends on the values (by size: one wide node).
"""

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple, Union

Box = Callable[[List[float], List[float]], float]
"""Adds the products of two vectors, in an order of its own: a dot product, or one element of a matrix product."""

Tree = Union[int, Tuple["Tree", ...]]
"""A leaf's index, or a node's children: ((0, 1), (2, 3)). Children are ordered by their smallest leaf."""


class NoTree(Exception):
    """The box does not add in the order of any tree (an exact accumulator, a correction added at the end)."""


class Precision(NamedTuple):
    """How far masks may go in a format: `mask` absorbs ones and sums of it overflow nowhere; `epsilon` squared is lost
    beside one. Neither comes near subnormal numbers, so flush-to-zero moves nothing here."""

    mask: float
    epsilon: float


PRECISIONS = {"f32": Precision(2.0**100, 2.0**-14), "f64": Precision(2.0**900, 2.0**-28)}


class _Part(NamedTuple):
    tree: Tree
    leaves: int  # under the tree's root; what a pair of masks that meet there loses


def discover(box: Box, count: int, precision: str) -> Tree:
    """The tree in which `box` adds `count` products; `precision` is f32 or f64.

    Calls the box between count - 1 (a chain) and count * (count - 1) / 2 times. Raises NoTree.
    """
    mask = PRECISIONS[precision].mask
    ones = [1.0] * count

    def lost(first: int, second: int) -> int:
        terms = list(ones)
        terms[first], terms[second] = mask, -mask
        rest = float(box(terms, ones))
        if not 0.0 <= rest <= count - 2.0 or rest != int(rest):
            raise NoTree("masks at {} and {} leave {!r}".format(first, second, rest))
        return count - int(rest)

    def build(leaves: Sequence[int]) -> _Part:
        """The part over `leaves`, which must be whole children of one node. From its first leaf upwards: leaves that
        meet that one at the same height are the siblings there."""
        base, part = leaves[0], _Part(leaves[0], 1)
        heights: Dict[int, List[int]] = {}
        for leaf in leaves[1:]:
            heights.setdefault(lost(base, leaf), []).append(leaf)
        for height in sorted(heights):
            sibling = build(heights[height])
            children: Tuple[Tree, ...] = (part.tree, sibling.tree)
            if sibling.leaves == height and isinstance(sibling.tree, tuple):
                # The siblings meet no lower than they meet the base: children of this same, wide node.
                children = (part.tree, *sibling.tree)
            part = _Part(children, height)
        return part

    whole = build(range(count))
    _check(whole.tree, lost, count)
    return whole.tree


def _check(tree: Tree, lost: Callable[[int, int], int], count: int) -> None:
    """Raise NoTree unless `tree` has each leaf once and predicts what masks at neighbouring leaves lose: of these
    pairs many were not asked before."""
    order = leaves_of(tree)
    if sorted(order) != list(range(count)):
        raise NoTree("leaves {} of {}".format(order, count))
    for first, second, height in zip(order, order[1:], _heights_between(tree)):
        if lost(first, second) != height:
            raise NoTree("leaves {} and {} contradict the tree".format(first, second))


def _heights_between(tree: Tree) -> List[int]:
    """For each two neighbouring leaves, from left to right, the number of leaves under the node where they meet."""
    if isinstance(tree, int):
        return []
    size = len(leaves_of(tree))
    heights = _heights_between(tree[0])
    for child in tree[1:]:
        heights += [size, *_heights_between(child)]
    return heights


def leaves_of(tree: Tree) -> List[int]:
    """The leaves under a tree, from left to right."""
    if isinstance(tree, int):
        return [tree]
    return [leaf for child in tree for leaf in leaves_of(child)]


def fused_leaves(box: Box, tree: Tree, precision: str) -> List[int]:
    """The leaves whose product `box` adds without rounding it first (fused multiply-add, exact products), ascending.

    One product is (1 + e)(1 - e), which rounds to 1; one beside it in the tree is -1. A rounded product leaves 0.
    """
    epsilon = PRECISIONS[precision].epsilon
    count = len(leaves_of(tree))
    found = []
    for leaf, partner in _partners(tree):
        left, right = [0.0] * count, [0.0] * count
        left[leaf], right[leaf] = 1.0 + epsilon, 1.0 - epsilon
        left[partner], right[partner] = -1.0, 1.0
        if float(box(left, right)) != 0.0:
            found.append(leaf)
    return sorted(found)


def _partners(tree: Tree) -> List[Tuple[int, int]]:
    """Every leaf with one leaf of a sibling: the pair meets at that leaf's own node."""
    if isinstance(tree, int):
        return []
    pairs = [pair for child in tree for pair in _partners(child)]
    for place, child in enumerate(tree):
        if isinstance(child, int):
            sibling = tree[1] if place == 0 else tree[0]
            pairs.append((child, leaves_of(sibling)[0]))
    return pairs


def text(tree: Tree, fused: Sequence[int] = ()) -> str:
    """The canonical string of a tree: "((0 1) (2 3))"; a leaf of `fused` is written with a star: "(0 1*)"."""
    if isinstance(tree, int):
        return "{}*".format(tree) if tree in fused else str(tree)
    return "({})".format(" ".join(text(child, fused) for child in tree))


def reveal(box: Box, count: int, precision: str) -> str:
    """The canonical string of the tree in which `box` adds `count` products, fused leaves marked; or why none fits."""
    try:
        tree = discover(box, count, precision)
    except NoTree as reason:
        return "no tree: {}".format(reason)
    return text(tree, fused_leaves(box, tree, precision))
