"""The independent evaluator: another encoder, and the rules by another engine.

It scores with the heads of the fine-tuned MiniLM of the second tier, not with the inline encoder or the policy forest
that the critic decides by. Both learnt from the same labelled texts, so their errors are not wholly independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.governance.decision import COMPREHENSIVE, Evidence, Governor
from acgs.governance.features import probabilities
from acgs.learning.data.sentences import sentence_spans
from acgs.learning.revision.assessment import Assessment, Case, Finding
from acgs.learning.revision.critic import context_breaches

BREACH_FROM: Final = 0.5
"""Calibrated probability of a breach from which a sentence or a whole response counts as breaching."""

TextLogits = Callable[[list[str]], NDArray[np.float32]]
"""Logits of texts, shape (len(texts), heads)."""


class SecondTierEvaluator:
    """Judges the whole response and every sentence alone."""

    def __init__(self, governor: Governor, logits: TextLogits) -> None:
        """
        Args:
            governor: one whose rule engine is not the critic's; its guard is not asked.
            logits: `SecondTier.logits` of the same bundle.
        """
        self._governor = governor
        self._logits = logits
        self._heads = governor.bundle.manifest.heads
        self._platt = np.array(governor.bundle.manifest.platt[COMPREHENSIVE])
        self.identity = f"second-tier:{governor.bundle.version}/heads/{governor.judge.engine.name}"

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        """See `Judge.assess`."""
        spans = [sentence_spans(case.response) for case in cases]
        texts = [
            text
            for case, places in zip(cases, spans, strict=True)
            for text in (case.response, *(case.response[start:end] for start, end in places))
        ]
        if not texts:
            return []
        scores = probabilities(self._logits(texts), self._platt)
        result, first = [], 0
        for case, places in zip(cases, spans, strict=True):
            last = first + 1 + len(places)
            result.append(self._conclude(case, places, scores[first:last]))
            first = last
        return result

    def _conclude(self, case: Case, places: list[tuple[int, int]], scores: NDArray[np.float64]) -> Assessment:
        evidence = self._governor.gather(case.response, case.domain, case.context)
        findings = tuple(
            Finding(start, end, self._breached(row))
            for (start, end), row in zip(places, scores[1:], strict=True)
            if row[-1] >= BREACH_FROM
        )
        worst = float(scores[:, -1].max())
        named = [name for finding in findings for name in finding.principles]
        if scores[0, -1] >= BREACH_FROM:
            named += self._breached(scores[0])
        named += _ruled_out(evidence)
        return Assessment(
            compliant=worst < BREACH_FROM and not evidence.blocked,
            score=0.0 if evidence.blocked else 1.0 - worst,
            principles=tuple(dict.fromkeys(named)),
            rules=tuple(violation.rule for violation in evidence.ruling.violations),
            findings=findings,
            context_rules=context_breaches(self._governor.judge, case),
        )

    def _breached(self, row: NDArray[np.float64]) -> tuple[str, ...]:
        """Principles by their own heads; the likeliest one where none reaches the cut."""
        order = np.argsort(-row[:-1])
        found = tuple(self._heads[place] for place in order if row[place] >= BREACH_FROM)
        return found or (self._heads[order[0]],)


def _ruled_out(evidence: Evidence) -> list[str]:
    """Principles whose rules are breached, where rules or a domain's requirement settle the matter."""
    if not evidence.blocked:
        return []
    return [violation.principle for violation in evidence.ruling.violations if violation.severity != "minor"]
