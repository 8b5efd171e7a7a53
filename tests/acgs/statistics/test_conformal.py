from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from acgs.errors import InvalidInputError
from acgs.statistics.conformal import (
    Band,
    check_coverage,
    conformal_band,
    conformal_cut,
    coverage_interval,
    mondrian_cuts,
)
from acgs.statistics.evidence import InsufficientDataError, Verdict

REPETITIONS = 4000


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
@pytest.mark.parametrize(("positives", "negatives"), [(39, 120), (200, 57)])
def test_each_class_keeps_its_true_label_as_often_as_promised(alpha: float, positives: int, negatives: int) -> None:
    """Coverage over repeated calibration sets, within four standard errors of the simulation."""
    rng = np.random.default_rng(20_240_101)
    labels = np.arange(positives + negatives) < positives
    kept = {True: 0, False: 0}
    for _ in range(REPETITIONS):
        scores = rng.normal(labels * 1.0, 1.0)
        band = conformal_band(scores, labels, alpha)
        kept[True] += rng.normal(1.0, 1.0) >= band.violate_from
        kept[False] += rng.normal(0.0, 1.0) <= band.comply_to
    error = np.sqrt(alpha * (1 - alpha) / REPETITIONS)
    for label, size in ((True, positives), (False, negatives)):
        coverage = kept[label] / REPETITIONS
        assert coverage >= 1 - alpha - 4 * error
        # Not by keeping everything: the promise is met with at most one scenario's weight to spare.
        assert coverage <= 1 - alpha + 1 / (size + 1) + 4 * error


@given(
    positives=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    negatives=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    alpha=st.floats(0.01, 0.5),
)
@settings(deadline=None)
def test_the_cuts_leave_at_most_alpha_of_each_class_out(
    positives: list[float], negatives: list[float], alpha: float
) -> None:
    scores = np.array(positives + negatives)
    labels = np.arange(len(scores)) < len(positives)
    band = conformal_band(scores, labels, alpha)
    assert (scores[labels] < band.violate_from).sum() <= alpha * (len(positives) + 1)
    assert (scores[~labels] > band.comply_to).sum() <= alpha * (len(negatives) + 1)


@pytest.mark.parametrize(("count", "decided"), [(18, False), (19, True)])
def test_a_class_with_too_few_scenarios_is_never_ruled_out(count: int, decided: bool) -> None:
    """With alpha 0.05 a cut needs 19 scenarios; one fewer and nothing may be excluded."""
    scores = np.linspace(0, 1, 2 * count)
    labels = np.arange(2 * count) >= count
    band = conformal_band(scores, labels, 0.05)
    assert bool(np.isfinite(band.violate_from)) is decided
    assert bool(np.isfinite(band.comply_to)) is decided
    if not decided:
        assert {band.decide(score) for score in (-1.0, 0.5, 2.0)} == {"uncertain"}


def test_separated_classes_are_decided_and_the_gap_is_not() -> None:
    scores = np.concatenate([np.linspace(0, 0.2, 100), np.linspace(0.8, 1, 100)])
    band = conformal_band(scores, np.arange(200) >= 100, 0.05)
    assert (band.decide(0.1), band.decide(0.5), band.decide(0.9)) == ("comply", "uncertain", "violate")


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.39, "comply"), (0.4, "uncertain"), (0.5, "uncertain"), (0.6, "uncertain"), (0.61, "violate")],
)
def test_where_both_labels_are_possible_nothing_is_decided(score: float, verdict: str) -> None:
    assert Band(violate_from=0.4, comply_to=0.6).decide(score) == verdict


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.1, float("nan")])
def test_alpha_lies_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        conformal_band(np.array([0.1, 0.9]), np.array([False, True]), alpha)


def test_the_cuts_are_those_of_crepes() -> None:
    """crepes 0.9.1: ConformalRegressor().fit(residuals=s[, bins=n % 2]).predict_int(0, confidence=1 - alpha)."""
    scores = np.abs(np.sin(np.arange(60) * 1.7))
    assert conformal_cut(scores, 0.1) == pytest.approx(0.9856003, abs=1e-7)
    assert conformal_cut(scores, 0.05) == pytest.approx(0.99813662, abs=1e-7)
    cuts = mondrian_cuts(scores, [("even", "odd")[n % 2] for n in range(60)], 0.1)
    assert cuts == {"even": pytest.approx(0.98058949, abs=1e-7), "odd": pytest.approx(0.99166481, abs=1e-7)}


