"""The governed decision: domain check, rules, principle scores, trees, consensus, insights. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.governance.bundle import GuardBundle
from acgs.governance.consensus import Consensus, reach_consensus
from acgs.governance.context_hints import ContextHints
from acgs.governance.domains.finding import DomainCheck, DomainFinding
from acgs.governance.features import OVERALL, feature_row, probabilities
from acgs.governance.forest import Evaluation, Floats
from acgs.governance.insights import Insights, explain
from acgs.governance.text.passages import DISCOUNT, PrincipleNames, passages
from acgs.policy.engine import RuleInput
from acgs.policy.judge import RuleJudge, Ruling
from acgs.statistics.conformal import Band

_LONG_TEXT: Final = 24
"""Strings in the context from this length on, with a space, are prose and are scored like the query."""
_RULE_WEIGHT: Final = 0.7
"""Share of the rules in the validator's compliance score; the rest is the local scorer's."""

INLINE: Final = "inline"
COMPREHENSIVE: Final = "comprehensive"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about a request that does not depend on the tier that scores its text."""

    domain: str
    texts: list[str]
    ruling: Ruling
    finding: DomainFinding | None
    hints: list[str]
    """Context fields that were probably meant for a rule and are read by none."""

    @property
    def blocked(self) -> bool:
        """Whether rules or the domain check settle the matter."""
        return not self.ruling.allowed or bool(self.finding and self.finding.violations)


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one request, with its reasons."""

    final_decision: str
    evidence: Evidence
    consensus: Consensus
    insights: Insights
    principle_scores: dict[str, float]
    row: Floats
    evaluation: Evaluation
    tier: str

    @property
    def validator_score(self) -> float:
        """Compliance by the validator's contract: rules and local scorer, 0.7 to 0.3."""
        rules = 0.0 if self.evidence.blocked else 1.0
        return _RULE_WEIGHT * rules + (1 - _RULE_WEIGHT) * (1 - self.consensus.violation_probability)

    @property
    def matched_rules(self) -> list[str]:
        """Ids of every rule and domain requirement that was breached, in order."""
        rules = [violation.rule for violation in self.evidence.ruling.violations]
        finding = self.evidence.finding
        return rules + ([violation.rule for violation in finding.violations] if finding else [])


def context_texts(context: Mapping[str, Any]) -> list[str]:
    """Prose inside the context: an instruction planted in a document is text like any other."""
    found: list[str] = []
    stack: list[Any] = [context]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
            stack.extend(value.keys())
        elif isinstance(value, list):
            stack.extend(value)
            words = [item for item in value if isinstance(item, str)]
            if len(words) > 1:
                stack.append(" ".join(words))  # a text cut into a list
        elif isinstance(value, str) and len(value) >= _LONG_TEXT and " " in value:
            found.append(value)
    return sorted(found)


class Governor:
    """Decides requests under one constitution and one guard bundle."""

    def __init__(
        self,
        constitution: LockedConstitution,
        bundle: GuardBundle,
        judge: RuleJudge,
        checks: Mapping[str, DomainCheck],
    ) -> None:
        self.constitution = constitution
        self.bundle = bundle
        self.judge = judge
        self.checks = checks
        names = bundle.manifest.features
        columns = [name if name != "overall" else OVERALL for name in bundle.manifest.heads]
        self._head_columns = np.array([names.index(name) for name in columns], dtype=np.int64)
        self._principle_names = PrincipleNames(constitution.document.principle_ids)
        self._hints = ContextHints(clause.field for rule in constitution.document.rules for clause in rule.when)
        self._platt = {tier: np.array(values) for tier, values in bundle.manifest.platt.items()}

    def gather(self, query: str, domain: str, context: Mapping[str, Any]) -> Evidence:
        """Run the domain check and the rules.

        Raises:
            InvalidInputError: unknown domain, or a context field of the wrong type.
            UnavailableError: the rules could not be evaluated.
        """
        if domain not in self.constitution.document.domains:
            known = list(self.constitution.document.domains)
            raise InvalidInputError(f"Invalid domain type. Must be one of: {known}", field="domain")
        check = self.checks.get(domain)
        finding = check.check(query, context) if check else None
        facts = finding.facts if finding else {}
        ruling = self.judge.rule(RuleInput(("common", domain), context=context, facts=facts))
        return Evidence(domain, self._texts(query, context), ruling, finding, self._hints.hints(context))

    def _texts(self, query: str, context: Mapping[str, Any]) -> list[str]:
        """The texts to score; naming principles must not make any of them look better."""
        texts = [query, *context_texts(context)]
        return texts + [rest for text in texts if (rest := self._principle_names.without(text))]

    def inline_logits(self, evidence: Evidence) -> NDArray[np.float32]:
        """Worst logit of each head over the request's texts, by the inline encoder."""
        first, *rest = (self.bundle.encoder.logits(text) for text in evidence.texts)
        return np.maximum.reduce([first, *rest]) if rest else first

    def conclude(self, evidence: Evidence, logits: NDArray[np.float32], tier: str = INLINE) -> Decision:
        """Score, vote, decide and explain. A text that hides a violating passage does not comply; it is uncertain."""
        bundle = self.bundle
        probability = probabilities(logits, self._platt[tier])
        names = bundle.manifest.features
        row = feature_row(probability, self._head_columns, evidence.ruling.violations, names)
        evaluation = bundle.forest.evaluate(row)
        thresholds = bundle.thresholds[evidence.domain]
        consensus = reach_consensus(evaluation, bundle.forest.weights, bundle.calibration, thresholds)
        if tier == INLINE and consensus.verdict != "violate":
            wrapped = self._violating_passages(evidence.texts, thresholds.band)
            if wrapped:
                # The second tier, if it is asked, gets to see what raised the doubt.
                evidence = replace(evidence, texts=[*evidence.texts, *wrapped])
                consensus = replace(consensus, verdict="uncertain")
        principles = len(self.constitution.document.principles)
        insights = explain(bundle.forest, row, evaluation, thresholds.band, principles=principles)
        return Decision(
            final_decision="constitutional_violation" if evidence.blocked else consensus.verdict,
            evidence=evidence,
            consensus=consensus,
            insights=insights,
            principle_scores={name: float(row[i]) for i, name in enumerate(names)},
            row=row,
            evaluation=evaluation,
            tier=tier,
        )

    def _violating_passages(self, texts: list[str], band: Band) -> list[str]:
        """Passages that would violate if they stood alone, even at a discount."""
        return [
            passage
            for text in texts
            for passage in passages(text)
            if band.decide(self.text_score(self.bundle.encoder.logits(passage) - DISCOUNT)) == "violate"
        ]

    def decide(self, query: str, domain: str = "general", context: Mapping[str, Any] | None = None) -> Decision:
        """The whole inline decision. Raises what `gather` raises."""
        evidence = self.gather(query, domain, context or {})
        return self.conclude(evidence, self.inline_logits(evidence))

    def text_score(self, logits: NDArray[np.float32], tier: str = INLINE) -> float:
        """Forest score of a bare text, for ranking and evaluation."""
        row = feature_row(
            probabilities(logits, self._platt[tier]), self._head_columns, (), self.bundle.manifest.features
        )
        return self.bundle.forest.score(row)
