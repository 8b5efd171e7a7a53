"""The policy forest as flat arrays: scores and exact TreeSHAP for a row in a few NumPy calls, no object per tree.

Attribution is path-dependent TreeSHAP (Lundberg et al. 2020, arXiv:1905.04610) evaluated by table look-up as in
Fast TreeSHAP v2 (Yang 2021, arXiv:2109.09847): for a leaf, the Shapley values depend only on which of the path's at
most `MAX_DEPTH` features are satisfied, so all 2**MAX_DEPTH cases are worked out when the forest is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 5
_LEAF = -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TreeArrays:
    """All trees' nodes, concatenated. Leaves have feature -1. `value` is the share of violations in the node."""

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    cover: Floats
    roots: Ints

    @property
    def count(self) -> int:
        """Number of trees."""
        return len(self.roots)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The forest's answer for one row."""

    score: float
    """Weighted mean of the trees' violation shares, in [0, 1]."""
    tree_values: Floats
    """Each tree's violation share, shape (trees,)."""
    attributions: Floats
    """SHAP value of each feature, shape (features,); they sum to `score - base_score`."""


@dataclass(frozen=True, slots=True)
class _Paths:
    """One row a leaf: the interval each path feature must lie in, and its cover ratio. Unused places are neutral."""

    tree: Ints
    feature: Ints
    low: Floats
    high: Floats
    ratio: Floats
    value: Floats


def _walk(trees: TreeArrays) -> _Paths:
    """Collect every leaf with the merged conditions on its path."""
    rows: list[tuple[int, dict[int, tuple[float, float, float]], float]] = []
    for tree, root in enumerate(trees.roots):
        stack: list[tuple[int, dict[int, tuple[float, float, float]]]] = [(int(root), {})]
        while stack:
            node, conditions = stack.pop()
            feature = int(trees.feature[node])
            if feature == _LEAF:
                rows.append((tree, conditions, float(trees.value[node])))
                continue
            low, high, ratio = conditions.get(feature, (-np.inf, np.inf, 1.0))
            cut = float(trees.threshold[node])
            for child, interval in (
                (int(trees.left[node]), (low, min(high, cut))),
                (int(trees.right[node]), (max(low, cut), high)),
            ):
                share = float(trees.cover[child] / trees.cover[node])
                stack.append((child, {**conditions, feature: (*interval, ratio * share)}))
    shape = (len(rows), MAX_DEPTH)
    paths = _Paths(
        tree=np.array([row[0] for row in rows], dtype=np.int64),
        feature=np.zeros(shape, dtype=np.int64),
        low=np.full(shape, -np.inf),
        high=np.full(shape, np.inf),
        ratio=np.ones(shape),
        value=np.array([row[2] for row in rows]),
    )
    for index, (_, conditions, _value) in enumerate(rows):
        for place, (feature, (low, high, ratio)) in enumerate(conditions.items()):
            paths.feature[index, place] = feature
            paths.low[index, place], paths.high[index, place] = low, high
            paths.ratio[index, place] = ratio
    return paths


def _shapley_table(ratio: Floats) -> Floats:
    """Shapley values of unit-value leaves, shape (leaves, 2**MAX_DEPTH, MAX_DEPTH).

    With feature set S known, a leaf is reached with weight prod(satisfied in S) * prod(cover ratio outside S).
    A neutral place (ratio 1, satisfied) is a dummy player and changes no other value.
    """
    patterns = np.arange(2**MAX_DEPTH)
    satisfied = ((patterns[:, None] >> np.arange(MAX_DEPTH)) & 1).astype(float)
    table = np.zeros((len(ratio), len(patterns), MAX_DEPTH))
    for player in range(MAX_DEPTH):
        others = [place for place in range(MAX_DEPTH) if place != player]
        for size in range(MAX_DEPTH):
            weight = factorial(size) * factorial(MAX_DEPTH - size - 1) / factorial(MAX_DEPTH)
            for known in combinations(others, size):
                unknown = [place for place in others if place not in known]
                reach = np.outer(ratio[:, unknown].prod(axis=1), satisfied[:, list(known)].prod(axis=1))
                table[:, :, player] += weight * reach * (satisfied[None, :, player] - ratio[:, None, player])
    return table


