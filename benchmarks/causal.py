"""Effects read off public logs: estimate, interval, truth, diagnostics and the audit's verdict.

The log of births has known effects (ACIC 2016, five simulations), the one of people who stopped smoking a published one
(Hernan and Robins, What If, chapter 12), the shop's log was made by showing items evenly, so that a mild policy can be
valued and one that nearly always shows the same item cannot. `--plants` sets how often an effect is planted and sought.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from acgs.causal import AuditPlan, LoggedTable, Roles, audit, tabulate
from acgs.causal.reading import drop_gaps, read_columns

ACIC_TRUTH = (2.128, 4.679, 4.752, 4.796, 3.353)
NHEFS_PUBLISHED = 3.4
_NARROWEST = 130
"""Columns of text that the table needs, also where it is written to a file."""
NHEFS_COVARIATES = ("sex", "race", "age", "education", "smokeintensity", "smokeyrs", "exercise", "active", "wt71")


@dataclass(frozen=True, slots=True)
class Case:
    """A log, and what is known of its effect."""

    name: str
    table: LoggedTable
    truth: float | None
    vouched: bool
    """Nothing tests hidden causes, so the audit is told that there are none."""


def cases(data: Path) -> Iterator[Case]:
    """The logs, one after the other."""
    births = read_columns(data / "acic_challenge_2016" / "x.csv", ("*",))
    roles = Roles(treatment="z", outcome="y", covariates=("x_*",))
    for number, truth in enumerate(ACIC_TRUTH, 1):
        arms = read_columns(data / "acic_challenge_2016" / f"zy_{number}.csv", ("z", "y"))
        yield Case(f"ACIC 2016, {number}", tabulate(births | arms, roles), truth, vouched=True)
    names = (*NHEFS_COVARIATES, "qsmk", "wt82_71")
    smokers, _dropped = drop_gaps(read_columns(data / "nhefs" / "NHEFS.csv", (*names, "ht")))
    smoking = {"treatment": "qsmk", "outcome": "wt82_71", "covariates": NHEFS_COVARIATES}
    yield Case("NHEFS", tabulate(smokers, Roles(**smoking)), NHEFS_PUBLISHED, vouched=True)
    height = Roles(**smoking, negative_controls=("ht",))
    yield Case("NHEFS, height as control", tabulate(smokers, height), NHEFS_PUBLISHED, vouched=False)
    hidden = Roles(treatment="qsmk", outcome="wt82_71", covariates=("wt71",), negative_controls=("age",))
    yield Case("NHEFS, age hidden", tabulate(smokers, hidden), NHEFS_PUBLISHED, vouched=False)
    for campaign in ("men", "women"):
        shown = read_columns(
            data / "open_bandit" / "random" / campaign / f"{campaign}.csv", ("item_id", "click", "propensity_score")
        )
        yield from shop(campaign, shown)


def shop(campaign: str, shown: dict[str, Any]) -> Iterator[Case]:
    """What a mild policy would bring, and one that shows one item 97 times of 100 (no truth is known for either)."""
    roles = Roles(treatment="item_id", outcome="click", propensity="propensity_score")
    items, rows = len(np.unique(shown["item_id"])), len(shown["click"])
    taste = np.exp(0.5 * np.random.default_rng(0).standard_normal(items))
    stubborn = np.full(items, 0.03 / (items - 1))
    stubborn[0] = 0.97
    for name, policy in (("mild", taste / taste.sum()), ("one item", stubborn)):
        table = tabulate(shown, roles, policy=np.tile(policy, (rows, 1)))
        yield Case(f"Open Bandit {campaign}, {name}", table, None, vouched=False)


def measure(case: Case, plants: int, seed: int) -> dict[str, Any]:
    """One row of the table."""
    started = time.perf_counter()
    report = audit(case.table, AuditPlan(assume_unconfounded=case.vouched, plants=plants, seed=seed))
    answer = report.estimates[0] if report.estimates else None
    return {
        "log": case.name,
        "n": report.n,
        "estimate": answer and answer.value,
        "lower": answer and answer.lower,
        "upper": answer and answer.upper,
        "truth": case.truth,
        "held": None if answer is None or case.truth is None else answer.lower <= case.truth <= answer.upper,
        "ess_share": report.overlap and report.overlap.effective_share,
        "pareto_k": None
        if report.overlap is None or not np.isfinite(report.overlap.pareto_k)
        else report.overlap.pareto_k,
        "control": [{"lower_sd": item.lower, "upper_sd": item.upper} for item in report.placebos],
        "planted_held": report.planted and report.planted.covered,
        "verdict": report.verdict.value,
        "reasons": list(report.reasons),
        "seconds": time.perf_counter() - started,
    }


def show(rows: list[dict[str, Any]], plants: int) -> None:
    """Print the table, and under it why logs were refused."""
    table = Table(title=f"Effects from logs; planted effects held, of {plants}", title_justify="left")
    columns = ("log", "n", "estimate", "95 % interval", "truth", "ESS/n", "k-hat", "control, sd", "planted", "verdict")
    for column in columns:
        table.add_column(column, justify="left" if column in ("log", "verdict") else "right")
    for row in rows:
        table.add_row(
            row["log"],
            str(row["n"]),
            _number(row["estimate"]),
            f"{_number(row['lower'])} to {_number(row['upper'])}",
            _number(row["truth"]),
            _number(row["ess_share"]),
            _number(row["pareto_k"]),
            ", ".join(f"{each['lower_sd']:+.2f} to {each['upper_sd']:+.2f}" for each in row["control"]) or "-",
            "-" if row["planted_held"] is None else str(row["planted_held"]),
            row["verdict"],
        )
    Console(width=max(_NARROWEST, Console().width)).print(table)
    for row in rows:
        for reason in row["reasons"]:
            Console(soft_wrap=True).print(f"{row['log']}: {reason}", highlight=False, markup=False)
    known = [row for row in rows if row["held"] is not None]
    accepted = [row for row in known if row["verdict"] == "ACCEPT"]
    print(
        f"truth held in {sum(row['held'] for row in accepted)} of {len(accepted)} accepted logs, "
        f"{sum(row['held'] for row in known)} of {len(known)} in all"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--plants", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(case, options.plants, options.seed) for case in cases(options.data)]
    if options.json:
        print(json.dumps(rows))
    else:
        show(rows, options.plants)


if __name__ == "__main__":
    main()
