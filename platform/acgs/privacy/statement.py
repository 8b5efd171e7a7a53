"""The privacy statement of a run: what its model card says was guaranteed, from the ledger, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from acgs.privacy.accountants import Segment, epsilons
from acgs.privacy.ledger import Account, Ledger, RunAccount, account_names
from acgs.privacy.plan import PrivacyPlan

CAVEATS: Final = (
    "The guarantee is about the gradients of this training. Choosing hyper-parameters, a threshold or a checkpoint by "
    "looking at the private data is outside it, unless those runs are in the ledger too.",
    "A tokenizer trained, records deduplicated or revised, or an adapter initialised with the private data is outside "
    "it.",
    "Raw training loss, gradient norms of single records and other unprotected figures of the private data are outside "
    "it; logs that hold them are as private as the data.",
    "The base model's own training data is outside it.",
    "Steps that were reserved and never settled, as in a crash, are counted as run.",
)
UNIT_WORDS: Final = {
    "record": "one record",
    "sequence": "one training sequence; a document that spans several is protected less",
    "user": "all records of one user, however many; of each user at most {cap} are used",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EpsilonFigures(_Model):
    """Upper bounds on epsilon; `prv` is null where that accountant cannot evaluate the history."""

    rdp: float
    prv: float | None


class AccountSpending(_Model):
    """What all runs on one data set, or by user-level runs of one population, have spent together."""

    account: str
    runs: int
    target_epsilon: float
    delta: float
    epsilon: EpsilonFigures


class PrivacyStatement(_Model):
    """A run's statement. Figures are those of the ledger at `ledger_head`."""

    format: Literal["acgs-privacy-statement/1"] = "acgs-privacy-statement/1"
    run_id: str
    mechanism: Literal["Poisson-subsampled Gaussian"] = "Poisson-subsampled Gaussian"
    plan: PrivacyPlan
    sample_rate: float
    datasets: tuple[str, ...]
    steps_settled: int
    steps_unsettled: int
    attempts: int
    epsilon: EpsilonFigures
    composed: tuple[AccountSpending, ...]
    ledger_head: str
    caveats: tuple[str, ...] = CAVEATS

    def markdown(self) -> str:
        """The statement as a section of a model card."""
        plan = self.plan
        unit = UNIT_WORDS[plan.unit].format(cap=plan.contribution_cap)
        rows = {
            "Unit": f"{unit}; adding or removing it",
            "Epsilon of this run": f"{_in_words(self.epsilon)} at delta {plan.delta:g}",
            "Mechanism": f"{self.mechanism}, noise multiplier {plan.noise_multiplier:g}, "
            f"clipping norm {plan.max_grad_norm:g}",
            "Sampling": f"rate {self.sample_rate:.6g}: {plan.expected_batch} expected of {plan.population} "
            f"{plan.unit}s",
            "Steps": f"{self.steps_settled} run, {self.steps_unsettled} reserved and never settled (counted), "
            f"{self.attempts} attempts, {plan.steps} planned",
            "Data sets": ", ".join(self.datasets),
            "Ledger": f"`{self.ledger_head}`",
        }
        lines = ["## Privacy", "", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()), ""]
        lines += ["| All runs on | runs | epsilon | cap |", "|---|---|---|---|"]
        lines += [
            f"| {item.account} | {item.runs} | {_in_words(item.epsilon)} at delta {item.delta:g} "
            f"| {item.target_epsilon:g} |"
            for item in self.composed
        ]
        return "\n".join([*lines, "", "What this does not cover:", "", *(f"- {text}" for text in self.caveats), ""])


def state_privacy(ledger: Ledger, run_id: str) -> PrivacyStatement:
    """The statement of a run, from a ledger that was verified whole.

    Raises:
        InvalidInputError: the ledger has no such run.
        UnavailableError, IntegrityError: the ledger cannot be relied on; there is no statement.
    """
    head = ledger.verify()
    run = ledger.run(run_id)
    names = account_names(run.plan, run.datasets)
    accounts = [account for name in names if (account := ledger.account(name)) is not None]
    return PrivacyStatement(
        run_id=run_id,
        plan=run.plan,
        sample_rate=run.plan.sample_rate,
        datasets=tuple(dataset.id for dataset in run.datasets),
        steps_settled=run.settled,
        steps_unsettled=run.unsettled,
        attempts=run.attempts,
        epsilon=run_spending(run),
        composed=tuple(account_spending(account) for account in accounts),
        ledger_head=str(head),
    )


def account_spending(account: Account) -> AccountSpending:
    """What the account has spent, all runs composed."""
    return AccountSpending(
        account=account.name,
        runs=len(account.runs),
        target_epsilon=account.target_epsilon,
        delta=account.delta,
        epsilon=figures(account.spent(), account.delta),
    )


def run_spending(run: RunAccount) -> EpsilonFigures:
    """What the run alone has spent."""
    return figures(run.spent(), run.plan.delta)


def figures(history: Sequence[Segment], delta: float) -> EpsilonFigures:
    """Epsilon by both accountants."""
    both = epsilons(history, delta)
    return EpsilonFigures(rdp=both.rdp, prv=both.prv)


def _in_words(epsilon: EpsilonFigures) -> str:
    prv = "not available" if epsilon.prv is None else f"{epsilon.prv:.3f}"
    return f"{epsilon.rdp:.3f} (RDP), {prv} (PRV)"
