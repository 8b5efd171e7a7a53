from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acgs.release.evidence import Evidence, QualityPairs
from acgs.release.guards.guard import ErrorBudget
from acgs.release.guards.quality import FEW_CHANGED, EverySliceHolds, QualityHolds, quality_bounds
from acgs.statistics.bootstrap import paired_bca
from acgs.statistics.evidence import Verdict

Build = Callable[..., Evidence]


def _pairs(deltas: np.ndarray, **more: Any) -> dict[str, Any]:
    return {
        "queries": [f"q{number}" for number in range(len(deltas))],
        "baseline": np.full(len(deltas), 0.5),
        "candidate": 0.5 + deltas,
        **more,
    }


def _noise(n: int, mean: float, seed: int = 1) -> np.ndarray:
    drawn = np.clip(np.random.default_rng(seed).normal(0, 0.1, n), -0.4, 0.4)
    return np.asarray(drawn - drawn.mean() + mean)


def test_a_gain_passes_with_the_bound_of_the_bca_bootstrap(evidence_with: Build) -> None:
    deltas = _noise(200, 0.05)
    evidence = evidence_with(quality=_pairs(deltas))
    result = QualityHolds("quality").check(evidence)
    pairs = QualityPairs.model_validate(_pairs(deltas))
    assert result.verdict == Verdict.PASS
    assert result.bound == paired_bca(pairs.deltas, seed=evidence.seed).lower
    assert (result.n, result.minimum_n, result.seed) == (200, 50, evidence.seed)
    assert result.split_digest == evidence.split.digest


def test_what_does_not_show_is_a_failure_with_many_queries_and_insufficient_with_few(evidence_with: Build) -> None:
    verdicts = {
        n: QualityHolds("quality").check(evidence_with(quality=_pairs(_noise(n, 0.0)))).verdict for n in (60, 2000)
    }
    assert verdicts == {60: Verdict.INSUFFICIENT, 2000: Verdict.FAIL}


def test_a_loss_that_shows_fails_however_few_the_queries(evidence_with: Build) -> None:
    result = QualityHolds("quality").check(evidence_with(quality=_pairs(_noise(60, -0.08))))
    assert result.verdict == Verdict.FAIL
    assert "upper bound" in result.reason


def test_more_power_asks_for_more_queries(evidence_with: Build) -> None:
    evidence = evidence_with(quality=_pairs(_noise(130, 0.0)))
    assert QualityHolds("quality").check(evidence, ErrorBudget(power=0.6)).verdict == Verdict.FAIL
    assert QualityHolds("quality").check(evidence, ErrorBudget(power=0.99)).verdict == Verdict.INSUFFICIENT


@pytest.mark.parametrize("n", [1, 30, 49])
def test_fewer_queries_than_the_contract_needs_never_pass(evidence_with: Build, n: int) -> None:
    result = QualityHolds("quality").check(evidence_with(quality=_pairs(np.linspace(0.2, 0.3, n))))
    assert (result.verdict, result.value) == (Verdict.INSUFFICIENT, None)
    assert str(n) in result.reason


def test_queries_that_share_their_user_count_once(evidence_with: Build) -> None:
    deltas, users = np.repeat(_noise(60, 0.05), 10), [f"u{number // 10}" for number in range(600)]
    alone = QualityHolds("quality").check(evidence_with(quality=_pairs(deltas)))
    shared = QualityHolds("quality").check(evidence_with(quality=_pairs(deltas, clusters=users)))
    assert alone.bound is not None
    assert shared.bound is not None
    assert shared.bound < alone.bound - 0.005
    one = QualityHolds("quality").check(evidence_with(quality=_pairs(deltas, clusters=["u"] * 600)))
    assert (one.verdict, one.bound) == (Verdict.INSUFFICIENT, -1.0)


def test_a_candidate_that_answers_alike_is_bounded_by_the_number_of_queries(evidence_with: Build) -> None:
    zeros = {n: evidence_with(quality=_pairs(np.zeros(n))) for n in (200, 400)}
    slice_margin = QualityHolds("quality", margin=-0.01, expected=0.0)
    assert slice_margin.check(zeros[400]).verdict == Verdict.PASS
    assert slice_margin.check(zeros[200]).bound == pytest.approx(-(1 - 0.025 ** (1 / 200)))
    assert QualityHolds("quality").check(zeros[400]).verdict == Verdict.FAIL


def test_a_few_lucky_queries_pass_nothing(evidence_with: Build) -> None:
    """A bootstrap of one gain among many zeros has a lower bound of exactly 0."""
    deltas = np.zeros(400)
    deltas[:3] = 0.3
    result = QualityHolds("quality").check(evidence_with(quality=_pairs(deltas)))
    assert result.verdict != Verdict.PASS
    assert result.bound is not None
    assert result.bound < -0.01


def test_users_of_whom_none_sees_a_change_count_once_each(evidence_with: Build) -> None:
    users = [f"u{number // 10}" for number in range(400)]
    evidence = evidence_with(quality=_pairs(np.zeros(400), clusters=users))
    assert QualityHolds("quality").check(evidence).bound == pytest.approx(-(1 - 0.025 ** (1 / 40)))


