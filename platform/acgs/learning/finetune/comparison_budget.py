"""What the private variants of a comparison spend together on the data they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from acgs.errors import InvalidInputError
from acgs.privacy.accountants import merge
from acgs.privacy.ledger import Account
from acgs.privacy.plan import CRITICAL_SHARE, PrivacyPlan

_REACHED: Final = 0.9
"""Share of its epsilon that a variant's plan must come to; plans aim at 95 %, and a lower one is another's variant."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Epsilon of all private variants together, with what other runs spent and were promised before."""

    together: float
    before: float
    budget: float


def check_budget(
    plans: Mapping[str, PrivacyPlan],
    epsilons: Mapping[str, float],
    accounts: Sequence[Account],
    own_runs: frozenset[str],
    budget: float | None,
) -> Spending:
    """Add up what the variants' plans would cost the data.

    Args:
        plans: by variant, as they were solved for each variant alone.
        epsilons: by variant, what it may spend by itself.
        accounts: of the data, in the ledger.
        own_runs: this comparison's own runs in the ledger, which do not count twice.
        budget: what the data may cost over all its runs.

    Raises:
        InvalidInputError: there is no budget, it is not enough, or the data has another; what it takes is said.
    """
    plan = next(iter(plans.values()))
    others = [
        merge(segment for run in account.runs if run.run_id not in own_runs for segment in run.committed())
        for account in accounts
    ] or [()]
    mechanisms = [segment for item in plans.values() for segment in item.history()]
    before = max(plan.composed(prior, 0) for prior in others)
    together = max(plan.composed((*prior, *mechanisms), 0) for prior in others)
    fixed = {account.target_epsilon for account in accounts if account.runs}
    if budget is not None and fixed - {budget}:
        raise InvalidInputError(
            f"the budget of this data was fixed at {min(fixed):g} by its first run; set run.privacy.target_epsilon to "
            "that",
            field="run.privacy.target_epsilon",
        )
    if budget is None or together > CRITICAL_SHARE * budget:
        raise InvalidInputError(_too_much(together, before, budget, plans), field="run.privacy.target_epsilon")
    for name, item in plans.items():
        reached = item.composed(())
        if reached < _REACHED * epsilons[name]:
            raise InvalidInputError(
                f"so little of the data's budget of {budget:g} is left that {name} would come to {reached:.3f} only; "
                "name a smaller epsilon",
                field="epsilons",
            )
    return Spending(together, before, budget)


def _too_much(together: float, before: float, budget: float | None, variants: Iterable[str]) -> str:
    already = f", with the {before:.3f} that is spent or promised already" if before else ""
    words = f"{', '.join(variants)} would spend epsilon {together:.3f} together{already}"
    # Plans may use 95 % of a budget; what is rounded is rounded up.
    least = math.ceil(100 * together / CRITICAL_SHARE) / 100
    if budget is None:
        return f"{words}; if they may, set run.privacy.target_epsilon to at least {least:g}"
    return (
        f"{words}, and {100 * CRITICAL_SHARE:g} % of the data's budget of {budget:g} may be planned; ask for less, or "
        f"set run.privacy.target_epsilon to at least {least:g}"
    )
