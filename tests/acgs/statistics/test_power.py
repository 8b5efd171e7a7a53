from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.statistics.bootstrap import paired_t
from acgs.statistics.evidence import InsufficientDataError
from acgs.statistics.power import detectable_effect, pairs_needed


def test_a_half_standard_deviation_needs_25_pairs() -> None:
    """(1.6449 + 0.8416)^2 / 0.5^2 = 24.7."""
    assert pairs_needed(0.5, 1.0) == 25


@given(st.floats(0.01, 1.0), st.floats(0.05, 2.0), st.floats(0.55, 0.99))
def test_the_pairs_needed_detect_the_effect_and_one_fewer_do_not(effect: float, deviation: float, power: float) -> None:
    needed = pairs_needed(effect, deviation, power=power)
    assert detectable_effect(needed, deviation, power=power) <= effect * (1 + 1e-9)
    if needed > 2:
        assert detectable_effect(needed - 1, deviation, power=power) > effect * (1 - 1e-9)


def test_a_guard_with_the_pairs_it_needs_passes_as_often_as_planned() -> None:
    rng = np.random.default_rng(1)
    needed = pairs_needed(0.03, 0.14)
    passed = [paired_t(rng.normal(0.03, 0.14, needed)).lower > 0 for _ in range(2000)]
    assert np.mean(passed) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 2000) + 0.005)


def test_no_effect_no_spread_or_no_pairs_are_refused() -> None:
    for effect, deviation in ((0.0, 1.0), (-0.1, 1.0), (0.1, 0.0), (float("nan"), 1.0), (0.1, float("inf"))):
        with pytest.raises(InvalidInputError, match="above 0"):
            pairs_needed(effect, deviation)
    with pytest.raises(InsufficientDataError):
        detectable_effect(1, 0.1)
