from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.domains.context_walk import MAX_DEPTH, MAX_NODES, scan_context, string_list

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def resolve(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[2:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4))
def test_every_pointer_leads_back_to_its_value(context: dict[str, Any]) -> None:
    for found in scan_context(context).values:
        assert resolve(context, found.pointer) is found.value or resolve(context, found.pointer) == found.value


def test_a_context_too_deep_is_reported_and_not_followed() -> None:
    context: dict[str, Any] = {"ssn": "x"}
    for _ in range(5000):
        context = {"a": context}
    scan = scan_context(context)
    assert scan.values == []
    assert len(scan.problems) == 1
    assert str(MAX_DEPTH) in scan.problems[0]


def test_a_context_too_wide_and_values_that_are_no_json_are_reported() -> None:
    assert "not read" in scan_context({"items": list(range(MAX_NODES * 2))}).problems[0]
    assert scan_context({"x": object(), "y": {1, 2}}).problems == [
        "/context/x: object is no JSON value; not read",
        "/context/y: set is no JSON value; not read",
    ]
    assert scan_context(["not", "an", "object"]).problems  # type: ignore[arg-type]


def test_keys_compare_without_case_and_separators_and_empty_values_do_not_count() -> None:
    scan = scan_context({"Patient-Name": "x", "empty": ""})
    assert scan.keys == {"patientname"}
    assert string_list({"a": ["x", 1]}, "a") is None
