"""The part of an answer that depends on the request alone, and so may be cached: verdict, reasons, advice."""

from __future__ import annotations

from typing import Any

import numpy as np

from acgs.governance.decision import Decision, Governor
from acgs.governance.diagnostics import tree_name
from acgs.governance.insights import Flip
from acgs.governance.verification import Verification

_PLACES = 6
_LIKELY = 0.5


def answer_core(
    governor: Governor, decision: Decision, verification: Verification | None, notes: list[str]
) -> dict[str, Any]:
    """The response without ids, times and receipt."""
    final = decision.final_decision
    if verification is not None and not verification.verified:
        final = "formal_verification_failed"
    consensus = decision.consensus
    framework_score = 1.0 - consensus.violation_probability
    validator_score = decision.validator_score
    scores = [framework_score, validator_score] + ([verification.score] if verification else [])
    return {
        "domain": decision.evidence.domain,
        "final_decision": final,
        "overall_compliance_score": round(float(np.mean(scores)), 4),
        "confidence": round(consensus.confidence, _PLACES),
        "enhanced_governance": _forest_part(governor, decision, framework_score),
        "constitutional_validation": _validation_part(decision, validator_score),
        "formal_verification": verification.as_dict() if verification else None,
        "recommendations": _recommendations(governor, decision) + notes,
        "constitutional_hash": governor.constitution.label,
        "constitution_digest": governor.constitution.digest,
        "bundle_version": governor.bundle.version,
        "tier": decision.tier,
        "reasons": _reasons(governor, decision),
        "domain_callbacks": _callbacks(decision),
    }


def _forest_part(governor: Governor, decision: Decision, framework_score: float) -> dict[str, Any]:
    consensus, insights = decision.consensus, decision.insights
    voted = np.flatnonzero((decision.evaluation.tree_values >= _LIKELY) & (governor.bundle.forest.weights > 0))
    return {
        "consensus_result": consensus.verdict,
        "confidence": round(consensus.confidence, _PLACES),
        "compliance_score": round(framework_score, _PLACES),
        "violations_detected": [tree_name(int(index)) for index in voted],
        "principle_importance": {name: round(value, _PLACES) for name, value in insights.importance.items()},
        "violation_probability": round(consensus.violation_probability, _PLACES),
        "agreement": round(consensus.agreement, _PLACES),
        "agreement_lower_bound": round(consensus.agreement_lower_bound, _PLACES),
        "helpful_principles": insights.helpful,
        "harmful_principles": insights.harmful,
        "smallest_flip": _flip(insights.flip),
        "flagged_trees": governor.bundle.manifest.flagged_trees,
    }


def _flip(flip: Flip | None) -> dict[str, Any] | None:
    if flip is None:
        return None
    return {
        "principle": flip.principle,
        "from": round(flip.at, _PLACES),
        "to": round(flip.to, _PLACES),
        "consensus_result": flip.verdict,
    }


def _validation_part(decision: Decision, score: float) -> dict[str, Any]:
    ruling = decision.evidence.ruling
    return {
        "compliance_score": round(score, _PLACES),
        "overall_compliant": not decision.evidence.blocked,
        "next_steps": [violation.message for violation in ruling.violations],
        "engine": ruling.engine,
        "fallback": ruling.fallback,
    }


def _reasons(governor: Governor, decision: Decision) -> list[dict[str, Any]]:
    """Breached rules with their clauses, unmet domain requirements, then principles that the text likely breaches."""
    reasons: list[dict[str, Any]] = [
        {
            "kind": "rule",
            "id": violation.rule,
            "principle": violation.principle,
            "severity": violation.severity,
            "message": violation.message,
            "clauses": [clause.as_dict() for clause in violation.clauses],
        }
        for violation in decision.evidence.ruling.violations
    ]
    finding = decision.evidence.finding
    if finding:
        reasons += [
            {
                "kind": "domain",
                "id": violation.rule,
                "message": violation.reason,
                "clauses": [{"field": violation.field}],
            }
            for violation in finding.violations
        ]
    if decision.consensus.verdict != "comply":
        reasons += [
            {
                "kind": "principle",
                "id": principle.id,
                "principle": principle.id,
                "severity": principle.severity.value,
                "message": principle.text,
                "clauses": [{"field": "query", "op": "ge", "value": _LIKELY}],
            }
            for principle in governor.constitution.document.principles
            if decision.principle_scores[principle.id] >= _LIKELY
        ]
    return reasons


def _recommendations(governor: Governor, decision: Decision) -> list[str]:
    advice = [violation.message for violation in decision.evidence.ruling.violations]
    finding = decision.evidence.finding
    if finding:
        listed = finding.result.get("recommendations")
        advice += [str(item) for item in listed] if isinstance(listed, list) else []
    if decision.consensus.verdict != "comply":
        advice += [
            principle.revision_request
            for principle in governor.constitution.document.principles
            if decision.principle_scores[principle.id] >= _LIKELY
        ]
    if decision.final_decision == "uncertain":
        advice.append("Ask a person, or repeat the request in mode 'comprehensive'.")
    return list(dict.fromkeys([*advice, *decision.evidence.hints]))


def _callbacks(decision: Decision) -> dict[str, Any]:
    finding = decision.evidence.finding
    return {finding.callback: finding.result} if finding else {}