class Forest:
    """A weighted forest. A tree of weight 0 has lost its vote and takes part in nothing."""

    def __init__(self, trees: TreeArrays, weights: Floats, feature_names: list[str]) -> None:
        """`weights` has shape (trees,) and is normalised here to sum to 1.

        Raises:
            ValueError: no tree has a positive weight.
        """
        total = float(weights.sum())
        if not total > 0:
            raise ValueError("no tree of the forest has a vote")
        self.trees = trees
        self.weights = weights / total
        self.feature_names = feature_names
        paths = _walk(trees)
        leaf_weight = self.weights[paths.tree] * paths.value
        keep = self.weights[paths.tree] > 0
        self._feature = paths.feature[keep]
        self._flat_feature = self._feature.ravel()
        self._low, self._high = paths.low[keep], paths.high[keep]
        self._leaf_weight = leaf_weight[keep]
        self._table = (_shapley_table(paths.ratio[keep]) * leaf_weight[keep, None, None]).reshape(-1, MAX_DEPTH)
        self._row_start = np.arange(int(keep.sum())) * 2**MAX_DEPTH
        self._powers = 2 ** np.arange(MAX_DEPTH)
        self.base_score = float((leaf_weight * paths.ratio.prod(axis=1)).sum())

    def tree_values(self, rows: Floats) -> Floats:
        """Each tree's violation share, for rows of shape (n, features); returns shape (n, trees)."""
        trees = self.trees
        node = np.broadcast_to(trees.roots, (len(rows), trees.count)).copy()
        index = np.arange(len(rows))[:, None]
        for _ in range(MAX_DEPTH):
            feature = trees.feature[node]
            goes_left = rows[index, feature] <= trees.threshold[node]
            child = np.where(goes_left, trees.left[node], trees.right[node])
            node = np.where(feature == _LEAF, node, child)
        return trees.value[node]

    def scores(self, rows: Floats) -> Floats:
        """Weighted scores of many rows, shape (n,)."""
        return self.tree_values(rows) @ self.weights

    def evaluate(self, row: Floats) -> Evaluation:
        """Score one row of shape (features,) and attribute the score to its features."""
        values = row[self._feature]
        satisfied = (values > self._low) & (values <= self._high)
        pattern = satisfied @ self._powers
        shares = self._table[self._row_start + pattern]
        attributions: Floats = np.bincount(
            self._flat_feature, weights=shares.ravel(), minlength=len(self.feature_names)
        ).astype(np.float64)
        tree_values = self.tree_values(row[None, :])[0]
        return Evaluation(float(tree_values @ self.weights), tree_values, attributions)

    def profile(self, row: Floats, column: int) -> tuple[Floats, Floats]:
        """The score as a function of one feature, the others held: (values tried, scores), shape (cuts,) each.

        Each value is the one nearest to the row's own on the far side of a cut.
        """
        here = row[self._feature]
        satisfied = (here > self._low) & (here <= self._high)
        split = (self._feature == column) & (np.isfinite(self._low) | np.isfinite(self._high))
        cuts = np.unique(np.concatenate([self._low[split], self._high[split]]))
        cuts = cuts[np.isfinite(cuts)]
        values = np.where(cuts < row[column], cuts, np.nextafter(cuts, np.inf))
        depends = split.any(axis=1)
        fixed = self._leaf_weight[~depends & satisfied.all(axis=1)].sum()
        open_leaves = depends & (satisfied | split).all(axis=1)
        low = np.where(split, self._low, -np.inf)[open_leaves].max(axis=1)
        high = np.where(split, self._high, np.inf)[open_leaves].min(axis=1)
        inside = (values[:, None] > low) & (values[:, None] <= high)
        return values, fixed + inside @ self._leaf_weight[open_leaves]
