"""The serial reference: one node at a time, one feature subset at a time. Slow, obvious, and the fast path's oracle."""

from __future__ import annotations

from itertools import combinations
from math import factorial

from acgs.governance.forest import Floats, TreeArrays


def tree_value(trees: TreeArrays, tree: int, row: Floats) -> float:
    """Walk one tree from its root to a leaf."""
    node = int(trees.roots[tree])
    while trees.feature[node] >= 0:
        go_left = row[trees.feature[node]] <= trees.threshold[node]
        node = int(trees.left[node] if go_left else trees.right[node])
    return float(trees.value[node])


def forest_score(trees: TreeArrays, weights: Floats, row: Floats) -> float:
    """Weighted mean over trees, added up one by one."""
    total = sum(float(weight) for weight in weights)
    return sum(float(weights[tree]) * tree_value(trees, tree, row) for tree in range(trees.count)) / total


def _expectation(trees: TreeArrays, node: int, row: Floats, known: frozenset[int]) -> float:
    """The tree's value when only `known` features are given; both branches are averaged by cover elsewhere."""
    feature = int(trees.feature[node])
    if feature < 0:
        return float(trees.value[node])
    left, right = int(trees.left[node]), int(trees.right[node])
    if feature in known:
        return _expectation(trees, left if row[feature] <= trees.threshold[node] else right, row, known)
    share = float(trees.cover[left] / trees.cover[node])
    return share * _expectation(trees, left, row, known) + (1 - share) * _expectation(trees, right, row, known)


def tree_shapley(trees: TreeArrays, tree: int, row: Floats) -> dict[int, float]:
    """Shapley values of one tree by their definition, over the features the tree uses."""
    root = int(trees.roots[tree])
    stack, used = [root], set()
    while stack:
        node = stack.pop()
        if trees.feature[node] >= 0:
            used.add(int(trees.feature[node]))
            stack += [int(trees.left[node]), int(trees.right[node])]
    values: dict[int, float] = {}
    for player in used:
        others = sorted(used - {player})
        total = 0.0
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(others) - size) / factorial(len(others) + 1)
            for subset in combinations(others, size):
                known = frozenset(subset)
                gain = _expectation(trees, root, row, known | {player}) - _expectation(trees, root, row, known)
                total += weight * gain
        values[player] = total
    return values
