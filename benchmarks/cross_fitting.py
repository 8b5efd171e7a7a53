"""How often the bounds of cross-fitted gains claim a gain where there is none, and find one where there is.

`python -m benchmarks.cross_fitting` makes queries whose features tell nothing of the grades, so that no order of the
candidates is better than another on average, and others where one feature tells. On each it learns the rerankers by the
shipped plan at both depths and looks at the surest of the routes, which is what a choice does.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from acgs.release.t1.passes import JudgedPass
from acgs.release.t1.plan import T1Plan
from acgs.release.t1.tuning import Basis, Heads, learn_rerankers, standard_error, sure_mean
from acgs.retrieval.lexical import LexicalQuery
from acgs.retrieval.rerankers import FULL_FEATURES, ListwiseExample, standardise
from acgs.retrieval.search import FirstPass
from acgs.statistics.evidence import Floats
from acgs.statistics.ranking import discounted_gain

SHARED = 0.6
"""Correlation of each feature with the first stage's score."""
EFFECT = 0.3
"""Deviations by which one feature tells relevant candidates from others, where there is a gain."""
WORLDS = ((100, 2, 0.0), (150, 1, 0.0), (100, 2, EFFECT))
"""Queries, relevant candidates of each, effect."""


def world(queries: int, relevant: int, effect: float, depth: int, rng: np.random.Generator) -> Basis:
    """Queries with `depth` candidates each, in the order of the first feature."""
    places = np.arange(depth, dtype=np.int32)
    ideal = discounted_gain([1.0] * relevant)
    passes, examples = [], []
    for number in range(queries):
        grades = np.zeros(depth)
        grades[rng.choice(depth, relevant, replace=False)] = 1.0
        features = rng.normal(size=(depth, len(FULL_FEATURES)))
        features[:, 0] = np.sort(features[:, 0])[::-1]
        features[:, 1:] = SHARED * features[:, :1] + (1 - SHARED**2) ** 0.5 * features[:, 1:]
        features[:, 1] += effect * grades
        examples.append(ListwiseExample(standardise(features.astype(np.float32)), grades))
        passes.append(JudgedPass(str(number), "", _nothing(depth), grades, {}, ideal))
    base = np.array([judged.ndcg(places) for judged in passes])
    return Basis(passes, Heads(depth, [places] * queries, examples, base))


def _nothing(depth: int) -> FirstPass:
    """A first pass for what never looks at it."""
    none = np.zeros(depth, dtype=np.float32)
    query = LexicalQuery([], [])
    return FirstPass("", query, none, None, np.arange(depth, dtype=np.int32), none, none, 0.0, none)


def shallow(basis: Basis, depth: int) -> Basis:
    """The same queries with the first candidates only."""
    held = basis.heads
    examples = [ListwiseExample(standardise(item.features[:depth]), item.grades[:depth]) for item in held.examples]
    return Basis(basis.passes, Heads(depth, [order[:depth] for order in held.order], examples, held.base))


def surest(basis: Basis, plan: T1Plan) -> tuple[float, float]:
    """The highest bound of a route's gain, and the highest gain in its standard errors."""
    rows = np.arange(len(basis.passes))
    bounds: list[float] = []
    errors: list[float] = []
    for depth in plan.depths:
        part = shallow(basis, depth)
        for gains in learn_rerankers(lambda _taught, part=part: part, rows, plan).gains.T[1:]:
            bounds.append(sure_mean(gains, plan.bound_errors))
            errors.append(_in_errors(gains))
    return max(bounds), max(errors)


def _in_errors(gains: Floats) -> float:
    error = standard_error(gains)
    return float(gains.mean()) / error if error > 0 else 0.0


def main() -> None:
    """Print a row for each kind of world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=100, help="worlds of each kind (default: 100)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan, rng = T1Plan(), np.random.default_rng(options.seed)
    table = Table(title_justify="left")
    for column in (
        "queries",
        "relevant",
        "effect",
        "n",
        "a gain is claimed",
        "95 % of the highest gains below, errors",
    ):
        table.add_column(column, justify="right")
    started = time.process_time()
    for queries, relevant, effect in WORLDS:
        found = np.array(
            [surest(world(queries, relevant, effect, max(plan.depths), rng), plan) for _ in range(options.repetitions)]
        )
        table.add_row(
            str(queries), str(relevant), f"{effect:g}", str(len(found)), f"{(found[:, 0] > 0).mean():.3f}",
            f"{np.quantile(found[:, 1], 0.95):.2f}",
        )  # fmt: skip
    table.title = (
        f"Bounds of cross-fitted gains, CPU {time.process_time() - started:.0f} s, load {os.getloadavg()[0]:.1f}"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
