from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.retrieval.natural_language import nl_confidence


@pytest.mark.parametrize(
    ("query", "score"),
    [
        ("loan", 0.5),
        ("bank loan interest", 0.58),
        ("what is the effect of interest on a loan?", 1.0),
        ("x = f(y)", 0.5 + 0.08 - 0.15 - 0.12 - 0.08),
        ("def run(self):", 0.5 - 0.20 - 0.12 - 0.08),
        ("a && b", 0.5 + 0.15 + 0.08 - 0.15),
        ("NOT (", 0.5 - 0.15 - 0.08),
        ("f(x", 0.5 - 0.08),
    ],
)
def test_rules_add_up(query: str, score: float) -> None:
    assert nl_confidence(query) == pytest.approx(score)


@given(st.text(max_size=300))
def test_it_is_a_share(query: str) -> None:
    assert 0 <= nl_confidence(query) <= 1


def test_a_call_of_any_length_is_seen_as_one() -> None:
    assert nl_confidence("f" * 30_000 + "(x") == pytest.approx(0.5 - 0.08)
    assert nl_confidence("f" * 30_000 + "(x)") == pytest.approx(0.5 - 0.12 - 0.08)
    assert nl_confidence("f(" * 15_000) == pytest.approx(0.5 - 0.08)
