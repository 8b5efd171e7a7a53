"""What a run achieved, judged by the evaluator that was not the critic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from acgs.learning.revision.chain import Chain, Verdict
from acgs.statistics.bounds import wilson_interval


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `n` with its 95 % Wilson interval. Without data `value` is None and the interval is (0, 1)."""

    count: int
    n: int
    value: float | None
    lower: float
    upper: float


def share_of(flags: Iterable[bool]) -> Share:
    """The share that is true."""
    values = list(flags)
    count, n = sum(values), len(values)
    lower, upper = wilson_interval(count, n)
    return Share(count, n, count / n if n else None, lower, upper)


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """The same rows before and after."""

    before: Share
    after: Share


@dataclass(frozen=True, slots=True)
class RevisionReport:
    """Figures of one run. Compliance, kept content and controls are the evaluator's; None means no data."""

    rows: int
    statuses: dict[str, int]
    drop_reasons: dict[str, int]
    mean_rounds: float | None
    """Over rows that were revised at all, those without success included."""
    rounds: dict[int, int]
    """How many rows took how many rounds; 0 for those that complied."""
    all_rows: BeforeAfter
    """Every row with a response; a dropped row counts with the best text it reached."""
    usable_rows: BeforeAfter
    """Rows that go on to training."""
    revised_rows: BeforeAfter
    per_principle: dict[str, BeforeAfter]
    """Share of the usable rows in which the principle is not breached."""
    content_kept: float | None
    """Mean over revised rows with compliant content: share of its content words that survive."""
    sentences_kept: float | None
    """Mean over the same rows: share of its sentences that survive word for word."""
    refusals: Share
    """Of the revised rows."""
    over_refusals: Share
    """Rows compliant by the evaluator before that are refusals after and were none."""
    controls_changed: Share
    """Rows compliant by the evaluator before that the loop changed all the same."""
    generator_id: str
    critic_id: str
    evaluator_id: str
    constitution_digest: str


def report_on(chains: Sequence[Chain]) -> RevisionReport:
    """Work out all figures.

    Raises:
        ValueError: there are no chains.
    """
    if not chains:
        raise ValueError("there are no chains to report on")
    judged = [chain for chain in chains if chain.evaluator_before is not None]
    usable = [chain for chain in judged if chain.status != "dropped"]
    revised = [chain for chain in judged if chain.status == "revised"]
    worked = [len(chain.rounds) for chain in judged if chain.rounds]
    controls = [chain for chain in judged if _compliant(chain.evaluator_before)]
    first = chains[0]
    return RevisionReport(
        rows=len(chains),
        statuses=dict(Counter(chain.status for chain in chains).most_common()),
        drop_reasons=dict(Counter(chain.drop_reason for chain in chains if chain.drop_reason).most_common()),
        mean_rounds=_mean(worked),
        rounds=dict(sorted(Counter(len(chain.rounds) for chain in judged).items())),
        all_rows=_compliance(judged),
        usable_rows=_compliance(usable),
        revised_rows=_compliance(revised),
        per_principle=_per_principle(usable),
        content_kept=_mean([chain.content_kept for chain in revised if chain.content_kept is not None]),
        sentences_kept=_mean([chain.sentences_kept for chain in revised if chain.sentences_kept is not None]),
        refusals=share_of(chain.refusal_after for chain in revised),
        over_refusals=share_of(chain.refusal_after and not chain.refusal_before for chain in controls),
        controls_changed=share_of(_changed(chain) for chain in controls),
        generator_id=first.generator_id,
        critic_id=first.critic_id,
        evaluator_id=first.evaluator_id,
        constitution_digest=first.constitution_digest,
    )


def _compliant(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.compliant


def _changed(chain: Chain) -> bool:
    return any(item.improved for item in chain.rounds)


def _compliance(chains: Sequence[Chain]) -> BeforeAfter:
    return BeforeAfter(
        share_of(_compliant(chain.evaluator_before) for chain in chains),
        share_of(_compliant(chain.evaluator_after) for chain in chains),
    )


def _per_principle(chains: Sequence[Chain]) -> dict[str, BeforeAfter]:
    """Principles that the evaluator saw breached at all, the most often breached first."""
    before = [set(chain.evaluator_before.principles if chain.evaluator_before else ()) for chain in chains]
    after = [set(chain.evaluator_after.principles if chain.evaluator_after else ()) for chain in chains]
    seen = Counter(name for names in (*before, *after) for name in names)
    return {
        name: BeforeAfter(
            share_of(name not in names for names in before), share_of(name not in names for names in after)
        )
        for name, _ in seen.most_common()
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
