"""Logs whose truth is known, for the tests of the causal audit."""

from __future__ import annotations

import numpy as np

from acgs.causal import AuditPlan, LoggedTable, Roles, tabulate

QUICK = AuditPlan(folds=2, plants=10, resamples=199)
"""The demands of every audit, with as little repetition as they allow."""


def experiment(n: int = 900, *, effect: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Arms drawn by a fair coin; `before` is the outcome of an earlier period."""
    rng = np.random.default_rng(seed)
    ability, treated = rng.standard_normal(n), rng.permutation(np.arange(n) % 2)
    return {
        "treatment": treated,
        "age": rng.integers(20, 60, n),
        "school": rng.choice(["none", "some", "degree"], n),
        "before": ability + rng.standard_normal(n),
        "outcome": ability + effect * treated + rng.standard_normal(n),
    }


def observed(n: int = 800, *, effect: float = 1.0, hidden: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """Whoever has more `need` is treated more often and fares worse; if `hidden`, need is in no column."""
    rng = np.random.default_rng(seed)
    need = rng.standard_normal(n)
    chance = 1 / (1 + np.exp(-0.6 * need))
    treated = rng.random(n) < chance
    columns = {
        "treatment": treated.astype(int),
        "other": rng.standard_normal(n),
        "before": rng.standard_normal(n) - need,
        "outcome": effect * treated - need + rng.standard_normal(n),
        "chance": np.where(treated, chance, 1 - chance),
    }
    return columns if hidden else columns | {"need": need}


def joined(seed: int = 0) -> dict[str, np.ndarray]:
    """The treated of a small experiment among poor people, joined with a large sample of everybody as controls.

    Earnings follow schooling, age and a fortune that no column holds; the programme adds 1800.
    """
    rng = np.random.default_rng(seed)

    def people(n: int, fortune: float, age: float, school: float) -> dict[str, np.ndarray]:
        luck = rng.normal(fortune, 1.0, n)
        years, classes = rng.normal(age, 8.0, n).clip(17, 55), rng.normal(school, 2.5, n).clip(3, 18).round()
        base = 4000 * luck + 120 * (years - 25) + 500 * (classes - 10)
        working = {f"re{year}": np.maximum(0, base + rng.normal(0, 3000, n)) for year in (74, 75, 78)}
        return {"age": years, "educ": classes, "black": (rng.random(n) < 0.8 - 0.3 * fortune).astype(float)} | working

    poor, everybody = people(185, 0.5, 25.0, 10.0), people(1200, 2.5, 33.0, 12.0)
    poor["re78"] = poor["re78"] + 1800
    table = {name: np.concatenate([poor[name], everybody[name]]) for name in poor}
    return table | {"treatment": np.repeat([1, 0], [185, 1200])}


def table_of(columns: dict[str, np.ndarray], **roles: object) -> LoggedTable:
    """The columns in their parts."""
    return tabulate(columns, Roles.model_validate(roles))


def bandit(n: int = 3000, *, arms: int = 8, even: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    """Clicks on one of several items, chosen evenly, or nearly always the same."""
    rng = np.random.default_rng(seed)
    rate = np.linspace(0.05, 0.4, arms)
    shares = np.full(arms, 1 / arms) if even else np.array([0.999, *[0.001 / (arms - 1)] * (arms - 1)])
    item = rng.choice(arms, n, p=shares)
    user = rng.standard_normal(n)
    return {
        "item": item,
        "user": user,
        "probability": shares[item],
        "click": (rng.random(n) < (rate[item] + 0.05 * np.tanh(user)).clip(0, 1)).astype(float),
    }
