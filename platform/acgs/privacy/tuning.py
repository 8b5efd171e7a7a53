"""What tuning costs in privacy: every trial on private data is a run of its own, and all of them compose.

The trial that is kept is chosen on public data, so that choosing is post-processing of what composition already
covers. Sharper bounds exist for a random number of trials of which only the best is told (Papernot and Steinke 2022,
arXiv:2110.03620); they do not hold here, where the trials' number is fixed and each is told as it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from acgs.privacy.accountants import History, Segment, epsilon, merge
from acgs.privacy.ledger import BudgetExceededError
from acgs.privacy.plan import CRITICAL_SHARE, PrivacyPlan


@dataclass(frozen=True, slots=True)
class SweepCost:
    """Epsilon of one account, by the plans' accountant: before the sweep, and with every trial run to its end."""

    account: str
    before: float
    after: float
    cap: float

    @property
    def fits(self) -> bool:
        """Whether all trials end within 95 % of the cap, where a run is stopped."""
        return self.after <= CRITICAL_SHARE * self.cap


def sweep_costs(plans: Sequence[PrivacyPlan], priors: Mapping[str, Iterable[Segment]]) -> list[SweepCost]:
    """What a sweep costs each account.

    Args:
        plans: one for each trial; they share target epsilon, delta and accountant.
        priors: what each account has spent and promised already.
    """
    terms = plans[0]
    trials: History = merge(segment for plan in plans for segment in plan.history())

    def spent(history: Iterable[Segment]) -> float:
        return epsilon(history, terms.delta, terms.accountant)

    return [
        SweepCost(name, spent(prior), spent((*prior, *trials)), terms.target_epsilon)
        for name, prior in ((name, merge(prior)) for name, prior in sorted(priors.items()))
    ]


def refuse_overdraft(costs: Sequence[SweepCost], trials: int) -> None:
    """Raise `BudgetExceededError`, with the figures, where a sweep as a whole would overdraw an account."""
    for cost in costs:
        if not cost.fits:
            raise BudgetExceededError(
                f"{trials} trials would bring {cost.account} from epsilon {cost.before:.3f} to {cost.after:.3f}, over "
                f"95 % of its budget of {cost.cap:g}; take fewer trials, more noise, or tuning_data that is public"
            )
