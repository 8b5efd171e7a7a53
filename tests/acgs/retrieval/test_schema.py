from __future__ import annotations

import pytest
from pydantic import ValidationError

from acgs.retrieval.schema import SearchRequest


@pytest.mark.parametrize(
    "change",
    [{"query": ""}, {"topk": 0}, {"topk": 1001}, {"budget_ms": -1}, {"budget_ms": float("inf")}, {"unknown": 1}],
)
def test_a_request_out_of_range_is_refused(change: dict[str, object]) -> None:
    whole = {"query": "loan", "constitutional_hash": "cdd01ef066bc6cf2"}
    assert SearchRequest.model_validate(whole).topk == 10
    with pytest.raises(ValidationError):
        SearchRequest.model_validate({**whole, **change})
