"""A randomised replay: each query gets the full rerank or none by a coin with a known chance, as a live log would.

The log is audited as any other: its effect estimates the paired one, which the same queries give without a coin.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from acgs.causal.audit import audit_by_slice
from acgs.causal.plan import AuditPlan
from acgs.causal.report import AuditReport
from acgs.causal.table import LoggedTable, Roles, tabulate
from acgs.release.t1.confirmation import Confirmed
from acgs.retrieval.analysis import terms
from acgs.retrieval.natural_language import nl_confidence
from acgs.retrieval.slices import HARD_NL
from acgs.statistics.evidence import InsufficientDataError

_ROLES = Roles(
    treatment="full_rerank",
    outcome="ndcg",
    covariates=("nl_confidence", "length"),
    strata=("nl_confidence", "length", "language"),
    propensity="propensity",
    negative_controls=("first_stage_ndcg",),
    slice="slice",
)


def randomised_log(
    confirmed: Sequence[Confirmed], queries: Mapping[str, str], hard: Collection[str], seed: int
) -> LoggedTable:
    """The log: arm, its propensity, the outcome it had, what was known before, and a control that no arm can change.

    The control is nDCG@10 of the first stage, which ran before the coin fell.

    Raises:
        InsufficientDataError: all queries fell on one side.
    """
    treated = np.random.default_rng(seed).random(len(confirmed)) < 0.5
    texts = [queries[item.query] for item in confirmed]
    return tabulate(
        {
            "full_rerank": treated.astype(np.int64),
            "ndcg": np.array(
                [
                    item.full_ndcg if fired else item.baseline_ndcg
                    for item, fired in zip(confirmed, treated, strict=True)
                ]
            ),
            "propensity": np.full(len(confirmed), 0.5),
            "nl_confidence": np.array([nl_confidence(text) for text in texts]),
            "length": np.array([float(len(terms(text))) for text in texts]),
            "language": np.array(["ascii" if text.isascii() else "other" for text in texts]),
            "slice": np.array([HARD_NL if item.query in hard else "rest" for item in confirmed]),
            "first_stage_ndcg": np.array([item.baseline_ndcg for item in confirmed]),
        },
        _ROLES,
    )


def audited(
    confirmed: Sequence[Confirmed], queries: Mapping[str, str], hard: Collection[str], seed: int
) -> list[AuditReport]:
    """Reports of the whole log and of both slices; none where the coin gave all queries one arm."""
    try:
        return audit_by_slice(randomised_log(confirmed, queries, hard, seed), AuditPlan(seed=seed))
    except InsufficientDataError:
        return []
