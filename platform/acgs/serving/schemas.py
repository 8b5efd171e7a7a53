"""JSON schemas (draft 2020-12) of instances and predictions, checked themselves before anything is checked by them.

What a check costs is bounded by the lengths of schema and value. So a schema may not refer to itself, whatever it
unfolds to is counted, and patterns are those that a linear engine can match (no lookaround, no backreference).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from acgs.errors import InvalidInputError

MAX_DEPTH: Final = 32
MAX_UNFOLDED: Final = 10_000
"""Objects and arrays of a schema, each as often as something refers to it."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLACE_CHARACTERS: Final = 300
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
            InvalidInputError: it is no schema of this draft, refers to itself, to nothing or to something outside, or
                is nested too deeply or unfolds to too much.
        """
        if str(document.get("$schema", DIALECT)).rstrip("#") != DIALECT:
            raise InvalidInputError(f"{field} must be of the dialect {DIALECT}; drop '$schema'", field=field)
        _require_bounded(document, field)
        try:
            self._validator = Draft202012Validator(document, offline=True, pattern_options=RegexOptions())
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
        try:
            error = next(self._validator.iter_errors(value), None)
        except UnicodeEncodeError:
            raise InvalidInputError(f"{field}: a text in it is no Unicode text", field=field) from None
        if error is not None:
            place = ".".join([field, *(str(part) for part in error.instance_path)])[:_PLACE_CHARACTERS]
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


def _require_bounded(document: dict[str, Any], field: str) -> None:
    """Refuse what nests or unfolds without end. References point into the document, so that each can be followed.

    Raises:
        InvalidInputError: naming what is wrong.
    """
    sizes: dict[int, int | None] = {}
    """Parts that a node unfolds to, by its identity; None while it is being counted."""

    def size(node: Any, depth: int) -> int:
        if not isinstance(node, dict | list):
            return 0
        if depth == 0:
            raise InvalidInputError(f"{field} is nested more than {MAX_DEPTH} deep", field=field)
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise InvalidInputError(f"{field} refers to itself, so that nothing bounds a check", field=field)
            return known
        sizes[id(node)] = None
        parts = list(node.values() if isinstance(node, dict) else node)
        found = 1 + sum(size(part, depth - 1) for part in parts)
        if isinstance(node, dict):
            found += sum(size(target, depth - 1) for target in _targets(node, document, field))
        if found > MAX_UNFOLDED:
            raise InvalidInputError(f"{field} unfolds to more than {MAX_UNFOLDED} parts", field=field)
        sizes[id(node)] = found
        return found

    size(document, MAX_DEPTH)


def _targets(node: dict[str, Any], document: dict[str, Any], field: str) -> Iterator[Any]:
    """What a node refers to."""
    if isinstance(node.get("$dynamicRef"), str) or (isinstance(node.get("$id"), str) and node is not document):
        raise InvalidInputError(f"{field} has '$dynamicRef', or '$id' within: use '$ref' into the schema", field=field)
    target = node.get("$ref")
    if not isinstance(target, str):
        return
    if target != "#" and not target.startswith("#/"):
        raise InvalidInputError(f"{field} refers to {target[:200]!r}: only '#/...' is followed", field=field)
    found: Any = document
    for step in target.removeprefix("#").split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, ValueError, TypeError):
            raise InvalidInputError(f"{field} refers to {target[:200]!r}, which is not there", field=field) from None
    yield found
