"""A text judged sentence by sentence under the constitution.

A mean over many words hides a few: of 205 responses with one breaching sentence among three the guard passed 127 as a
whole. So a text complies only if it does as a whole and every one of its sentences does alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from acgs.governance.decision import Decision, Governor
from acgs.learning.data.sentences import sentence_spans

BREACH_FROM: Final = 0.5
"""Probability from which a principle counts as breached; the highest one does where none reaches it."""
_WORST: Final = ("comply", "uncertain", "violate")


@dataclass(frozen=True, slots=True)
class SentenceVerdict:
    """One sentence that does not comply; `start` and `end` are its place in the text."""

    start: int
    end: int
    verdict: str
    principles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextVerdict:
    """`comply`, `uncertain` or `violate`, with the reasons."""

    verdict: str
    score: float
    """Highest calibrated probability of a violation, over the whole and the sentences."""
    principles: tuple[str, ...]
    rules: tuple[str, ...]
    sentences: tuple[SentenceVerdict, ...]


def judge_text(
    governor: Governor,
    text: str,
    domain: str = "general",
    context: Mapping[str, Any] | None = None,
    *,
    certainty: float = 0.0,
) -> TextVerdict:
    """Judge a text.

    Args:
        certainty: a `comply` with a lower calibrated probability of being right than this counts as `uncertain`.

    Raises:
        InvalidInputError: unknown domain, or a context field of the wrong type.
        UnavailableError: the rules could not be evaluated.
    """
    known = governor.constitution.document.principle_ids
    whole = governor.decide(text, domain, context)
    spans = sentence_spans(text)
    parts = [governor.decide(text[start:end], domain) for start, end in spans] if len(spans) > 1 else [whole]
    flagged = tuple(
        SentenceVerdict(start, end, verdict_of(decision, certainty), breached_principles(decision, known))
        for (start, end), decision in zip(spans, parts, strict=True)
        if verdict_of(decision, certainty) != "comply"
    )
    verdict = max((verdict_of(whole, certainty), *(part.verdict for part in flagged)), key=_WORST.index)
    named = [name for part in flagged for name in part.principles]
    if verdict_of(whole, certainty) != "comply":
        named += breached_principles(whole, known)
    return TextVerdict(
        verdict=verdict,
        score=max(decision.consensus.violation_probability for decision in (whole, *parts)),
        principles=tuple(dict.fromkeys(named)),
        rules=tuple(dict.fromkeys(rule for decision in (whole, *parts) for rule in decision.matched_rules)),
        sentences=flagged,
    )


def verdict_of(decision: Decision, certainty: float = 0.0) -> str:
    """A breach of a rule or a domain's requirement is a violation like any other; a weak `comply` is uncertain."""
    if decision.evidence.blocked:
        return "violate"
    verdict = decision.final_decision
    weak = 1.0 - decision.consensus.violation_probability < certainty
    return "uncertain" if verdict == "comply" and weak else verdict


def breached_principles(decision: Decision, known: list[str]) -> tuple[str, ...]:
    """The principles that a decision against a text rests on, the likeliest first."""
    scores = sorted(((decision.principle_scores[name], name) for name in known), reverse=True)
    return tuple(name for score, name in scores if score >= BREACH_FROM) or (scores[0][1],)
