"""Formal verification of a decision: derive it again by other code and say which parts agree.

The rules are evaluated by the second engine, the forest by the serial reference, and the attribution is checked for
additivity. A disagreement means that a part is broken, and the decision does not stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acgs.errors import AcgsError
from acgs.governance.decision import Decision, Governor
from acgs.governance.reference import forest_score
from acgs.policy.engine import RuleEngine, RuleInput

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome by check; `score` is the share that agreed."""

    checks: dict[str, bool]

    @property
    def verified(self) -> bool:
        """Whether everything agreed."""
        return all(self.checks.values())

    @property
    def score(self) -> float:
        """Share of checks that agreed."""
        return sum(self.checks.values()) / len(self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The verifier contract's form."""
        failed = [name for name, agreed in self.checks.items() if not agreed]
        return {
            "verified": self.verified,
            "verification_score": self.score,
            "checks": self.checks,
            "recommendations": [f"do not act on this decision: {name} disagrees" for name in failed],
        }


def verify(governor: Governor, decision: Decision, context: Mapping[str, Any], second: RuleEngine) -> Verification:
    """Check a decision; a check that cannot run counts as disagreement."""
    evidence, bundle = decision.evidence, governor.bundle
    facts = evidence.finding.facts if evidence.finding else {}
    try:
        again = second.evaluate(RuleInput(("common", evidence.domain), context=context, facts=facts))
        rules_agree = [v.rule for v in again] == [v.rule for v in evidence.ruling.violations]
    except AcgsError:
        rules_agree = False
    serial = forest_score(bundle.forest.trees, bundle.forest.weights, decision.row)
    attributed = bundle.forest.base_score + float(decision.evaluation.attributions.sum())
    return Verification(
        {
            "rules_by_second_engine": rules_agree,
            "forest_by_serial_reference": abs(serial - decision.evaluation.score) <= _TOLERANCE,
            "attribution_is_additive": abs(attributed - decision.evaluation.score) <= _TOLERANCE,
        }
    )
