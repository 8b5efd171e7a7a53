"""What an audit demands, fixed before the outcomes are looked at; each threshold with its reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1)]


class AuditPlan(BaseModel):
    """The demands of an audit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    estimand: Literal["ate", "att"] = "ate"
    """Mean effect over all rows, or over the treated."""
    confidence: Share = 0.95
    """Two-sided, of the effect's interval."""
    margin: Annotated[float, Field(gt=0)] = 0.25
    """Largest effect on a negative control, and largest imbalance of a covariate, that is taken for none; in standard
    deviations within arms. Beyond a quarter of one, adjustment for covariates is not to be trusted (Rubin 2001; What
    Works Clearinghouse 2020, baseline equivalence)."""
    alpha: Share = 0.05
    """Level of each equivalence test and of the tests that name a failure."""
    least_ess_share: Share = 0.2
    """ESS / n of the weights, within the worst arm. ESS / n = 1 / (1 + CV^2): below a fifth the weights' standard
    deviation exceeds twice their mean, and four rows of five count for nothing."""
    most_pareto_k: Annotated[float, Field(gt=0, le=0.7)] = 0.5
    """Tail index of the unclipped weights: from 0.5 on their variance is infinite, and no interval that rests on a
    variance holds (Vehtari et al. 2024). The index knows no scale and finds tails in weights that are nearly alike, so
    it is not asked for where the heaviest is at most 1 / least_ess_share times the mean: if all weighed that much, the
    effective size would still do."""
    most_unsupported: Share = 0.01
    """Target probability on arms that were never logged: each per cent may bias by one of the outcome's range."""
    most_dropped: Share = 0.5
    """Share of rows outside common support: with more, the answer is about a minority of the log."""
    trim: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """Drop rows whose estimated probability of treatment lies outside [trim, 1 - trim] (Crump et al. 2009 advise 0.1).
    It changes whom the answer is about, so it is never done unasked."""
    least_per_arm: Annotated[int, Field(ge=25)] = 50
    """Rows (or clusters) in each arm: five folds then leave 10 to judge by, and 40 to learn from."""
    assume_unconfounded: bool = False
    """The caller vouches that the covariates hold every common cause of arm and outcome. Without logged propensities or
    a negative control nothing in the data can test it, and an audit that is not told so refuses."""
    most_half_width: Annotated[float, Field(gt=0)] | None = None
    """Half the width of the effect's interval, in units of the outcome. None: any width is an answer."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Of cross-fitting (Chernozhukov et al. 2018 use 4 or 5)."""
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Quantile bins of a numeric stratum column with more values than this."""
    resamples: Annotated[int, Field(ge=99)] = 999
    """Of the permutation tests; the least p-value is 1 / (1 + resamples)."""
    plants: Annotated[int, Field(ge=10, le=1000)] = 20
    """Repetitions of the positive control."""
    planted_effect: Annotated[float, Field(gt=0)] = 0.5
    """Size of the planted effect, in standard deviations of the outcome: a medium one (Cohen 1988)."""
    coverage_slack: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """How far the share of planted effects that the interval holds may truly fall short of its confidence: intervals
    that rest on learned nuisances cover a few points less than they claim at the sizes of real logs (Dorie, Hill,
    Shalit, Scott and Cervone 2019), and one that holds nine effects of ten is still an answer."""
    seed: Annotated[int, Field(ge=0)] = 0
