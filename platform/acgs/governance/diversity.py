"""Step 1, diversity: grow policy trees on bootstraps of scenarios and subsets of principles, keep those that err apart.

Bootstraps draw whole groups, so that a tree's out-of-bag scenarios share no template or source text with its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from acgs.governance.forest import MAX_DEPTH, Floats, Ints, TreeArrays

_CANDIDATES_PER_TREE = 3
_MIN_LEAF_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class GrownForest:
    """Trees with what is needed to judge them. `out_of_bag[i, t]` tells whether tree t never saw scenario i."""

    trees: TreeArrays
    out_of_bag: NDArray[np.bool_]
    mean_error_correlation: float
    max_error_correlation: float


@dataclass(frozen=True, slots=True)
class _Sample:
    """What trees are grown on. Scikit-learn compares in single precision, so features are held in it."""

    features: NDArray[np.float32]
    violates: NDArray[np.bool_]
    groups: Ints
    weights: Floats


@dataclass(frozen=True, slots=True)
class _Candidate:
    tree: DecisionTreeClassifier
    columns: Ints
    values: Floats
    out_of_bag: NDArray[np.bool_]


def smallest_forest(confidence_threshold: float, z: float = 1.96) -> int:
    """Fewest trees whose unanimous vote has a Wilson lower bound above the threshold: n / (n + z^2) > threshold."""
    return int(np.floor(confidence_threshold * z**2 / (1 - confidence_threshold))) + 1


def _group_bootstrap(groups: Ints, rng: np.random.Generator) -> Floats:
    """How often each scenario was drawn, when groups are drawn with replacement."""
    count = int(groups.max()) + 1
    drawn = np.bincount(rng.integers(0, count, size=count), minlength=count)
    return drawn[groups].astype(float)


def grow(
    features: Floats,
    violates: NDArray[np.bool_],
    groups: Ints,
    weights: Floats,
    *,
    trees: int,
    features_per_tree: int,
    seed: int,
) -> GrownForest:
    """Grow `trees` policy trees.

    Args:
        features: principle scores and facts, shape (n, features).
        violates: labels, shape (n,).
        groups: group number of each scenario, shape (n,), from 0 without gaps.
        weights: importance of each scenario, shape (n,).
        features_per_tree: size of each tree's random subset of principles.
        seed: recorded with the bundle.
    """
    rng = np.random.default_rng(seed)
    sample = _Sample(features.astype(np.float32), violates, groups, weights)
    candidates = [_grow_one(sample, features_per_tree, rng) for _ in range(trees * _CANDIDATES_PER_TREE)]
    correlation = _error_correlation(candidates, violates)
    chosen = _least_correlated(candidates, violates, correlation, trees)
    pairs = correlation[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), k=1)]
    kept = [candidates[index] for index in chosen]
    return GrownForest(
        trees=_flatten(kept),
        out_of_bag=np.stack([candidate.out_of_bag for candidate in kept], axis=1),
        mean_error_correlation=float(pairs.mean()),
        max_error_correlation=float(pairs.max()),
    )


def _grow_one(sample: _Sample, features_per_tree: int, rng: np.random.Generator) -> _Candidate:
    columns = np.sort(rng.choice(sample.features.shape[1], size=features_per_tree, replace=False))
    drawn = _group_bootstrap(sample.groups, rng)
    tree = DecisionTreeClassifier(
        max_depth=MAX_DEPTH,
        min_weight_fraction_leaf=_MIN_LEAF_SHARE,
        random_state=int(rng.integers(2**31)),
    )
    tree.fit(sample.features[:, columns], sample.violates, sample_weight=drawn * sample.weights)
    values = tree.predict_proba(sample.features[:, columns])[:, 1]
    return _Candidate(tree, columns, values, drawn == 0)


def _error_correlation(candidates: list[_Candidate], violates: NDArray[np.bool_]) -> Floats:
    """Correlation of two trees' errors over the scenarios that neither of them saw."""
    errors = np.stack([(c.values >= 0.5) != violates for c in candidates]).astype(float)
    unseen = np.stack([c.out_of_bag for c in candidates]).astype(float)
    shared = unseen @ unseen.T
    mean_a = (errors * unseen) @ unseen.T / shared
    mean_b = mean_a.T
    both = (errors * unseen) @ (errors * unseen).T / shared
    spread = np.sqrt(mean_a * (1 - mean_a) * mean_b * (1 - mean_b))
    correlation: Floats = np.divide(both - mean_a * mean_b, spread, out=np.ones_like(both), where=spread > 0)
    return correlation


def _least_correlated(
    candidates: list[_Candidate], violates: NDArray[np.bool_], correlation: Floats, trees: int
) -> list[int]:
    """Greedy choice: start from the best tree, add the one that is best for its error plus its mean correlation."""
    error = np.array([float(((c.values >= 0.5) != violates)[c.out_of_bag].mean()) for c in candidates])
    chosen = [int(error.argmin())]
    while len(chosen) < trees:
        cost = error + 0.5 * correlation[:, chosen].mean(axis=1)
        cost[chosen] = np.inf
        chosen.append(int(cost.argmin()))
    return chosen


def _flatten(candidates: list[_Candidate]) -> TreeArrays:
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name in TreeArrays.__slots__ if name != "roots"}
    roots, offset = [], 0
    for candidate in candidates:
        nodes = candidate.tree.tree_
        leaf = nodes.feature < 0
        parts["feature"].append(np.where(leaf, -1, candidate.columns[np.maximum(nodes.feature, 0)]))
        parts["threshold"].append(nodes.threshold)
        parts["left"].append(np.where(leaf, 0, nodes.children_left + offset))
        parts["right"].append(np.where(leaf, 0, nodes.children_right + offset))
        share = nodes.value[:, 0, :]
        parts["value"].append(share[:, 1] / share.sum(axis=1))
        parts["cover"].append(nodes.weighted_n_node_samples)
        roots.append(offset)
        offset += nodes.node_count
    arrays = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    return TreeArrays(**arrays, roots=np.array(roots, dtype=np.int64))