def test_a_slice_that_loses_stops_a_candidate_that_gains_on_the_whole(evidence_with: Build) -> None:
    deltas = np.concatenate([_noise(300, 0.1), _noise(100, -0.05)])
    queries = _pairs(deltas)["queries"]
    evidence = evidence_with(quality=_pairs(deltas, slices={"long": queries[:300], "short": queries[300:]}))
    assert QualityHolds("quality").check(evidence).verdict == Verdict.PASS
    result = EverySliceHolds("slice").check(evidence)
    assert result.verdict == Verdict.FAIL
    assert {part.guard: part.verdict for part in result.parts} == {
        "slice: long": Verdict.PASS,
        "slice: short": Verdict.FAIL,
    }


@pytest.mark.parametrize("quality", [None, _pairs(np.zeros(0)), _pairs(_noise(100, 0.1))])
def test_a_slice_that_nobody_measured_is_insufficient(evidence_with: Build, quality: dict[str, Any] | None) -> None:
    evidence = evidence_with(quality=quality)
    for guard in (QualityHolds("quality", "hard-NL"), EverySliceHolds("slice")):
        result = guard.check(evidence)
        assert (result.verdict, result.n) == (Verdict.INSUFFICIENT, 0)
        assert "no data" in result.reason


def test_a_candidate_without_gain_passes_with_at_most_alpha(evidence_with: Build) -> None:
    rng, guard = np.random.default_rng(3), QualityHolds("quality")
    passed = 0
    for _ in range(300):
        deltas = np.where(rng.random(80) < 0.6, 0.0, np.clip(rng.normal(0, 0.2, 80), -0.5, 0.5))
        passed += guard.check(evidence_with(quality=_pairs(deltas))).verdict == Verdict.PASS
    assert passed / 300 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(
    ("n", "expected", "margin", "verdict"),
    [
        (100, 0.0, -0.02, Verdict.INSUFFICIENT),
        (400, 0.0, -0.02, Verdict.PASS),
        (60, 0.0231, 0.0, Verdict.INSUFFICIENT),
        (2000, 0.0231, 0.0, Verdict.FAIL),
    ],
)
def test_a_candidate_that_answers_alike_is_judged_by_what_so_many_queries_rule_out(
    evidence_with: Build, n: int, expected: float, margin: float, verdict: Verdict
) -> None:
    guard = QualityHolds("quality", margin=margin, expected=expected)
    assert guard.check(evidence_with(quality=_pairs(np.zeros(n)))).verdict == verdict


def test_a_small_change_of_every_row_does_not_hide_that_rare_losses_were_not_seen() -> None:
    everywhere = np.where(np.arange(50) % 2 == 0, 0.001, -0.001)
    _, bounds = quality_bounds(QualityPairs.model_validate(_pairs(everywhere)), None, 0.95, 0, material=0.02)
    _, nowhere = quality_bounds(QualityPairs.model_validate(_pairs(np.zeros(50))), None, 0.95, 0)
    assert bounds.lower < -0.05
    assert bounds.lower == pytest.approx(nowhere.lower, abs=0.002)


def test_few_changed_clusters_count_as_if_each_were_the_largest() -> None:
    """Of 300 users a few have twenty rows, and one in ten of these loses all."""
    rng = np.random.default_rng(0)
    passed = 0
    for number in range(100):
        sizes = np.where(rng.random(300) < 0.05, 20, 1)
        lost = (rng.random(300) < 0.1) & (sizes > 1)
        deltas = np.repeat(np.where(lost, -0.5, 0.0), sizes)
        users = [f"u{unit}" for unit in np.repeat(np.arange(300), sizes)]
        _, bounds = quality_bounds(QualityPairs.model_validate(_pairs(deltas, clusters=users)), None, 0.95, number)
        passed += bounds.lower > -0.5 * 0.05 * 0.1 * 20 / 1.95
    assert passed <= 5


def test_bounds_of_few_changed_queries_hold_and_do_not_count_each_as_lost_whole() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for number in range(300):
        drawn = rng.random(150)
        deltas = np.where(drawn < 0.03, 0.1, np.where(drawn < 0.033, -0.5, 0.0))
        _, bounds = quality_bounds(QualityPairs.model_validate(_pairs(deltas)), None, 0.95, number)
        assert bounds.method.startswith(FEW_CHANGED)
        missed += bounds.lower > 0.03 * 0.1 - 0.003 * 0.5
    assert missed / 300 <= 0.05
    _, small = quality_bounds(QualityPairs.model_validate(_pairs(np.repeat([0.05, 0.0], [19, 55]))), None, 0.95, 0)
    assert -0.1 < small.lower < 0.0
    users = [f"u{number // 2}" for number in range(74)]
    joined = _pairs(np.repeat([0.05, 0.0], [19, 55]), clusters=users)
    _, shared = quality_bounds(QualityPairs.model_validate(joined), None, 0.95, 0)
    assert shared.lower < small.lower
