from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError, Verdict
from acgs.statistics.multiplicity import all_must_pass, alpha_per_trigger, best_of, holm, power_per_guard

REPETITIONS = 2000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPETITIONS)


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_a_release_passes_only_if_every_guard_passes(verdicts: list[Verdict]) -> None:
    verdict = all_must_pass(verdicts)
    assert (verdict == Verdict.PASS) == all(each == Verdict.PASS for each in verdicts)
    assert (verdict == Verdict.FAIL) == (Verdict.FAIL in verdicts)


def test_a_release_without_guards_does_not_pass() -> None:
    with pytest.raises(InsufficientDataError, match="no guard"):
        all_must_pass([])


def test_all_guards_at_full_alpha_let_a_bad_release_through_with_at_most_alpha() -> None:
    """One guard sits on its margin, five others are far on the good side: the worst case of the union."""
    rng = np.random.default_rng(1)
    z = rng.normal([0, 5, 5, 5, 5, 5], 1, (REPETITIONS, 6))
    assert abs((z > stats.norm.ppf(0.95)).all(axis=1).mean() - 0.05) <= FOUR_ERRORS


def test_power_is_shared_out_so_that_a_good_release_passes() -> None:
    each = power_per_guard(0.8, 6)
    assert each == pytest.approx(1 - 0.2 / 6)
    rng = np.random.default_rng(2)
    shift = stats.norm.ppf(0.95) + stats.norm.ppf(each)
    z = rng.normal(shift, 1, (REPETITIONS, 6))
    assert (z > stats.norm.ppf(0.95)).all(axis=1).mean() >= 0.8 - FOUR_ERRORS
    with pytest.raises(InvalidInputError):
        power_per_guard(0.8, 0)


@given(st.dictionaries(st.text(max_size=5), st.floats(0.01, 100), min_size=1), st.floats(0.001, 0.5))
def test_alpha_is_shared_out_by_importance(importance: dict[str, float], alpha: float) -> None:
    shares = alpha_per_trigger(alpha, importance)
    assert sum(shares.values()) == pytest.approx(alpha)
    name = max(importance, key=lambda each: importance[each])
    assert shares[name] == max(shares.values())


@pytest.mark.parametrize("importance", [{}, {"a": 0.0}, {"a": 1.0, "b": -1.0}, {"a": float("nan")}])
def test_triggers_need_an_importance(importance: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        alpha_per_trigger(0.05, importance)


def test_holm_gives_the_published_example() -> None:
    """Holm's procedure on four p-values, worked by hand: 4, 3, 2 and 1 times, then made monotone."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_never_makes_a_p_value_smaller_nor_larger_than_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values)) + 1e-12).all()
    assert (adjusted[np.argsort(p_values, kind="stable")] == np.sort(adjusted)).all()


def test_holm_keeps_the_error_of_the_whole_family() -> None:
    p_values = np.random.default_rng(3).random((REPETITIONS, 9))
    assert np.mean([holm(row).min() <= 0.05 for row in p_values]) <= 0.05 + FOUR_ERRORS
    assert (p_values.min(axis=1) <= 0.05).mean() > 0.3


def test_the_best_of_several_useless_candidates_is_seldom_taken_for_good() -> None:
    """Candidates that share most of their noise, as settings of one index do; Holm would be needlessly strict."""
    rng = np.random.default_rng(4)
    found = np.empty((REPETITIONS, 2))
    for number in range(REPETITIONS):
        deltas = rng.normal(0, 1, (60, 1)) + rng.normal(0, 0.3, (60, 9))
        chosen = best_of(deltas, resamples=199, seed=number)
        p_values = stats.norm.sf(deltas.mean(axis=0) / deltas.std(axis=0, ddof=1) * np.sqrt(60))
        found[number] = chosen.adjusted[chosen.candidate], holm(p_values).min()
    rejected = (found <= 0.05).mean(axis=0)
    assert abs(rejected[0] - 0.05) <= FOUR_ERRORS + 0.005
    assert rejected[1] < rejected[0]


def test_a_good_candidate_is_found_among_useless_ones() -> None:
    deltas = np.random.default_rng(5).normal(0, 0.2, (300, 9))
    deltas[:, 6] += 0.08
    chosen = best_of(deltas)
    assert chosen.candidate == 6
    # No p-value is smaller than the number of resamples can show.
    assert chosen.adjusted[6] == pytest.approx(1 / 2001)
    assert (np.delete(chosen.adjusted, 6) > 0.05).all()


def test_a_candidate_that_changes_nothing_has_no_evidence() -> None:
    deltas = np.zeros((50, 2))
    deltas[:, 1] = np.random.default_rng(6).normal(-0.5, 1, 50)
    assert best_of(deltas).candidate == 0
    assert best_of(deltas).adjusted[0] > 0.3


def test_p_values_and_tables_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="outside"):
        holm([0.5, 1.1])
    with pytest.raises(InsufficientDataError):
        holm([])
    with pytest.raises(InsufficientDataError, match="20 queries"):
        best_of(np.ones((19, 3)))
    with pytest.raises(InvalidInputError, match="table"):
        best_of(np.ones(50))
    with pytest.raises(InvalidInputError, match="finite"):
        best_of(np.full((50, 2), np.nan))
