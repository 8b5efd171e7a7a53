"""How much a query reads like a question in plain words, by the rules of the published query classifier."""

from __future__ import annotations

import re
from typing import Final

_ARTICLES: Final = re.compile(r"\b(the|a|an)\b", re.I)
_PREPOSITIONS: Final = re.compile(r"\b(in|on|at|by|for|with|from|to|of|that|which|between|into|within)\b", re.I)
_DESCRIPTIVE: Final = re.compile(
    r"\b(find|show|get|search|list|explain|describe|method|effect|analysis|using|use|check|create|calculate)\b", re.I
)
_QUESTION: Final = re.compile(r"(\?\s*$)|\b(what|how|why|when|where|who|which|can|does|is there|are there)\b", re.I)
_OPERATORS: Final = re.compile(r"(&&|\|\||==|!=|->|=>|::|[<>=]=?|\bAND\b|\bOR\b|\bNOT\b)")
_SYNTAX: Final = re.compile(r"\b(def|class|function|import|return|var|const|let|struct|impl|fn)\s+\w+|[;{}]")
_CALLS: Final = re.compile(r"\A(?>(?s:.*?)\w\()(?s:.*)\)")
"""A word, its opening bracket and a closing one. Atomic: nothing is tried twice, whatever the query's length."""
_BRACKETS: Final = re.compile(r"[\[\](){}]")
_MANY_WORDS: Final = 3

_RULES: Final = (
    (_ARTICLES, 0.15),
    (_PREPOSITIONS, 0.12),
    (_DESCRIPTIVE, 0.18),
    (_QUESTION, 0.15),
    (_OPERATORS, -0.15),
    (_SYNTAX, -0.20),
    (_CALLS, -0.12),
    (_BRACKETS, -0.08),
)


def nl_confidence(query: str) -> float:
    """0.5, raised by words of plain language and lowered by signs of code, within [0, 1]."""
    score = 0.5 + sum(weight for pattern, weight in _RULES if pattern.search(query))
    if len(query.split()) >= _MANY_WORDS:
        score += 0.08
    return min(1.0, max(0.0, score))