@pytest.mark.parametrize(("n", "rank"), [(19, 19), (20, 20), (39, 38), (99, 95), (199, 190)])
def test_the_cut_is_the_published_order_statistic_without_rounding_errors(n: int, rank: int) -> None:
    assert conformal_cut(np.arange(1, n + 1), 0.05) == rank


def test_a_rank_that_is_whole_is_not_rounded_up() -> None:
    """125 * (1 - 0.176) is 103, which floating point makes 103.00000000000001."""
    assert conformal_cut(np.arange(1, 125), 0.176) == 103


def test_every_slice_is_covered_as_promised_though_their_scores_differ() -> None:
    rng = np.random.default_rng(21)
    slices = ["short"] * 60 + ["long"] * 150
    scale = np.array([1.0] * 60 + [5.0] * 150)
    covered = {"short": 0, "long": 0}
    for _ in range(2500):
        cuts = mondrian_cuts(rng.exponential(scale), slices, 0.1)
        covered["short"] += rng.exponential(1.0) <= (cuts["short"] or 0.0)
        covered["long"] += rng.exponential(5.0) <= (cuts["long"] or 0.0)
    error = np.sqrt(0.1 * 0.9 / 2500)
    for name, size in (("short", 60), ("long", 150)):
        assert 0.9 - 4 * error <= covered[name] / 2500 <= 0.9 + 1 / (size + 1) + 4 * error


def test_a_slice_with_too_few_scores_has_no_cut() -> None:
    with pytest.raises(InsufficientDataError, match="18 scores"):
        conformal_cut(np.arange(18), 0.05)
    assert mondrian_cuts(np.arange(37), ["small"] * 18 + ["enough"] * 19, 0.05) == {"small": None, "enough": 36.0}
    assert mondrian_cuts([], [], 0.05) == {}


@pytest.mark.parametrize(("n_cal", "n_test", "alpha"), [(300, 300, 0.05), (1000, 500, 0.1), (2000, 2000, 0.05)])
def test_the_acceptance_interval_is_that_of_the_beta_binomial_law(n_cal: int, n_test: int, alpha: float) -> None:
    rank = int(np.ceil((n_cal + 1) * (1 - alpha) - 1e-9))
    expected = betabinom.ppf([0.025, 0.975], n_test, rank, n_cal + 1 - rank) / n_test
    assert coverage_interval(n_test, n_cal, alpha) == pytest.approx(tuple(expected))


def test_a_kept_promise_is_accepted_as_often_as_the_confidence_says() -> None:
    """Scores are uniform without loss of generality: the law depends on ranks only."""
    rng = np.random.default_rng(5)
    n, repetitions = 400, 4000
    cuts = np.sort(rng.random((repetitions, n)), axis=1)[:, 380]  # rank ceil(401 * 0.95) = 381
    covered = rng.binomial(n, cuts)
    low, high = coverage_interval(n, n, 0.05)
    inside = ((covered / n >= low) & (covered / n <= high)).mean()
    # The count is whole, so a little more than the confidence is accepted.
    assert 0.95 - 4 * np.sqrt(0.05 * 0.95 / repetitions) <= inside <= 0.975


@pytest.mark.parametrize(
    ("covered", "n", "verdict"),
    [
        (1900, 2000, Verdict.PASS),
        (1840, 2000, Verdict.FAIL),
        (1960, 2000, Verdict.FAIL),
        (95, 100, Verdict.INSUFFICIENT),
        (80, 100, Verdict.FAIL),
    ],
)
def test_coverage_is_judged_by_its_law(covered: int, n: int, verdict: Verdict) -> None:
    check = check_coverage(covered, n, n, 0.05)
    assert (check.verdict, check.coverage) == (verdict, covered / n)
    assert check.low < 0.95 < check.high


def test_over_coverage_by_ties_may_be_allowed_but_under_coverage_never() -> None:
    assert check_coverage(1990, 2000, 2000, 0.05, over_coverage_fails=False).verdict == Verdict.PASS
    assert check_coverage(1840, 2000, 2000, 0.05, over_coverage_fails=False).verdict == Verdict.FAIL


def test_coverage_of_nothing_is_no_coverage() -> None:
    with pytest.raises(InsufficientDataError):
        check_coverage(0, 0, 100, 0.05)
    with pytest.raises(InsufficientDataError):
        check_coverage(10, 10, 10, 0.05)
    with pytest.raises(InvalidInputError, match="covered"):
        check_coverage(11, 10, 100, 0.05)
    with pytest.raises(InvalidInputError, match="same length"):
        mondrian_cuts([1.0], [], 0.05)
    with pytest.raises(InvalidInputError, match="finite"):
        conformal_cut([1.0, float("nan")], 0.5)
