"""JSON schemas (draft 2020-12) of instances and predictions, checked themselves before anything is checked by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, ValidationError

from acgs.errors import InvalidInputError

MAX_DEPTH: Final = 32
_REFERENCES: Final = ("$ref", "$dynamicRef")
_SAID: Final = frozenset({
    "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "maxItems", "maxLength", "maxProperties", "maximum",
    "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "type",
})  # fmt: skip
"""Keywords whose value is the schema's own. That of others may repeat what was sent."""


class Schema:
    """One schema, compiled once. Nothing outside the document is ever fetched."""

    def __init__(self, document: dict[str, Any], *, field: str) -> None:
        """`field` names the schema in errors.

        Raises:
            InvalidInputError: it is no schema, refers to something outside itself or to nothing, or is nested too
                deeply.
        """
        for node in _nodes(document, field, MAX_DEPTH):
            for keyword in _REFERENCES:
                target = node.get(keyword)
                if isinstance(target, str) and not target.startswith("#"):
                    raise InvalidInputError(f"{field} refers to {target!r}: only '#...' is followed", field=field)
        try:
            self._validator = Draft202012Validator(document, offline=True)
        except ValidationError as error:
            raise InvalidInputError(f"{field} is no JSON schema: {error.message[:200]}", field=field) from None
        self.document = document

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of an object's properties, in the order in which they are written."""
        return tuple(self.document.get("properties", {}))

    def check(self, value: Any, *, field: str) -> None:
        """Check one value.

        Raises:
            InvalidInputError: naming what is at fault below `field`; the value is not repeated.
        """
        error = next(self._validator.iter_errors(value), None)
        if error is not None:
            place = ".".join([field, *(str(part) for part in error.instance_path)])
            raise InvalidInputError(f"{place}: {_reason(error)}", field=place)


def _reason(error: ValidationError) -> str:
    """What the schema asks for, in words that do not hold what was sent."""
    keyword, wanted = error.kind.name, error.kind.value
    if keyword == "required":
        return f"{wanted} is missing"
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        return "has a field that the schema does not know"
    if keyword not in _SAID:
        return f"does not satisfy {keyword}"
    shown = ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    return f"does not satisfy {keyword}: {shown[:200]}"


def _nodes(node: Any, field: str, depth: int) -> Iterator[dict[str, Any]]:
    if depth == 0:
        raise InvalidInputError(f"{field} is nested more than {MAX_DEPTH} deep", field=field)
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value, field, depth - 1)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value, field, depth - 1)
