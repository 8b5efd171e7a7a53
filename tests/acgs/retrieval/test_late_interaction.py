from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from acgs.retrieval.late_interaction import (
    DIMENSIONS,
    DOCUMENT_TOKENS,
    LEADS,
    MATCHES,
    QUERY_TOKENS,
    TokenStates,
    fit_projection,
    piece_rarity,
    quantise,
)

Singles = NDArray[np.float32]
LENGTHS = (5, 0, 1, 12, 3, 16, 17, 50, 120)
VOCABULARY = 20


def _units(count: int, width: int, seed: int) -> Singles:
    states = np.random.default_rng(seed).standard_normal((count, width))
    return (states / np.linalg.norm(states, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def states() -> Singles:
    return _units(sum(LENGTHS), 48, 0)


@pytest.fixture(scope="module")
def pieces() -> NDArray[np.int32]:
    return np.random.default_rng(1).integers(0, VOCABULARY, sum(LENGTHS)).astype(np.int32)


@pytest.fixture(scope="module")
def tokens(states: Singles, pieces: NDArray[np.int32]) -> TokenStates:
    starts = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
    projection = fit_projection(states)
    values, scales = quantise(states @ projection)
    return TokenStates(projection, values, scales, starts, piece_rarity(pieces, starts, VOCABULARY))


def test_matches_are_those_of_floats_within_what_int8_rounds(tokens: TokenStates, states: Singles) -> None:
    asked, piece = _units(6, 48, 2), np.arange(6, dtype=np.int32)
    candidates = np.arange(len(LENGTHS), dtype=np.int32)
    found = tokens.match(tokens.query(asked, piece), candidates)
    assert found.shape == (len(LENGTHS), len(MATCHES))
    for number in candidates:
        held = states[tokens.starts[number] : tokens.starts[number + 1]][:DOCUMENT_TOKENS]
        if not len(held):
            assert not found[number].any()
            continue
        # Two roundings of at most half a level each, over 48 coordinates.
        whole, *begun, back = found[number]
        assert whole == pytest.approx((held @ asked.T).max(axis=0).mean(), abs=0.02)
        for lead, value in zip(LEADS, begun, strict=True):
            assert value == pytest.approx((held[:lead] @ asked.T).max(axis=0).mean(), abs=0.02)
        assert back == pytest.approx((held @ asked.T).max(axis=1).mean(), abs=0.02)


def test_a_documents_own_tokens_match_it_best(tokens: TokenStates, states: Singles, pieces: NDArray[np.int32]) -> None:
    own = slice(int(tokens.starts[3]), int(tokens.starts[4]))
    found = tokens.match(tokens.query(states[own], pieces[own]), np.arange(len(LENGTHS), dtype=np.int32))
    for column in (0, -1):
        assert found[:, column].argmax() == 3
        assert found[3, column] == pytest.approx(1.0, abs=0.02)


def test_a_match_does_not_depend_on_the_other_candidates(tokens: TokenStates) -> None:
    asked = tokens.query(_units(4, 48, 3), np.arange(4, dtype=np.int32))
    order = (4, 0, 8, 1, 3, 5, 6, 7)
    together = tokens.match(asked, np.array(order, np.int32))
    for row, number in enumerate(order):
        assert tokens.match(asked, np.array([number], np.int32))[0].tolist() == together[row].tolist()


def test_a_query_or_a_document_without_tokens_matches_nothing(tokens: TokenStates) -> None:
    everything = np.arange(len(LENGTHS), dtype=np.int32)
    nothing = tokens.query(np.zeros((0, 48), np.float32), np.zeros(0, np.int32))
    assert not tokens.match(nothing, everything).any()
    asked = tokens.query(_units(4, 48, 3), np.arange(4, dtype=np.int32))
    assert tokens.match(asked, everything)[1].tolist() == [0] * len(MATCHES)
    assert tokens.match(asked, everything[:0]).shape == (0, len(MATCHES))


def test_of_a_long_query_the_rarest_tokens_are_matched(tokens: TokenStates) -> None:
    """The 32 rarest of a long query match as they do alone."""
    count = QUERY_TOKENS + 10
    piece = (np.arange(count) % VOCABULARY).astype(np.int32)
    asked = _units(count, 48, 4)
    rarest = np.sort(np.argsort(-tokens.rarity[piece], kind="stable")[:QUERY_TOKENS])
    everything = np.arange(len(LENGTHS), dtype=np.int32)
    whole = tokens.match(tokens.query(asked, piece), everything)
    alone = tokens.match(tokens.query(asked[rarest], piece[rarest]), everything)
    assert whole.tolist() == alone.tolist()


@settings(max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.just(8)), elements=st.floats(-100, 100, width=32)))
@example(np.full((1, 8), 1e-20, np.float32))
def test_a_quantised_state_is_its_direction_within_half_a_level(states: Singles) -> None:
    values, scales = quantise(states)
    assert values.dtype == np.int8
    assert np.isfinite(scales).all()
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    units = np.divide(states, lengths, out=np.zeros_like(states), where=lengths > 1e-12)
    assert (np.abs(values * scales[:, None] - units) <= scales[:, None] * 0.501).all()


def test_the_projection_keeps_what_varies_most() -> None:
    rng = np.random.default_rng(0)
    states = (rng.standard_normal((500, 160)) * np.linspace(3, 0.01, 160)).astype(np.float32)
    projection = fit_projection(states)
    assert projection.shape == (160, DIMENSIONS)
    np.testing.assert_allclose(projection.T @ projection, np.eye(DIMENSIONS), atol=1e-5)
    kept = (states @ projection).var(axis=0)
    assert kept.sum() > 0.99 * states.var(axis=0).sum()
    assert (np.diff(kept) <= kept[:-1] * 0.05).all(), "largest first"


def test_a_piece_that_every_document_holds_is_the_least_rare() -> None:
    pieces, starts = np.array([0, 1, 0, 0, 2], np.int32), np.array([0, 2, 3, 5], np.int64)
    rarity = piece_rarity(pieces, starts, 4)
    assert rarity[0] == pytest.approx(np.log1p(0.5 / 3.5))
    assert rarity[1] == rarity[2] == pytest.approx(np.log1p(2.5 / 1.5))
    assert rarity[3] > rarity[2]
