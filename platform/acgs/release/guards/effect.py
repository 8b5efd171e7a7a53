"""The causal audit's verdict on the log from which the candidate was learned."""

from __future__ import annotations

from dataclasses import dataclass

from acgs.release.evidence import Evidence
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard, GuardResult
from acgs.statistics.evidence import Verdict


@dataclass(frozen=True)
class EffectAccepted(Guard):
    """PASS if the audit accepted the estimate, FAIL if a check of it failed.

    INSUFFICIENT without an audit, or where all that it lacks is data.
    """

    name: str

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Pass the audit's verdict on; it was reached under its own error budget."""
        audit = evidence.effect
        verdict, reason = Verdict.INSUFFICIENT, "no data: no audit was run"
        if audit:
            accepted = audit.verdict == "ACCEPT"
            lacks_data = bool(audit.reasons) and all(text.startswith(Verdict.INSUFFICIENT) for text in audit.reasons)
            verdict = Verdict.PASS if accepted else Verdict.INSUFFICIENT if lacks_data else Verdict.FAIL
            reason = "; ".join(audit.reasons) or ("the audit accepts" if accepted else "the audit gives no reason")
        return GuardResult(
            guard=self.name,
            verdict=verdict,
            reason=reason,
            unit="",
            n=audit.n if audit else 0,
            minimum_n=1,
            method=audit.method if audit else "none",
            confidence=budget.confidence,
            seed=evidence.seed,
            split_digest=evidence.split.digest,
        )
