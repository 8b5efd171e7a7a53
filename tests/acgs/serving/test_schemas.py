"""What a schema admits, what it refuses, and what the refusal says."""

from __future__ import annotations

import itertools
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.serving.schemas import Schema
from tests.acgs.serving.models import RECORD


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        ({"age": 1}, "instances.0", "dose is missing"),
        ({"age": 1, "dose": "hunter2"}, "instances.0.dose", "does not satisfy type: number"),
        ({"age": -1, "dose": 1}, "instances.0.age", "does not satisfy minimum: 0"),
        ({"age": 1, "dose": 1, "hunter2": 1}, "instances.0", "does not know"),
    ],
)
def test_an_error_says_where_and_what_is_asked_for_but_not_what_was_sent(value: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        Schema(RECORD, field="input").check(value, field="instances.0")
    assert caught.value.field == field
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"not": {"type": "string"}}, "hunter2"),
        ({"contains": {"const": 1}}, ["hunter2"]),
        ({"propertyNames": {"maxLength": 2}}, {"hunter2": 1}),
        ({"uniqueItems": True}, ["hunter2", "hunter2"]),
        ({"oneOf": [{"type": "number"}, {"type": "array"}]}, "hunter2"),
        ({"prefixItems": [{}], "items": False}, [1, "hunter2"]),
        ({"pattern": "^(a+)+$"}, "a" * 10_000 + "hunter2"),
    ],
)
def test_no_keyword_repeats_what_was_sent(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidInputError, match="does not satisfy") as caught:
        Schema(schema, field="input").check(value, field="instances.0")
    assert "hunter2" not in caught.value.message


def test_references_within_a_schema_are_followed_and_those_to_nothing_refused() -> None:
    inner = Schema({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}, field="input")
    inner.check(1, field="x")
    with pytest.raises(InvalidInputError, match="does not satisfy type"):
        inner.check("1", field="x")
    escaped = Schema({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"prefixItems": [{"$ref": "#/$defs/n"}]},
                                                             "n": {"const": 2}}}, field="input")  # fmt: skip
    escaped.check([2], field="x")
    with pytest.raises(InvalidInputError, match="does not satisfy const"):
        escaped.check([1], field="x")


def branching(levels: int) -> dict[str, Any]:
    """Each level refers to the next one eight times."""
    names = [f"n{level}" for level in range(levels)]
    eight = {name: {"anyOf": [{"$ref": f"#/$defs/{after}"}] * 8} for name, after in itertools.pairwise(names)}
    return {"$ref": "#/$defs/n0", "$defs": {**eight, names[-1]: {"type": "number"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}}]}}}, "refers to itself"),
        ({"$dynamicRef": "#a", "$dynamicAnchor": "a"}, "dynamicRef"),
        ({"properties": {"a": {"$id": "other", "$ref": "#/x"}}, "x": {}}, "within"),
        ({"$ref": "#/nowhere"}, "not there"),
        ({"$ref": "#/items/7", "items": {}}, "not there"),
        ({"$ref": "#name", "$anchor": "name"}, "only '#/...'"),
        ({"$ref": "http://127.0.0.1:9/x"}, "only '#/...'"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"pattern": "^(?=a)"}, "no JSON schema"),
        ({"pattern": "("}, "no JSON schema"),
        (branching(20), "deep"),
        (branching(6), "unfolds"),
    ],
)  # fmt: skip
def test_a_schema_whose_check_nothing_bounds_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)) as refused:
        Schema(schema, field="input")
    assert refused.value.field == "input"
    Schema(branching(4), field="input").check(1, field="x")


def test_a_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Unicode"):
        Schema({"type": "string"}, field="input").check("\ud800", field="x")


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "\u00e9"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["null", "boolean", "object", "array", "number", "integer", "string"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries({}, optional={
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
        "minimum": NUMBERS, "exclusiveMaximum": NUMBERS, "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": st.integers(0, 2), "maxItems": st.integers(0, 2), "uniqueItems": st.booleans(),
        "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES, "pattern": st.sampled_from(["a", "^ab?$"]),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
    }),
    lambda inner: st.fixed_dictionaries({}, optional={
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2), "items": inner, "not": inner,
        "additionalProperties": inner | st.booleans(), "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2), "oneOf": st.lists(inner, min_size=1, max_size=2),
        "contains": inner,
    }),
    max_leaves=5,
)  # fmt: skip


@given(SCHEMAS, VALUES)
def test_a_schema_admits_what_the_reference_implementation_admits(schema: dict[str, Any], value: Any) -> None:
    try:
        Schema(schema, field="input").check(value, field="instances.0")
        admitted = True
    except InvalidInputError:
        admitted = False
    assert admitted == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100):
        nested = {"items": nested}
    with pytest.raises(InvalidInputError, match="deep"):
        Schema(nested, field="input")
