"""Many tests at once: when all must pass, when any may trip, and when the best of several is chosen.

A release needs every guard to pass: the union of the null hypotheses is tested, each guard at the full alpha (Berger
1982), and it is the power that has to be shared out (Schultzberg et al. 2024, arXiv 2402.11609). A rollback follows any
one trigger: alpha is shared out among them. The best of several candidates is confirmed by `best_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError, Verdict, sample, share


def all_must_pass(verdicts: Iterable[Verdict]) -> Verdict:
    """Intersection-union: PASS if every guard passes, FAIL if any fails, else INSUFFICIENT.

    Raises:
        InsufficientDataError: there is no guard, which is no reason to pass.
    """
    seen = set(verdicts)
    if not seen:
        raise InsufficientDataError("no guard was evaluated, so nothing passes", field="verdicts")
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.INSUFFICIENT if Verdict.INSUFFICIENT in seen else Verdict.PASS


def power_per_guard(power: float, guards: int) -> float:
    """Power that each guard needs so that all pass together with probability `power`, whatever their dependence.

    Raises:
        InvalidInputError: `power` outside (0, 1) or no guards.
    """
    if guards < 1:
        raise InvalidInputError("there must be at least 1 guard", field="guards")
    return 1 - (1 - share(power, "power")) / guards


def alpha_per_trigger(alpha: float, importance: Mapping[str, float]) -> dict[str, float]:
    """Alpha of each trigger by its importance, so that any of them trips falsely with at most `alpha` (Bonferroni).

    Raises:
        InvalidInputError: `alpha` outside (0, 1), no triggers, or an importance that is not positive and finite.
    """
    share(alpha, "alpha")
    values = np.array(list(importance.values()), dtype=np.float64)
    if not len(values) or not (np.isfinite(values) & (values > 0)).all():
        raise InvalidInputError("every trigger needs an importance above 0", field="importance")
    return {name: alpha * weight / float(values.sum()) for name, weight in importance.items()}


def holm(p_values: ArrayLike) -> Floats:
    """Adjusted p-values (Holm 1979), shape (n,): reject those at most alpha, and errors stay below alpha in all.

    Raises:
        InvalidInputError: a value outside [0, 1].
        InsufficientDataError: no p-values.
    """
    values = sample(p_values, "p_values", at_least=1)
    if values.min() < 0 or values.max() > 1:
        raise InvalidInputError("a p-value lies outside [0, 1]", field="p_values")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


@dataclass(frozen=True, slots=True)
class Best:
    """The candidate with the largest t statistic, and the p-values of all, adjusted for the choice."""

    candidate: int
    adjusted: Floats


def best_of(deltas: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Best:
    """Choose among candidates by the maximum of their t statistics (Westfall and Young 1993, maxT, sign flips).

    Args:
        deltas: candidate minus baseline of each query, shape (queries, candidates). Under the null the deltas of a
            query are as likely to have the opposite signs, all together, which keeps the candidates' dependence.

    Returns:
        One-sided p-values for a mean above 0, shape (candidates,), never 0 (Phipson and Smyth 2010).

    Raises:
        InvalidInputError: not a table, or values that are not finite.
        InsufficientDataError: fewer than 20 queries, or no candidates.
    """
    table = np.asarray(deltas, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise InvalidInputError("deltas must be a table of finite numbers, queries by candidates", field="deltas")
    if len(table) < 20 or not table.shape[1]:
        raise InsufficientDataError("a choice needs at least 20 queries and 1 candidate", field="deltas")
    squares = (table**2).sum(axis=0)
    seen = _t(table.sum(axis=0), squares, len(table))
    signs = np.random.default_rng(seed).integers(0, 2, size=(resamples, len(table)), dtype=np.int8) * 2.0 - 1
    largest = _t(signs @ table, squares, len(table)).max(axis=1)
    # Sums in another order may differ in the last digit.
    reached = (largest[:, None] >= seen - 1e-9 * np.abs(seen)).sum(axis=0)
    return Best(int(seen.argmax()), (1 + reached) / (1 + resamples))


def _t(sums: Floats, squares: Floats, n: int) -> Floats:
    """t statistics of columns from their sums, whose squares no sign flip changes; 0 for a column of zeros."""
    variance = np.maximum(squares - sums**2 / n, squares * 1e-15) / (n - 1)
    return np.divide(sums, np.sqrt(variance * n), out=np.zeros_like(sums), where=variance > 0)
