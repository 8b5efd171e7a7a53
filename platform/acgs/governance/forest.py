"""The policy forest as flat arrays: scores and exact TreeSHAP for a row in a few NumPy calls, no object per tree.

Attribution is path-dependent TreeSHAP (Lundberg et al. 2020, arXiv:1905.04610) evaluated by table look-up as in
Fast TreeSHAP v2 (Yang 2021, arXiv:2109.09847): for a leaf, the Shapley values depend only on which of the path's at
most `MAX_DEPTH` features are satisfied, so all 2**MAX_DEPTH cases are worked out when the forest is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
class Changes:
    """What changing one feature alone can lead to; one entry a stretch of constant score, row's own left out."""

    columns: Ints
    """Which feature is changed, shape (n,)."""
    values: Floats
    """The value of the stretch nearest to the row's own, shape (n,)."""
    scores: Floats
    """The score there, shape (n,)."""


@dataclass(frozen=True, slots=True)
class _Paths:
    """One column a leaf: the interval each path feature must lie in, and its cover ratio. Unused places are neutral.

    `feature`, `low`, `high` and `ratio` have shape (MAX_DEPTH, leaves).
    """

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
    shape = (MAX_DEPTH, len(rows))
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
            paths.feature[place, index] = feature
            paths.low[place, index], paths.high[place, index] = low, high
            paths.ratio[place, index] = ratio
    return paths


def _satisfied(row: Floats, paths: _Paths) -> NDArray[np.bool_]:
    """Which conditions hold for a row of shape (features,); shape (MAX_DEPTH, leaves)."""
    here = row[paths.feature]
    return (here > paths.low) & (here <= paths.high)


def _shapley_table(ratio: Floats) -> Floats:
    """Shapley values of unit-value leaves, shape (leaves, 2**MAX_DEPTH, MAX_DEPTH), for ratios (leaves, MAX_DEPTH).

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
        self.base_score = float((leaf_weight * paths.ratio.prod(axis=0)).sum())
        keep = self.weights[paths.tree] > 0
        paths = replace(
            paths,
            **{name: getattr(paths, name)[:, keep] for name in ("feature", "low", "high", "ratio")},
        )
        self._paths, self._leaf_weight = paths, leaf_weight[keep]
        self._flat_feature = np.ascontiguousarray(paths.feature.T).ravel()
        self._table = (_shapley_table(paths.ratio.T) * self._leaf_weight[:, None, None]).reshape(-1, MAX_DEPTH)
        self._row_start = np.arange(int(keep.sum())) * 2**MAX_DEPTH
        self._prepare_changes()

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
        satisfied = _satisfied(row, self._paths)
        pattern = np.packbits(satisfied, axis=0, bitorder="little")[0]
        shares = self._table[self._row_start + pattern]
        attributions: Floats = np.bincount(
            self._flat_feature, weights=shares.ravel(), minlength=len(self.feature_names)
        ).astype(np.float64)
        tree_values = self.tree_values(row[None, :])[0]
        return Evaluation(float(tree_values @ self.weights), tree_values, attributions)

    def changes(self, row: Floats) -> Changes:
        """Every score that changing one feature alone can lead to.

        A leaf takes part in a change of a feature if all its other conditions hold. Its weight then enters at the low
        end of its interval and leaves at the high end, so a running sum over the sorted interval ends gives the score
        on every stretch of every feature at once.
        """
        satisfied = _satisfied(row, self._paths)
        unsatisfied = MAX_DEPTH - np.count_nonzero(satisfied, axis=0)
        pair_holds = satisfied.ravel()[self._pair]
        missing = unsatisfied[self._pair_leaf]
        weight = np.where((missing == 0) | ((missing == 1) & ~pair_holds), self._leaf_weight[self._pair_leaf], 0.0)
        count = len(self.feature_names)
        leaving = np.bincount(self._pair_feature, weights=weight * pair_holds, minlength=count)
        from_below = np.bincount(self._pair_feature, weights=weight * self._pair_unbounded, minlength=count)
        score = float(self._leaf_weight[unsatisfied == 0].sum())
        running = np.cumsum(np.concatenate([[0.0], weight[self._end_pair] * self._end_sign]))
        within = running[self._stretch_last + 1] - running[self._feature_start[self._stretch_feature]]
        scores = score - leaving[self._stretch_feature] + from_below[self._stretch_feature] + within
        at = row[self._stretch_feature]
        values = np.where(at > self._stretch_high, self._stretch_high, self._stretch_above)
        elsewhere = (at > self._stretch_high) | (at <= self._stretch_low)
        return Changes(self._stretch_feature[elsewhere], values[elsewhere], scores[elsewhere])

    def _prepare_changes(self) -> None:
        """Sort all finite interval ends by feature and place; a stretch reaches from one end to the next."""
        paths = self._paths
        # A path that asks for an empty interval is never taken and changes nothing.
        bounded = (np.isfinite(paths.low) | np.isfinite(paths.high)) & (paths.low < paths.high)
        self._pair = np.flatnonzero(bounded.ravel())
        self._pair_leaf = self._pair % len(self._leaf_weight)
        self._pair_feature = paths.feature.ravel()[self._pair]
        low, high = paths.low.ravel()[self._pair], paths.high.ravel()[self._pair]
        self._pair_unbounded = ~np.isfinite(low)
        enters, leaves = np.flatnonzero(np.isfinite(low)), np.flatnonzero(np.isfinite(high))
        pair = np.concatenate([enters, leaves])
        place = np.concatenate([low[enters], high[leaves]])
        sign = np.concatenate([np.ones(len(enters)), -np.ones(len(leaves))])
        order = np.lexsort((place, self._pair_feature[pair]))
        self._end_pair, self._end_sign, place = pair[order], sign[order], place[order]
        feature = self._pair_feature[self._end_pair]
        self._feature_start = np.searchsorted(feature, np.arange(len(self.feature_names)))
        # Below the first end of each feature there is one more stretch, with no end summed yet.
        used = np.unique(feature)
        last = np.flatnonzero(np.append((np.diff(feature) != 0) | (np.diff(place) != 0), True)) if len(place) else pair
        self._stretch_feature = np.concatenate([used, feature[last]])
        self._stretch_last = np.concatenate([self._feature_start[used] - 1, last])
        self._stretch_low = np.concatenate([np.full(len(used), -np.inf), place[last]])
        order = np.lexsort((self._stretch_low, self._stretch_feature))
        self._stretch_feature = self._stretch_feature[order]
        self._stretch_last = self._stretch_last[order]
        self._stretch_low = self._stretch_low[order]
        same = np.append(np.diff(self._stretch_feature) == 0, False)
        self._stretch_high = np.where(same, np.append(self._stretch_low[1:], np.inf), np.inf)
        self._stretch_above = np.nextafter(self._stretch_low, np.inf)
