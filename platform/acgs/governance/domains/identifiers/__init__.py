"""Finder of personal identifiers in text, usable on its own: `find_identifiers(text) -> list[IdentifierSpan]`."""

from acgs.governance.domains.identifiers.recognizers import MINIMUM_SCORE, find_identifiers
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind, SafeHarborClass

__all__ = ["MINIMUM_SCORE", "IdentifierSpan", "Kind", "SafeHarborClass", "find_identifiers"]
