"""Guards over latency, agreement, calibration, coverage and effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acgs.release.evidence import Evidence
from acgs.release.guards.calibration import CalibrationStays, ForecastsCalibrated
from acgs.release.guards.coverage import EverySliceCovered
from acgs.release.guards.effect import EffectAccepted
from acgs.release.guards.guard import ErrorBudget, Guard, GuardResult
from acgs.release.guards.latency import QuantileHolds, TailHolds
from acgs.release.guards.overlap import AnnAgrees
from acgs.statistics.evidence import Verdict

Build = Callable[..., Evidence]
GUARDS = (
    (QuantileHolds("guard"), "latency"),
    (TailHolds("guard"), "latency"),
    (AnnAgrees("guard"), "overlap"),
    (ForecastsCalibrated("guard"), "forecasts"),
    (CalibrationStays("guard"), "earlier_forecasts"),
    (EverySliceCovered("guard"), "coverage"),
    (EffectAccepted("guard"), "effect"),
)
PASS, FAIL, INSUFFICIENT = Verdict.PASS, Verdict.FAIL, Verdict.INSUFFICIENT


@pytest.mark.parametrize(("guard", "part"), GUARDS)
def test_good_evidence_passes_and_missing_evidence_is_insufficient(
    evidence_with: Build, guard: Guard, part: str
) -> None:
    assert guard.check(evidence_with()).verdict == PASS
    missing = guard.check(evidence_with(**{part: () if part == "coverage" else None}))
    assert (missing.verdict, missing.n, missing.value) == (INSUFFICIENT, 0, None)
    assert "no data" in missing.reason


@pytest.mark.parametrize("guard", [guard for guard, part in GUARDS if part not in ("coverage", "effect")])
def test_more_confidence_moves_the_bound_towards_the_margin(evidence_with: Build, guard: Guard) -> None:
    evidence = evidence_with()
    bounds = [guard.check(evidence, ErrorBudget(confidence=level)).bound for level in (0.9, 0.95, 0.99)]
    known = [bound for bound in bounds if bound is not None]
    assert known == sorted(known, reverse=isinstance(guard, AnnAgrees))
    assert len(set(known)) == 3


def _latency(n: int, seed: int = 1, **changed: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    base = np.random.default_rng(seed).lognormal(4, 0.2, n)
    return {"baseline_ms": base, "candidate_ms": changed["candidate"](base) if changed else base * 1.0}


@pytest.mark.parametrize(("n", "slower", "verdict"), [(4000, 0.5, PASS), (4000, 1.5, FAIL), (399, 0.0, INSUFFICIENT)])
def test_the_p95_may_rise_by_a_millisecond(evidence_with: Build, n: int, slower: float, verdict: Verdict) -> None:
    latency = _latency(n, candidate=lambda base: base + slower)
    assert QuantileHolds("p95").check(evidence_with(latency=latency)).verdict == verdict


def test_a_change_of_the_p95_that_the_requests_do_not_resolve_is_insufficient(evidence_with: Build) -> None:
    """Times that have nothing to do with each other, of the same law."""
    latency = _latency(500, candidate=np.random.default_rng(2).permutation)
    result = QuantileHolds("p95").check(evidence_with(latency=latency))
    assert (result.verdict, result.unit) == (INSUFFICIENT, "ms")
    assert result.bound is not None


@pytest.mark.parametrize(("n", "stretch", "verdict"), [(4000, 1.0, PASS), (4000, 3.0, FAIL), (1999, 1.0, INSUFFICIENT)])
def test_the_tail_may_not_grow_out_of_proportion(
    evidence_with: Build, n: int, stretch: float, verdict: Verdict
) -> None:
    latency = _latency(n, candidate=lambda base: np.where(base > np.quantile(base, 0.98), base * stretch, base))
    result = TailHolds("tail").check(evidence_with(latency=latency))
    assert result.verdict == verdict


@pytest.mark.parametrize(("guard", "needed"), [(QuantileHolds("p95"), 100), (TailHolds("tail"), 500)])
def test_so_few_requests_that_hardly_any_lies_beyond_the_quantile_say_nothing_however_often_they_are_timed(
    evidence_with: Build, guard: QuantileHolds | TailHolds, needed: int
) -> None:
    def result(requests: int) -> GuardResult:
        latency = _latency(4000, candidate=lambda base: base + 0.5)
        return guard.check(evidence_with(latency={**latency, "repeats": [n % requests for n in range(4000)]}))

    few = result(needed - 1)
    assert (few.verdict, f"{needed - 1} different requests" in few.reason) == (INSUFFICIENT, True)
    enough = result(needed)
    assert (enough.verdict, f"of {needed} requests" in enough.method) == (PASS, True)


def test_a_tail_that_is_as_long_as_the_baselines_has_a_ratio_of_1(evidence_with: Build) -> None:
    result = TailHolds("tail").check(evidence_with(latency=_latency(2000, candidate=lambda base: base * 7)))
    assert result.value == pytest.approx(1)
    assert result.bound == pytest.approx(1)


@pytest.mark.parametrize(
    ("n", "missed", "verdict"),
    [(2000, 0, PASS), (200, 0, INSUFFICIENT), (149, 0, INSUFFICIENT), (2000, 600, FAIL), (2000, 220, INSUFFICIENT)],
)
def test_approximate_search_has_to_find_what_exact_search_finds(
    evidence_with: Build, n: int, missed: int, verdict: Verdict
) -> None:
    jaccard = np.random.default_rng(3).permutation(np.concatenate([np.full(missed, 9 / 11), np.ones(n - missed)]))
    assert AnnAgrees("ann").check(evidence_with(overlap={"jaccard": jaccard})).verdict == verdict


def _forecasts(n: int, bias: float, seed: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    stated = rng.uniform(0.2, 0.7, n)
    return {"event": "top-1 is relevant", "probabilities": stated, "labels": rng.random(n) < stated + bias}


@pytest.mark.parametrize(
    ("n", "bias", "verdict"),
    [(20_000, 0.0, PASS), (20_000, 0.1, FAIL), (400, 0.0, INSUFFICIENT), (149, 0.0, INSUFFICIENT)],
)
def test_a_calibration_error_below_the_noise_floor_is_never_a_pass(
    evidence_with: Build, n: int, bias: float, verdict: Verdict
) -> None:
    evidence = evidence_with(forecasts=_forecasts(n, bias), earlier_forecasts=None)
    assert ForecastsCalibrated("aece").check(evidence).verdict == verdict


@pytest.mark.parametrize(
    ("n", "bias", "verdict"), [(50_000, 0.0, PASS), (50_000, 0.05, FAIL), (2000, 0.0, INSUFFICIENT)]
)
def test_drift_is_told_from_noise(evidence_with: Build, n: int, bias: float, verdict: Verdict) -> None:
    evidence = evidence_with(forecasts=_forecasts(n, bias, 5), earlier_forecasts=_forecasts(n, 0.0, 6))
    assert CalibrationStays("drift").check(evidence).verdict == verdict


def _coverage(name: str, covered: int, n: int, **more: Any) -> dict[str, Any]:
    sizes = {"tested_on": n, "calibrated_on": n}
    return {"slice": name, "quantity": "p95", "alpha": 0.05, "covered": covered, **sizes, **more}


@pytest.mark.parametrize(
    ("covered", "n", "ties", "verdict"),
    [
        (3800, 4000, False, PASS),
        (3650, 4000, False, FAIL),
        (3950, 4000, False, FAIL),
        (3950, 4000, True, PASS),
        (95, 100, False, INSUFFICIENT),
        (0, 0, False, INSUFFICIENT),
        (5, 10, False, INSUFFICIENT),
    ],
)
def test_one_slice_whose_promise_is_broken_or_unknown_stops_all(
    evidence_with: Build, covered: int, n: int, ties: bool, verdict: Verdict
) -> None:
    evidence = evidence_with(coverage=[_coverage("a", 3800, 4000), _coverage("b", covered, n, ties=ties)])
    assert EverySliceCovered("coverage").check(evidence).verdict == verdict


def test_five_slices_that_keep_their_promise_pass_together_but_for_alpha(evidence_with: Build) -> None:
    rng, n, rounds = np.random.default_rng(7), 4000, 300
    failed = 0
    for _ in range(rounds):
        true = rng.beta(3801, 200, 5)
        coverage = [_coverage(f"s{i}", int(rng.binomial(n, share)), n) for i, share in enumerate(true)]
        evidence = evidence_with(
            coverage=coverage, quality=None, latency=None, forecasts=None, earlier_forecasts=None, overlap=None
        )
        failed += EverySliceCovered("coverage").check(evidence).verdict == FAIL
    assert failed / rounds <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / rounds)


def test_a_refused_effect_fails_with_the_audits_reasons(evidence_with: Build) -> None:
    audit = {"verdict": "REFUSED", "reasons": ["ESS/N 0.007", "k-hat 1.3"], "n": 15_992, "method": "AIPW"}
    result = EffectAccepted("effect").check(evidence_with(effect=audit))
    assert (result.verdict, result.reason) == (FAIL, "ESS/N 0.007; k-hat 1.3")
