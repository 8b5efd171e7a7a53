"""The teacher: boosted trees that keep the monotone directions; each query is predicted by trees that never saw it.

LightGBM keeps the constraints with squared error and the `basic` or `intermediate` method; it refuses them for l1 and
quantile objectives, breaks them silently with `linear_tree`, and has open faults with `advanced`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.statistics.evidence import Floats

MOST_ROUNDS: Final = 300
_PATIENCE: Final = 20
"""Rounds without improvement after which no more trees are tried."""
_LEAVES_AT_MOST: Final = 12
"""A leaf holds at least one in twelve of the queries: what fewer show of a gain is mostly noise."""
_FEWEST_IN_LEAF: Final = 10
_PARAMETERS: Final[dict[str, Any]] = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "feature_fraction": 0.6,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def out_of_fold(
    features: Floats, target: Floats, folds: NDArray[np.int64], signs: Sequence[int], *, seed: int
) -> Floats:
    """Prediction for each query by a model fitted on the other folds, shape (n,).

    How many trees that model has is chosen by cross-validation among those folds: trees that learn noise cannot be
    distilled, nor are they worth it.

    Args:
        features: shape (n, d).
        target: shape (n,).
        folds: fold of each query, shape (n,), at least 3 different; a user's queries share one.
        signs: RISES, FALLS or 0 for each feature, length d.
    """
    predicted = np.empty(len(target))
    for fold in np.unique(folds):
        held = folds == fold
        rounds = _rounds(features[~held], target[~held], folds[~held], signs, seed=seed)
        predicted[held] = fit(features[~held], target[~held], signs, seed=seed, rounds=rounds).predict(features[held])
    return predicted


def fit(features: Floats, target: Floats, signs: Sequence[int], *, seed: int, rounds: int) -> Any:
    """A LightGBM booster of `rounds` trees on all the queries given; arguments as `out_of_fold`."""
    import lightgbm

    return lightgbm.train(_parameters(signs, seed, len(target)), lightgbm.Dataset(features, target), rounds)


def _rounds(features: Floats, target: Floats, folds: NDArray[np.int64], signs: Sequence[int], *, seed: int) -> int:
    import lightgbm

    parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in np.unique(folds)]
    history = lightgbm.cv(
        _parameters(signs, seed, len(target)),
        lightgbm.Dataset(features, target),
        MOST_ROUNDS,
        folds=parts,
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return len(np.asarray(history["valid l2-mean"]))


def _parameters(signs: Sequence[int], seed: int, queries: int) -> dict[str, Any]:
    fewest = max(_FEWEST_IN_LEAF, queries // _LEAVES_AT_MOST)
    parameters = {**_PARAMETERS, "seed": seed, "min_data_in_leaf": fewest}
    if any(signs):
        # Setting the method without constraints crashes LightGBM 4.7.
        parameters |= {"monotone_constraints": list(signs), "monotone_constraints_method": "intermediate"}
    return parameters
