"""Step 3, diagnostics: each tree's true out-of-bag error, and the loss of votes that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.governance.forest import Floats


@dataclass(frozen=True, slots=True)
class OutOfBagReport:
    """Per tree: balanced out-of-bag error, number of scenarios it was measured on, weight; and who lost the vote."""

    errors: Floats
    counts: NDArray[np.int64]
    weights: Floats
    flagged: list[str]


def tree_name(index: int) -> str:
    """The name under which a tree appears in answers."""
    return f"tree_{index}"


def out_of_bag_report(
    tree_values: Floats,
    out_of_bag: NDArray[np.bool_],
    violates: NDArray[np.bool_],
    *,
    threshold: float,
) -> OutOfBagReport:
    """Judge each tree on the scenarios its bootstrap left out.

    The error is balanced (mean of the error among violations and among compliant scenarios), because a tree that
    always says 'comply' must not pass. A tree without out-of-bag scenarios of both kinds has no estimate and is
    flagged. The weight of a vote is 1 - 2 * error, the margin over guessing.

    Args:
        tree_values: violation shares, shape (n, trees).
        out_of_bag: shape (n, trees).
        violates: labels, shape (n,).
        threshold: a tree with a larger error loses its vote.
    """
    wrong = (tree_values >= 0.5) != violates[:, None]
    per_class = []
    for label in (True, False):
        unseen = out_of_bag & (violates == label)[:, None]
        count = unseen.sum(axis=0)
        per_class.append(np.divide((wrong & unseen).sum(axis=0), count, out=np.ones(len(count)), where=count > 0))
    errors = np.mean(per_class, axis=0)
    lost = errors > threshold
    weights = np.where(lost, 0.0, np.maximum(0.0, 1 - 2 * errors))
    return OutOfBagReport(
        errors=errors,
        counts=out_of_bag.sum(axis=0),
        weights=weights,
        flagged=[tree_name(int(index)) for index in np.flatnonzero(lost)],
    )


def out_of_bag_scores(tree_values: Floats, out_of_bag: NDArray[np.bool_], weights: Floats) -> Floats:
    """Forest scores in which each scenario is judged only by trees that never saw it; NaN where there is none."""
    votes = out_of_bag * weights
    total = votes.sum(axis=1)
    scores: Floats = np.divide(
        (tree_values * votes).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )
    return scores
