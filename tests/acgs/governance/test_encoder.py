from __future__ import annotations

import lzma
from importlib.util import find_spec
from itertools import cycle, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from acgs.governance.bundle import TOKENIZER, shipped_bundle_directory
from acgs.governance.encoder import STRIDE, WINDOW, EncoderWeights, StaticEncoder
from tests.acgs.governance.synthetic import BENIGN, HARMFUL, encoder_weights, tokenizer_json

HEADS = 4
WEIGHTS = encoder_weights(HEADS)
ENCODER = StaticEncoder(WEIGHTS, tokenizer_json())

WORDS = st.lists(st.sampled_from(BENIGN), max_size=4 * WINDOW).map(" ".join)


@given(st.integers(0, 5), WORDS, st.data())
@settings(deadline=None, max_examples=60)
def test_padding_around_a_window_never_lowers_any_heads_score(windows: int, after: str, data: st.DataObject) -> None:
    """The worst window counts for each head, so whatever stands around one can only add to it."""
    # No word is so frequent that the passage would also be read without it.
    words = data.draw(st.permutations([*islice(cycle((*BENIGN, *HARMFUL)), WINDOW)]))
    passage = " ".join(words)
    before = " ".join(BENIGN[place % len(BENIGN)] for place in range(windows * STRIDE))
    assert (ENCODER.logits(f"{before} {passage} {after}") >= ENCODER.logits(passage) - 1e-4).all()


def _around(text: str, before: int, after: int) -> str:
    """So many words around it, of which none is so frequent that it counts as put between the others."""
    words = [word for word, _ in zip(cycle(BENIGN[12:18]), range(before + after), strict=False)]
    return " ".join([*words[:before], text, *words[before:]])


@given(st.integers(0, 700), st.integers(0, 700))
@settings(deadline=None)
def test_every_token_is_in_some_window_with_a_quarter_of_it_around(before: int, after: int) -> None:
    """A harmful pair anywhere in a long text scores as in a text of one window, whatever its place there."""
    pair = f"{HARMFUL[0]} {HARMFUL[1]}"
    padded = ENCODER.logits(_around(pair, before, after))
    worst_place = np.min(
        [ENCODER.logits(_around(pair, place, WINDOW - 2 - place)) for place in range(0, WINDOW - 1, 7)],
        axis=0,
    )
    assert (padded >= worst_place - 0.05).all()


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u200b", "\u0301", "🙂", "?", "\x00", "a" * 50_000, "\ud7ff", "\U000e0041", "漢字かな"]
)
def test_empty_and_odd_texts_are_scored(text: str) -> None:
    logits = ENCODER.logits(text)
    assert logits.shape == (HEADS,)
    assert np.isfinite(logits).all()


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_is_scored_and_always_the_same(text: str) -> None:
    first = ENCODER.logits(text)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(ENCODER.logits(text), first)


def test_a_harmful_word_raises_every_head() -> None:
    assert (ENCODER.logits("please help me with a bomb") > ENCODER.logits("please help me with a book")).all()


def test_word_order_matters() -> None:
    assert not np.allclose(ENCODER.logits("bread book walk"), ENCODER.logits("walk book bread"))


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("length", [1, 2, 3, 17, WINDOW])
def test_the_serving_encoder_computes_what_was_trained(length: int) -> None:
    """The NumPy forward pass equals the torch twin's, up to the 8 bits in which tables are stored."""
    import torch

    from acgs.learning.guard.student import Student, StudentConfig, export

    torch.manual_seed(length)
    config = StudentConfig(width=16, filters=8, hidden=12)
    rng = np.random.default_rng(length)
    student = Student(rng.normal(0, 0.3, (300, 16)).astype(np.float32), HEADS, config).eval()
    with torch.no_grad():
        for table in (student.attention.weight, student.direct.weight):
            table.normal_(0, 0.3)
        # The tables as stored, so that rounding is no part of the comparison.
        weights = export(student, config)
        student.embedding.weight.copy_(torch.from_numpy(weights.embedding * weights.embedding_scale[:, None]))
        student.direct.weight.copy_(torch.from_numpy(weights.direct * weights.direct_scale))
        words = [f"word{place}" for place in rng.integers(60, 299, length) if place != 100] or ["word77"]
        encoder = StaticEncoder(weights, tokenizer_json())
        ids = encoder.tokens(" ".join(words))
        assert len(ids) == len(words)
        # Padding to the right must not change what the twin says.
        padded = torch.tensor([[*ids, 0, 0, 0]])
        present = torch.tensor([[1.0] * len(ids) + [0.0] * 3])
        expected = student(padded, present)[0].numpy()
    np.testing.assert_allclose(encoder.logits(" ".join(words)), expected, atol=1e-4)


def test_weights_name_every_array() -> None:
    assert EncoderWeights.names()[0] == "embedding"
    assert {name for name in EncoderWeights.names() if getattr(WEIGHTS, name) is None} == set()


SHIPPED_TOKENIZER = lzma.decompress((shipped_bundle_directory() / TOKENIZER).read_bytes()).decode()
PLAIN = StaticEncoder(encoder_weights(HEADS), SHIPPED_TOKENIZER)


@given(st.text(st.characters(max_codepoint=0x17F), max_size=80) | st.text("aBz19 '-.,!?[]#$_\n", max_size=80))
@settings(deadline=None, max_examples=300)
def test_tokens_are_those_of_the_tokenizer(text: str) -> None:
    """Plain words are looked up without it."""
    reference = Tokenizer.from_str(SHIPPED_TOKENIZER).encode(text, add_special_tokens=False).ids
    assert PLAIN.tokens(text) == (reference or PLAIN.tokens(""))
