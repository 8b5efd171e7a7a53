"""Step 4, insights: which principles moved the score, and the smallest change of one that would flip the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from acgs.governance.forest import Evaluation, Floats, Forest

_NEGLIGIBLE = 1e-6
_CHANGES_TRIED = 3


@dataclass(frozen=True, slots=True)
class Flip:
    """Setting one principle's score to `to` alone turns the verdict into `verdict`."""

    principle: str
    at: float
    to: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Insights:
    """Attribution in units of the score. Positive values push towards a violation."""

    importance: dict[str, float]
    harmful: list[str]
    helpful: list[str]
    flip: Flip | None


def explain(
    forest: Forest, row: Floats, evaluation: Evaluation, verdict_of: Callable[[Floats], list[str]], verdict: str
) -> Insights:
    """Explain a decision.

    Args:
        row: the features that were scored, shape (features,).
        verdict_of: verdicts for forest scores of shape (n,); used to search and to verify the flip.
        verdict: the verdict to flip.
    """
    names = forest.feature_names
    order = np.argsort(-np.abs(evaluation.attributions), kind="stable")
    importance = {
        names[i]: float(evaluation.attributions[i]) for i in order if abs(evaluation.attributions[i]) > _NEGLIGIBLE
    }
    return Insights(
        importance=importance,
        harmful=[name for name, value in importance.items() if value > 0],
        helpful=[name for name, value in importance.items() if value < 0],
        flip=smallest_flip(forest, row, order[:_CHANGES_TRIED], verdict_of, verdict),
    )


def smallest_flip(
    forest: Forest,
    row: Floats,
    columns: np.ndarray[tuple[int], np.dtype[np.int64]],
    verdict_of: Callable[[Floats], list[str]],
    verdict: str,
) -> Flip | None:
    """The smallest change of one feature among `columns` that changes the verdict, verified by scoring again."""
    candidates: list[tuple[float, int, float]] = []
    for column in columns:
        for value, score in zip(*forest.profile(row, int(column)), strict=True):
            if verdict_of(np.array([score]))[0] != verdict:
                candidates.append((abs(value - row[column]), int(column), float(value)))
    for _distance, place, value in sorted(candidates):
        changed = row.copy()
        changed[place] = value
        outcome = verdict_of(forest.scores(changed[None, :]))[0]
        if outcome != verdict:
            return Flip(forest.feature_names[place], float(row[place]), value, outcome)
    return None
