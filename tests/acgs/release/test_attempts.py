"""Trying until it passes proves nothing: each attempt is judged more strictly than the one before."""

from __future__ import annotations

from math import prod

import pytest
from scipy.stats import binom

from acgs.release.attempts import ALPHA, confidence_of, resamples_for
from acgs.release.staging.finding import at_least
from acgs.release.staging.response_time import fewest_requests
from acgs.statistics.bounds import proportion_upper
from acgs.statistics.evidence import CONFIDENCE, Verdict


def chance_to_pass(n: int, limit: float, confidence: float) -> float:
    """The chance that a version whose accuracy is just the limit is found to reach it, by exact sums."""
    passing = [
        good
        for good in range(n + 1)
        if at_least(1 - proportion_upper(n - good, n, confidence=confidence), 1.0, limit) is Verdict.PASS
    ]
    return float(binom.pmf(passing, n, limit).sum())


@pytest.mark.parametrize("n", [100, 400])
def test_who_tries_as_often_as_is_allowed_passes_unduly_no_oftener_than_alpha(n: int) -> None:
    attempts = range(1, 11)
    by_the_rule = 1 - prod(1 - chance_to_pass(n, 0.85, confidence_of(attempt)) for attempt in attempts)
    without_it = 1 - prod(1 - chance_to_pass(n, 0.85, CONFIDENCE) for _ in attempts)
    assert by_the_rule <= ALPHA
    assert without_it > 4 * ALPHA


def test_the_budgets_of_all_attempts_sum_to_alpha_and_no_more() -> None:
    budgets = [1 - confidence_of(attempt) for attempt in range(1, 10_001)]
    assert budgets[:3] == pytest.approx([ALPHA / 2, ALPHA / 6, ALPHA / 12])
    assert 0.999 * ALPHA < sum(budgets) < ALPHA


@pytest.mark.parametrize("attempt", [1, 5, 10])
def test_a_strict_bound_has_resamples_and_requests_enough_to_show_anything(attempt: int) -> None:
    confidence = confidence_of(attempt)
    assert resamples_for(confidence) * (1 - confidence) >= 19.9
    n = fewest_requests(confidence)
    assert proportion_upper(0, n, confidence=confidence) <= 0.05 < proportion_upper(0, n - 1, confidence=confidence)
