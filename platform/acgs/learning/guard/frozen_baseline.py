"""What an adapter has to beat: MiniLM as it is, with a logistic regression on its pooled states."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTIES: Final = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse strengths of the quadratic penalty to choose from."""
_FOLDS: Final = 4


def fit_frozen(
    vectors: NDArray[np.float32], harmful: NDArray[np.bool_], groups: NDArray[np.int64]
) -> tuple[Pipeline, float]:
    """The regression on standardised vectors of shape (n, width), and the penalty it was given.

    The penalty is the one with the best AUROC over held-out groups of these rows.
    """
    folds = GroupKFold(_FOLDS)

    def held_out(penalty: float) -> float:
        model = _regression(penalty)
        scores = cross_val_predict(model, vectors, harmful, groups=groups, cv=folds, method="decision_function")
        return float(roc_auc_score(harmful, scores))

    best = max(PENALTIES, key=held_out)
    return _regression(best).fit(vectors, harmful), best


def _regression(penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
