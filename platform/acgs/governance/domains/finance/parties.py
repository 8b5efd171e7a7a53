"""Which names of a request are to be screened: those under party keys, and name-like runs of words in the text."""

from __future__ import annotations

import re

from acgs.governance.domains.context_walk import ContextScan
from acgs.governance.domains.finance.vocabulary import PARTY_KEYS

MAX_PARTIES = 16
"""Names screened in one request; more are reported, not screened."""

_RUN = re.compile(
    r"(?<![\w'\u2019])[^\W\d_a-z][\w'\u2019.-]{0,30}"
    r"(?: (?:(?:al|el|bin|ibn|de|del|van|von|der|da|of)[ -])?[^\W\d_a-z][\w'\u2019-]{0,30}){1,5}"
)
# First words that belong to the sentence rather than to a name.
_LEADS = frozenset(
    (
        "a", "an", "and", "are", "as", "at", "can", "could", "did", "do", "does", "for", "from", "has", "have", "how",
        "i", "if", "in", "is", "may", "must", "no", "on", "our", "pay", "please", "send", "should", "the", "then",
        "these", "this", "to", "transfer", "was", "we", "what", "when", "which", "who", "why", "will", "wire", "with",
        "would", "yes", "you", "approve", "customer", "client", "mr", "mrs", "ms", "dr", "mr.", "mrs.", "ms.", "dr.",
    )
)  # fmt: skip
# Runs that are never a party.
_INSTITUTIONS = frozenset(("united states", "new york", "know your customer", "bank secrecy act", "wire transfer"))


def parties(query: str, scan: ContextScan) -> list[tuple[str, str]]:
    """(where, name) of every name to screen, context first, each name once; where is `query` or a JSON pointer."""
    found: dict[str, str] = {}
    for value in scan.values:
        named = value.key in PARTY_KEYS or (value.key in {"name", "fullname"} and _under_party(value.pointer))
        if named and isinstance(value.value, str) and value.value.strip():
            found.setdefault(value.value.strip(), value.pointer)
    for run in _RUN.finditer(query):
        words = run[0].split()
        while words and words[0].lower() in _LEADS:
            words.pop(0)
        name = " ".join(words)
        if len(words) >= 2 and name.lower() not in _INSTITUTIONS:
            found.setdefault(name, "query")
    return [(where, name) for name, where in found.items()]


def _under_party(pointer: str) -> bool:
    parts = pointer.lower().replace("_", "").replace("-", "").split("/")
    return not PARTY_KEYS.isdisjoint(parts)
