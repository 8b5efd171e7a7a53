from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.statistics.betting import Alternative, Betting, ChangeWatch, betting_bounds
from acgs.statistics.evidence import InsufficientDataError

STREAMS = 2000
ENOUGH = np.log(1 / 0.05)
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / STREAMS)


def _deltas(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Mostly exact zeros, in [-1, 1], mean 0, standard deviation 0.137."""
    return np.where(rng.random(shape) < 0.7, 0.0, np.clip(rng.normal(0, 0.25, shape), -1, 1))


@pytest.mark.parametrize(
    ("n", "amplitude", "expected"),
    [
        # confseq 0.0.11: betting_cs(x, alpha=0.1, breaks=20000), the last entry of each side, a grid of 1 / 20,000.
        (50, 0.3, (0.4439, 0.6044)),
        (300, 0.07, (0.50855, 0.5307)),
        (1000, 0.07, (0.5153, 0.52475)),
    ],
)
def test_the_betting_bounds_are_those_of_confseq(n: int, amplitude: float, expected: tuple[float, float]) -> None:
    values = 0.52 + amplitude * np.sin(np.arange(n) * 1.7)
    assert betting_bounds(values, 0, 1, alpha=0.05) == pytest.approx(expected, abs=1.1 / 20_000)


@pytest.mark.parametrize("alternative", ["above", "below"])
def test_a_true_mean_is_rejected_at_any_look_with_at_most_alpha(alternative: Alternative) -> None:
    streams = _deltas(np.random.default_rng(1), STREAMS, 1000)
    wealth = Betting(0.0, -1, 1, alternative).update(streams)
    assert (wealth.max(axis=1) >= ENOUGH).mean() <= 0.05 + FOUR_ERRORS


def test_an_extreme_law_does_not_break_the_betting_bound() -> None:
    """1 with probability 0.02, else 0: the running mean is 0 for long, where a normal approximation fails."""
    streams = (np.random.default_rng(2).random((STREAMS, 500)) < 0.02).astype(float)
    alternatives: tuple[Alternative, ...] = ("above", "below")
    for alternative in alternatives:
        wealth = Betting(0.02, 0, 1, alternative).update(streams)
        assert (wealth.max(axis=1) >= ENOUGH).mean() <= 0.05 + FOUR_ERRORS


def test_a_false_mean_is_found_out() -> None:
    streams = _deltas(np.random.default_rng(3), 500, 1000)
    assert (Betting(-0.03, -1, 1, "above").update(streams)[:, -1] >= ENOUGH).mean() > 0.95
    assert (Betting(0.03, -1, 1, "below").update(streams)[:, -1] >= ENOUGH).mean() > 0.95
    assert (Betting(0.03, -1, 1, "above").update(streams)[:, -1] >= ENOUGH).mean() == 0.0


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 100))
@settings(deadline=None)
def test_a_stream_in_portions_gives_the_same_evidence_as_in_one(portions: list[int], seed: int) -> None:
    values = _deltas(np.random.default_rng(seed), sum(portions))
    whole, parts = Betting(0.05, -1, 1, "below"), Betting(0.05, -1, 1, "below")
    path = whole.update(values)
    pieces = [parts.update(piece) for piece in np.split(values, np.cumsum(portions)[:-1])]
    assert np.concatenate(pieces) == pytest.approx(path, abs=1e-9)
    assert float(parts.log_wealth) == pytest.approx(float(whole.log_wealth), abs=1e-9)
    assert (parts.count, bool(parts.rejects)) == (len(values), bool(whole.log_wealth >= ENOUGH))


@given(st.integers(0, 100), st.integers(0, 60), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
@settings(deadline=None)
def test_the_bet_on_a_value_knows_nothing_of_it(seed: int, before: int, value: float, other: float) -> None:
    """The same bet b explains both outcomes: each multiplies the wealth by 1 + b (value - mean)."""
    past = _deltas(np.random.default_rng(seed), before)
    bets = []
    for last in (value, other):
        path = Betting(0.95, -1, 1, "below").update(np.append(past, last))
        bets.append(np.expm1(path[-1] - (path[-2] if before else 0.0)) / (0.95 - last))
    assert bets[0] == pytest.approx(bets[1])


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 10), st.floats(-5, 5))
@settings(deadline=None, max_examples=40)
def test_the_betting_bounds_hold_the_mean_mirror_and_move_with_the_range(
    seed: int, n: int, scale: float, shift: float
) -> None:
    values = _deltas(np.random.default_rng(seed), n)
    low, high = betting_bounds(values, -1, 1)
    assert -1 <= low < high <= 1
    assert low <= values.mean() <= high
    assert betting_bounds(-values, -1, 1) == pytest.approx((-high, -low), abs=1e-9)
    moved = betting_bounds(values * scale + shift, -scale + shift - 1e-9, scale + shift + 1e-9)
    assert moved == pytest.approx((low * scale + shift, high * scale + shift), abs=1e-5 * scale)


def test_a_value_out_of_range_is_refused_and_leaves_the_evidence_as_it_was() -> None:
    bet = Betting(0.0, -1, 1, "above")
    bet.update(np.full(30, 0.9))
    before = (float(bet.log_wealth), bet.count)
    for bad in (1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="outside"):
            bet.update(np.array([0.9, bad]))
    assert (float(bet.log_wealth), bet.count) == before
    with pytest.raises(InvalidInputError, match="inside"):
        Betting(1.0, -1, 1, "above")
    with pytest.raises(InsufficientDataError):
        betting_bounds([], -1, 1)


@pytest.mark.parametrize("alternative", ["above", "below"])
def test_a_watch_alarms_falsely_with_at_most_alpha_over_all_its_looks(alternative: Alternative) -> None:
    """Values -0.1, and 1.9 once in twenty: mean 0, and far from normal."""
    rng, watch = np.random.default_rng(7), ChangeWatch(0.0, -1, 2, alternative, shift=0.05, looks=200)
    alarmed = np.zeros(STREAMS, dtype=bool)
    for _ in range(200):
        watch.update(np.where(rng.random((STREAMS, 10)) < 0.05, 1.9, -0.1))
        alarmed |= watch.alarm
    assert alarmed.mean() <= 0.05 + FOUR_ERRORS


def test_a_loss_after_a_long_good_time_is_found_by_a_watch_long_before_a_single_bet_finds_it() -> None:
    """100 pairs a minute; after 300 minutes a loss of a fifth of a standard deviation."""
    rng, shift = np.random.default_rng(8), 0.2 * 0.137
    watch, bet = ChangeWatch(0.0, -1, 1, "below", shift=shift, looks=1440), Betting(0.0, -1, 1, "below")
    found = np.full((2, 100), 1000)
    for minute in range(1, 381):
        pairs = np.clip(_deltas(rng, 100, 100) - (shift if minute > 300 else 0.0), -1, 1)
        watch.update(pairs)
        bet.update(pairs)
        for row, seen in zip(found, (watch.alarm, bet.rejects), strict=True):
            row[seen & (row == 1000)] = minute - 300
    assert np.median(found[0]) <= 10
    assert np.median(found[1]) > 2 * np.median(found[0])


def test_a_watch_that_is_spent_asks_for_a_new_one() -> None:
    watch = ChangeWatch(0.0, -1, 1, "below", shift=0.1, looks=2)
    watch.update(np.zeros(5))
    with pytest.raises(InvalidInputError, match="outside"):
        watch.update(np.full(5, np.nan))
    watch.update(np.zeros(0))
    assert not watch.alarm
    with pytest.raises(InvalidInputError, match="spent"):
        watch.update(np.zeros(5))


@pytest.mark.parametrize(("shift", "looks"), [(0.0, 10), (-0.1, 10), (2.0, 10), (0.1, 0), (float("nan"), 10)])
def test_a_watch_needs_a_shift_and_a_look(shift: float, looks: int) -> None:
    with pytest.raises(InvalidInputError, match="shift above 0"):
        ChangeWatch(0.0, -1, 1, "below", shift=shift, looks=looks)
