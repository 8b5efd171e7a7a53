from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.context_hints import ContextHints
from acgs.governance.decision import Governor

HINTS = ContextHints(["context.transaction_amount", "context.report_filed", "context.patient.consent", "facts.phi"])


@pytest.mark.parametrize(
    "context",
    [
        {"tranaction_amount": 5},
        {"transactionAmount": 5},
        {"Transaction-Amount": 5},
        {"customer": {"transaction_amount": 5}},
    ],
)
def test_a_field_that_was_meant_to_be_another_is_named_with_it(context: dict[str, object]) -> None:
    (hint,) = HINTS.hints(context)
    assert "'context.transaction_amount'" in hint


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"transaction_amount": 5, "report_filed": None},
        {"patient": {"consent": True}},
        {"ticket": "A-1", "amounts": [1, 2], "notes": {"author": "me"}},
    ],
)
def test_other_fields_are_nobody_s_business(context: dict[str, object]) -> None:
    assert HINTS.hints(context) == []


@given(st.recursive(st.none() | st.text(max_size=9), lambda inner: st.dictionaries(st.text(max_size=9), inner)))
def test_any_context_can_be_looked_at(value: object) -> None:
    assert isinstance(HINTS.hints({"value": value}), list)


def test_a_misspelt_field_is_told_in_the_answer(shipped_governor: Governor) -> None:
    evidence = shipped_governor.gather("Book this cash deposit.", "finance", {"transaction_amont": 12500, "cash": True})
    assert any("context.transaction_amount" in hint for hint in evidence.hints)
