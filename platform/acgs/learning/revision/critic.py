"""The default critic: the governor, sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from acgs.governance.decision import Governor
from acgs.learning.data.sentences import sentence_spans
from acgs.learning.data.verdicts import judge_text
from acgs.learning.revision.assessment import Assessment, Case, Finding
from acgs.policy.engine import RuleInput
from acgs.policy.judge import RuleJudge

CERTAINTY: Final = 0.7
"""Of 1,013 generated responses (seed 21) 1.0 % still held a sentence labelled as breaching after revision without this
margin and 0.5 % with it; the price is that 25 % instead of 11 % of the compliant ones were revised as well."""


def context_breaches(judge: RuleJudge, case: Case) -> tuple[str, ...]:
    """Rules that the context breaches whatever is said, those that only advise left out."""
    ruling = judge.rule(RuleInput(("common", case.domain), context=case.context))
    return () if ruling.allowed else tuple(violation.rule for violation in ruling.violations)


class GovernorCritic:
    """Inline guard and rules. What is uncertain, or complies with little certainty, does not count as compliant."""

    def __init__(self, governor: Governor, *, certainty: float = CERTAINTY) -> None:
        """`certainty`: least calibrated probability with which a sentence must comply, from 0 to 1."""
        self._governor = governor
        self._certainty = certainty
        self.identity = f"governor:{governor.bundle.version}/inline/{governor.judge.engine.name}/{certainty}"

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        """See `Judge.assess`."""
        return [self._assess(case) for case in cases]

    def _assess(self, case: Case) -> Assessment:
        verdict = judge_text(self._governor, case.response, case.domain, case.context, certainty=self._certainty)
        findings = tuple(Finding(part.start, part.end, part.principles) for part in verdict.sentences)
        if verdict.verdict != "comply" and not findings:
            findings = self._most_to_blame(case, verdict.principles)
        return Assessment(
            compliant=verdict.verdict == "comply",
            score=1.0 - verdict.score,
            principles=verdict.principles,
            rules=verdict.rules,
            findings=findings,
            context_rules=context_breaches(self._governor.judge, case),
        )

    def _most_to_blame(self, case: Case, principles: tuple[str, ...]) -> tuple[Finding, ...]:
        """Where only the whole breaches: the sentence without which it looks best."""
        spans = sentence_spans(case.response)

        def without(span: tuple[int, int]) -> float:
            rest = (case.response[: span[0]] + case.response[span[1] :]).strip()
            return self._governor.decide(rest, case.domain, case.context).consensus.violation_probability

        start, end = min(spans, key=without)
        return (Finding(start, end, principles),)
