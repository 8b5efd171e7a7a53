from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.release.evidence import Evidence
from acgs.release.guards.composition import AllOf, AnyOf
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard, GuardResult
from acgs.statistics.evidence import Verdict


@dataclass
class Fixed(Guard):
    """Says what it was told, and remembers the budget that it was given."""

    name: str
    verdict: Verdict
    given: list[ErrorBudget] = field(default_factory=list)

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        self.given.append(budget)
        return GuardResult(
            guard=self.name,
            verdict=self.verdict,
            reason="told so",
            unit="",
            n=1,
            minimum_n=1,
            method="fixed",
            confidence=budget.confidence,
            seed=evidence.seed,
            split_digest=evidence.split.digest,
        )


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_all_of_passes_with_every_part_and_any_of_with_one(
    evidence_with: Callable[..., Evidence], verdicts: list[Verdict]
) -> None:
    evidence = _bare(evidence_with)
    guards = [Fixed(str(number), verdict) for number, verdict in enumerate(verdicts)]
    every, one = AllOf("all", guards).check(evidence), AnyOf("any", guards).check(evidence)
    assert (every.verdict == Verdict.PASS) == all(verdict == Verdict.PASS for verdict in verdicts)
    assert (every.verdict == Verdict.FAIL) == (Verdict.FAIL in verdicts)
    assert (one.verdict == Verdict.PASS) == (Verdict.PASS in verdicts)
    assert (one.verdict == Verdict.FAIL) == all(verdict == Verdict.FAIL for verdict in verdicts)
    assert [part.verdict for part in every.parts] == verdicts


def test_any_of_shares_alpha_and_all_of_shares_the_chance_to_stop_what_is_good(
    evidence_with: Callable[..., Evidence],
) -> None:
    inner = [Fixed("a", Verdict.PASS), Fixed("b", Verdict.PASS)]
    AllOf("all", [AnyOf("any", inner), Fixed("c", Verdict.PASS)]).check(_bare(evidence_with))
    assert inner[0].given[0].confidence == pytest.approx(0.975)
    assert inner[0].given[0].power == pytest.approx(0.9)


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
def test_a_composition_needs_guards_with_names_of_their_own(kind: type[AllOf | AnyOf]) -> None:
    for guards in ([], [Fixed("a", Verdict.PASS), Fixed("a", Verdict.FAIL)]):
        with pytest.raises(InvalidInputError, match="at least one guard"):
            kind("whole", guards)


def _bare(evidence_with: Callable[..., Evidence]) -> Evidence:
    return evidence_with(quality=None, latency=None, forecasts=None, earlier_forecasts=None, overlap=None)
