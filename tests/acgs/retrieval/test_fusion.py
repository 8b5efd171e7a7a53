from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from acgs.retrieval.fusion import combine

Singles = NDArray[np.float32]
SCORES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, n, elements=st.floats(0, 50, width=32)),
        arrays(np.float32, n, elements=st.floats(-1, 1, width=32)),
    )
)
TAU = st.floats(0, 1)


@given(SCORES, st.floats(-1, 1, width=32), TAU)
def test_a_fused_score_is_a_finite_share(scores: tuple[Singles, Singles], floor: float, tau: float) -> None:
    fused = combine(*scores, floor, tau)
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert fused.min() >= 0
    assert fused.max() <= 1 + 1e-5


@given(SCORES, TAU)
def test_a_document_that_is_better_in_both_legs_is_not_ranked_below(
    scores: tuple[Singles, Singles], tau: float
) -> None:
    lexical, dense = scores
    fused = combine(lexical, dense, float(dense.min()), tau)
    better = (lexical[:, None] >= lexical) & (dense[:, None] >= dense)
    assert (fused[:, None] >= fused)[better].all()


@given(SCORES, st.floats(0.015625, 64, width=32), TAU)
def test_the_scale_of_the_lexical_leg_does_not_matter(
    scores: tuple[Singles, Singles], factor: float, tau: float
) -> None:
    lexical, dense = scores
    assume(not ((lexical > 0) & (lexical < 1e-30)).any())
    floor = float(dense.min())
    np.testing.assert_allclose(
        combine(lexical * np.float32(factor), dense, floor, tau), combine(lexical, dense, floor, tau), atol=1e-5
    )


def test_tau_is_the_share_of_the_dense_leg() -> None:
    lexical, dense = np.array([4, 2, 0], np.float32), np.array([0.2, 0.6, 0.4], np.float32)
    assert combine(lexical, dense, 0.2, 0.0).tolist() == [1, 0.5, 0]
    np.testing.assert_allclose(combine(lexical, dense, 0.2, 1.0), [0, 1, 0.5], atol=1e-6)
    np.testing.assert_allclose(combine(lexical, dense, 0.2, 0.25), [0.75, 0.625, 0.125], atol=1e-6)


def test_a_leg_without_spread_counts_for_nothing() -> None:
    nothing, same = np.zeros(2, np.float32), np.full(2, 0.3, np.float32)
    dense = np.array([0.1, 0.3], np.float32)
    assert combine(nothing, dense, 0.1, 0.5).tolist() == [0, 0.5]
    assert combine(np.array([1, 2], np.float32), same, 0.3, 0.5).tolist() == [0.25, 0.5]
    assert len(combine(nothing[:0], nothing[:0], 0.0, 0.5)) == 0


def test_what_lies_below_the_dense_legs_floor_gets_nothing_from_it() -> None:
    assert combine(np.zeros(2, np.float32), np.array([-0.5, 0.5], np.float32), 0.0, 1.0).tolist() == [0, 1]
