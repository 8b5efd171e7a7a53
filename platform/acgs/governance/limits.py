"""What a request may be at most, and that it names a domain; checked before anything is decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from acgs.errors import InvalidInputError
from acgs.governance.text.folding import fold_unicode
from acgs.settings import Settings


def depth_of(value: Any, limit: int) -> int:
    """Nesting depth of JSON data, counted to at most `limit + 1`; iterative, so that depth cannot exhaust the stack."""
    depth, layer = 0, [value]
    while layer and depth <= limit:
        depth += 1
        layer = [
            child
            for item in layer
            if isinstance(item, Mapping | list)
            for child in (item.values() if isinstance(item, Mapping) else item)
        ]
    return depth


def check_limits(
    query: str, domain: str, context: Mapping[str, Any], *, limits: Settings, domains: Collection[str]
) -> None:
    """Refuse what is too long, blank, too deep, or of no known domain.

    Raises:
        InvalidInputError: the field is named.
    """
    if len(query) > limits.max_query_chars:
        raise InvalidInputError(f"query has more than {limits.max_query_chars} characters", field="query")
    if not query.strip() or not fold_unicode(query).strip():
        raise InvalidInputError("query must not be blank", field="query")
    if depth_of(context, limits.max_context_depth) > limits.max_context_depth:
        raise InvalidInputError(f"context is nested deeper than {limits.max_context_depth}", field="context")
    if domain not in domains:
        raise InvalidInputError(f"Invalid domain type. Must be one of: {list(domains)}", field="domain")
