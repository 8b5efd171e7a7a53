"""The policy forest as flat arrays: scores and exact TreeSHAP for a row in a few NumPy calls, no object per tree.

Attribution is path-dependent TreeSHAP (Lundberg et al. 2020, arXiv:1905.04610) evaluated by table look-up as in
Fast TreeSHAP v2 (Yang 2021, arXiv:2109.09847): for a leaf, the Shapley values depend only on which of the path's at
most `MAX_DEPTH` features are satisfied, so all 2**MAX_DEPTH cases are worked out when the forest is loaded.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 5
_LEAF = -1
_PATTERNS = 2**MAX_DEPTH
_ALL_HOLD = _PATTERNS - 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PLACES: Ints = np.arange(MAX_DEPTH)
_LACKING: Ints = np.zeros(_PATTERNS, dtype=np.int64)
"""The place whose condition alone does not hold, by pattern."""
_LACKING[_ALL_HOLD - (1 << _PLACES)] = _PLACES
_LACKS_ONE: NDArray[np.bool_] = np.isin(np.arange(_PATTERNS), _ALL_HOLD - (1 << _PLACES))


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


def _shapley_table(ratio: Floats) -> Floats:
    """Shapley values of unit-value leaves, shape (leaves, 2**MAX_DEPTH, MAX_DEPTH), for ratios (leaves, MAX_DEPTH).

    With feature set S known, a leaf is reached with weight prod(satisfied in S) * prod(cover ratio outside S).
    A neutral place (ratio 1, satisfied) is a dummy player and changes no other value.
    """
    patterns = np.arange(_PATTERNS)
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
    """A weighted forest. A tree of weight 0 has lost its vote and takes part in nothing.

    Each feature's axis is cut into cells by the trees' thresholds. What holds inside a cell is worked out when the
    forest is loaded, so a row costs one look-up a feature.
    """

    def __init__(self, trees: TreeArrays, weights: Floats, feature_names: list[str]) -> None:
        """`weights` has shape (trees,) and is normalised here to sum to 1.

        Raises:
            ValueError: no tree of the forest has a vote.
        """
        total = float(weights.sum())
        if not total > 0:
            raise ValueError("no tree of the forest has a vote")
        self.trees = trees
        self.weights = weights / total
        self.feature_names = feature_names
        paths = _walk(trees)
        self._leaf_value = paths.value
        self._leaf_weight = self.weights[paths.tree] * paths.value
        self.base_score = float((self._leaf_weight * paths.ratio.prod(axis=0)).sum())
        self._cut_into_cells(paths)
        self._tabulate_shapley_values(paths)

    def _cut_into_cells(self, paths: _Paths) -> None:
        """Number the cells of all features one after another and note which conditions hold in each."""
        bounded = np.isfinite(paths.low) | np.isfinite(paths.high)
        used = np.unique(paths.feature[bounded]) if bounded.any() else np.zeros(1, dtype=np.int64)
        ends = [
            np.concatenate([paths.low[at], paths.high[at]]) for at in (bounded & (paths.feature == f) for f in used)
        ]
        cuts = [np.unique(found[np.isfinite(found)]) for found in ends]
        sizes = np.array([len(found) + 1 for found in cuts])
        self._used = used.tolist()
        self._cuts = [found.tolist() for found in cuts]
        self._first_cell = np.cumsum(sizes) - sizes
        self._cell_owner = np.repeat(np.arange(len(used)), sizes)
        self._cell_feature = used[self._cell_owner]
        self._cell_low = np.concatenate([np.append(-np.inf, found) for found in cuts])
        self._cell_high = np.concatenate([np.append(found, np.inf) for found in cuts])
        self._cell_above = np.nextafter(self._cell_low, np.inf)
        # A condition holds from cell `enters` until before cell `leaves`; places are numbered leaf by leaf.
        enters, leaves = np.zeros_like(paths.feature), np.zeros_like(paths.feature)
        for owner, feature in enumerate(used):
            at = bounded & (paths.feature == feature)
            last = self._first_cell[owner] + sizes[owner]
            enters[at] = self._first_cell[owner] + np.searchsorted(np.append(-np.inf, cuts[owner]), paths.low[at])
            leaves[at] = np.minimum(self._first_cell[owner] + 1 + np.searchsorted(cuts[owner], paths.high[at]), last)
        leaves = np.maximum(enters, leaves)
        self._bounded, self._enters, self._leaves = bounded.T.ravel(), enters.T.ravel(), leaves.T.ravel()
        neutral = np.packbits(~bounded, axis=0, bitorder="little")[0]
        self._holds = np.tile(neutral, (len(self._cell_low), 1))
        for place in range(MAX_DEPTH):
            for leaf in np.flatnonzero(bounded[place]):
                self._holds[enters[place, leaf] : leaves[place, leaf], leaf] |= 1 << place

    def _tabulate_shapley_values(self, paths: _Paths) -> None:
        """One row of the table a place that asks for something, in the order of features."""
        places = np.flatnonzero(self._bounded)
        feature = paths.feature.T.ravel()[places]
        order = np.argsort(feature, kind="stable")
        places = places[order]
        table = _shapley_table(paths.ratio.T) * self._leaf_weight[:, None, None]
        self._place_leaf = places // MAX_DEPTH
        self._shares = table.transpose(0, 2, 1).reshape(-1, _PATTERNS)[places].ravel()
        self._shares_start = np.arange(len(places)) * _PATTERNS
        self._attributed, self._attributed_start = np.unique(feature[order], return_index=True)

    def _cells(self, row: Floats) -> Ints:
        """The cell of each used feature, by its number among all cells."""
        values = row.tolist()
        inside = [bisect_left(cuts, values[feature]) for feature, cuts in zip(self._used, self._cuts, strict=True)]
        cells: Ints = self._first_cell + inside
        return cells

    def _patterns(self, cells: Ints) -> NDArray[np.uint8]:
        """Which conditions of each leaf's path hold, one bit a place; shape (leaves,)."""
        patterns: NDArray[np.uint8] = np.bitwise_or.reduce(self._holds[cells], axis=0)
        return patterns

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

    def score(self, row: Floats) -> float:
        """The weighted score of one row of shape (features,); the same as `scores` gives but faster."""
        patterns = self._patterns(self._cells(row))
        return float(self._leaf_value[patterns == _ALL_HOLD] @ self.weights)

    def evaluate(self, row: Floats) -> Evaluation:
        """Score one row of shape (features,) and attribute the score to its features."""
        patterns = self._patterns(self._cells(row))
        # A row reaches one leaf a tree, and leaves are kept in the order of trees.
        tree_values = self._leaf_value[patterns == _ALL_HOLD]
        attributions = np.zeros(len(self.feature_names))
        if len(self._attributed):
            shares = self._shares.take(self._shares_start + patterns.take(self._place_leaf))
            attributions[self._attributed] = np.add.reduceat(shares, self._attributed_start)
        return Evaluation(float(tree_values @ self.weights), tree_values, attributions)

    def changes(self, row: Floats) -> Changes:
        """Every score that changing one feature alone can lead to.

        A leaf takes part in a change of a feature if all its other conditions hold. Its weight then enters at its
        first cell and leaves behind its last, so one running sum gives the score in every cell of every feature.
        """
        cells = self._cells(row)
        patterns = self._patterns(cells)
        taken = np.flatnonzero(patterns == _ALL_HOLD)
        near = np.flatnonzero(_LACKS_ONE.take(patterns))
        of_taken = (taken[:, None] * MAX_DEPTH + _PLACES).ravel()
        of_near = near * MAX_DEPTH + _LACKING.take(patterns.take(near))
        places = np.concatenate([of_taken[self._bounded.take(of_taken)], of_near])
        weight = self._leaf_weight.take(places // MAX_DEPTH)
        steps = np.bincount(
            np.concatenate([self._enters.take(places), self._leaves.take(places)]),
            weights=np.concatenate([weight, -weight]),
            minlength=len(self._cell_owner) + 1,
        )
        running = np.cumsum(steps)
        score = float(self._leaf_weight.take(taken).sum())
        scores = running[:-1] + (score - running.take(cells)).take(self._cell_owner)
        rises = np.arange(len(scores)) > cells.take(self._cell_owner)
        values = np.where(rises, self._cell_above, self._cell_high)
        elsewhere = np.ones(len(scores), dtype=bool)
        elsewhere[cells] = False
        return Changes(self._cell_feature[elsewhere], values[elsewhere], scores[elsewhere])
