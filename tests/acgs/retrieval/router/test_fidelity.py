from __future__ import annotations

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.retrieval.router.fidelity import decision_agreement, fidelity, no_regret
from acgs.statistics.evidence import InsufficientDataError


def test_a_faithful_student_agrees_wholly_and_a_foreign_one_hardly() -> None:
    rng = np.random.default_rng(1)
    teacher, foreign = rng.normal(0, 1, 500), rng.normal(0, 1, 500)
    same = fidelity(teacher, teacher, teacher)
    assert (same.r2, same.held_out_r2, same.decision_agreement) == (1.0, 1.0, None)
    assert same.rank_agreement == pytest.approx(1.0)
    other = fidelity(teacher, teacher, foreign)
    assert other.held_out_r2 is not None
    assert other.held_out_r2 < 0
    assert decision_agreement(teacher, foreign, (-0.5, 0.5)) < 0.5


def test_decisions_are_counted_on_the_side_of_every_threshold() -> None:
    teacher, student = np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.05, 0.1, 0.3, 0.3])
    assert decision_agreement(teacher, student, (0.25, 0.1)) == 0.75


def test_a_teacher_that_says_the_same_for_all_has_no_figures() -> None:
    flat = fidelity(np.full(50, 0.1), np.full(50, 0.1), np.linspace(0, 1, 50))
    assert (flat.r2, flat.held_out_r2, flat.rank_agreement) == (None, None, None)


def test_identical_answers_are_bounded_by_their_number() -> None:
    """With alpha / 2 for each bound, no difference among n rules out losses above 1 - 0.025 ** (1 / n)."""
    few, many = no_regret(np.zeros(500)), no_regret(np.zeros(1000))
    assert many.lower == pytest.approx(-(1 - 0.025 ** (1 / 1000)))
    assert (few.holds, many.holds) == (False, True)
    assert (many.n, many.differing) == (1000, 0)


def test_where_answers_differ_often_and_cancel_out_the_resampled_bound_holds() -> None:
    deltas = np.random.default_rng(2).permutation(np.tile([0.02, -0.02, 0.0, 0.0], 500))
    found = no_regret(deltas)
    assert (found.holds, found.method, found.differing) == (True, "bca", 1000)


def test_one_lucky_query_proves_nothing_about_those_that_were_not_seen() -> None:
    """A bootstrap of one gain among zeros has a lower bound of exactly 0."""
    deltas = np.zeros(100)
    deltas[0] = 0.5
    found = no_regret(deltas)
    assert (found.holds, found.differing) == (False, 1)
    assert found.lower < -0.03


def test_a_loss_is_not_called_none() -> None:
    deltas = np.random.default_rng(3).normal(-0.02, 0.05, 2000).clip(-1, 1)
    assert not no_regret(deltas).holds


def test_the_bound_lies_above_the_true_mean_with_at_most_alpha() -> None:
    rng, above = np.random.default_rng(4), 0
    for _ in range(300):
        deltas = np.where(rng.random(120) < 0.9, 0.0, rng.choice([-0.1, 0.1], 120))
        above += no_regret(deltas, margin=0.01).lower > 0
    assert above / 300 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


def test_a_margin_that_nothing_can_show_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="margin"):
        no_regret(np.zeros(10), margin=0.0005)
    with pytest.raises(InsufficientDataError):
        no_regret([])
    with pytest.raises(InvalidInputError, match="finite"):
        no_regret([float("nan")])
