"""Step 4, insights: which principles moved the score, and the smallest change of one that would flip the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acgs.governance.forest import Evaluation, Floats, Forest
from acgs.statistics.conformal import Band

_NEGLIGIBLE = 1e-6


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


def explain(forest: Forest, row: Floats, evaluation: Evaluation, band: Band, *, principles: int) -> Insights:
    """Explain a decision.

    Args:
        row: the features that were scored, shape (features,).
        band: turns a score into a verdict.
        principles: how many of the first features are principles; only these are changed to flip the verdict.
    """
    names = forest.feature_names
    shares = evaluation.attributions.tolist()
    order = sorted(range(len(shares)), key=lambda column: -abs(shares[column]))
    importance = {names[column]: shares[column] for column in order if abs(shares[column]) > _NEGLIGIBLE}
    return Insights(
        importance=importance,
        harmful=[name for name, value in importance.items() if value > 0],
        helpful=[name for name, value in importance.items() if value < 0],
        flip=smallest_flip(forest, row, evaluation.score, band, principles=principles),
    )


def smallest_flip(forest: Forest, row: Floats, score: float, band: Band, *, principles: int) -> Flip | None:
    """The smallest change of one of the first `principles` features that changes the verdict, or None.

    `score` is the row's own. The change is verified by scoring the changed row again.
    """
    verdict = band.decide(score)
    changes = forest.changes(row)
    flips = np.flatnonzero(~band.leads_to(verdict, changes.scores) & (changes.columns < principles))
    distance = np.abs(changes.values[flips] - row[changes.columns[flips]])
    for index in flips[np.argsort(distance, kind="stable")]:
        column, value = int(changes.columns[index]), float(changes.values[index])
        changed = row.copy()
        changed[column] = value
        outcome = band.decide(forest.score(changed))
        if outcome != verdict:
            return Flip(forest.feature_names[column], float(row[column]), value, outcome)
    return None
