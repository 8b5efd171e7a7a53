"""From head logits, rules and facts to the row that the policy forest sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.governance.forest import Floats
from acgs.policy.engine import RuleViolation

OVERALL: Final = "text_overall"
WORST_RULE: Final = "worst_rule"
SEVERITY: Final = {"minor": 0.3, "major": 0.9, "critical": 1.0}
"""What a breached rule contributes to its principle's score."""


def feature_names(principles: Sequence[str]) -> list[str]:
    """Columns of the forest."""
    return [*principles, OVERALL, WORST_RULE]


def head_names(core_principles: Sequence[str]) -> list[str]:
    """Heads of an encoder: the principles that text can breach, then `overall`."""
    return [*core_principles, "overall"]


def probabilities(logits: NDArray[np.floating], platt: NDArray[np.float64]) -> Floats:
    """Calibrated probability of each head: logits of shape (..., k), Platt parameters of shape (k, 2)."""
    scaled: Floats = 1.0 / (1.0 + np.exp(-(logits * platt[:, 0] + platt[:, 1])))
    return scaled


def feature_row(
    probability: Floats, head_columns: NDArray[np.int64], violations: Iterable[RuleViolation], names: list[str]
) -> Floats:
    """One row, shape (features,), rounded to single precision as the trees' cuts are.

    A principle's score is the larger of what the text and what the rules say about it.
    """
    row = np.zeros(len(names))
    row[head_columns] = probability
    for violation in violations:
        severity = SEVERITY[violation.severity]
        for column in (names.index(violation.principle), len(names) - 1):
            row[column] = max(row[column], severity)
    return row.astype(np.float32).astype(np.float64)
