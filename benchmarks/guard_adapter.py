"""The harm adapter on three public sets: frozen MiniLM, LoRA, and LoRA with differential privacy.

Run with `python -m benchmarks.guard_adapter [FOLDER]`. All three on one split by group; settings were chosen on the
training part. The noise is drawn anew each time, so the private figures vary a little from run to run.
"""

from __future__ import annotations

import os

# Before torch is imported: one thread, as in training on a shared machine.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from acgs.constitution.source import load_locked
from acgs.learning.guard.harm_card import in_words
from acgs.learning.guard.harm_run import PLAIN, PRIVATE, HarmConfig, HarmOutcome, HarmRun
from acgs.learning.guard.private_adapter import PlainSettings
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
KEPT_SHARE = 0.95
WIDTH = 200


def measure(data: Path, folder: Path) -> HarmOutcome:
    """Train all three models, with a privacy ledger of their own in `folder`."""
    engine = open_engine(default_url(folder))
    upgrade(engine)
    run = HarmRun(load_locked(), data, folder / "out", HarmConfig(compared=PlainSettings()), SqlLedger(engine))
    return run.execute(lambda line: print(line, file=sys.stderr, flush=True))


def quality_table(outcome: HarmOutcome) -> Table:
    """AUROC of each model by slice, then paired differences and ratios."""
    comparison, statement = outcome.comparison, outcome.statement
    slices = list(next(iter(comparison.auroc.values())))
    title = f"AUROC on {comparison.n} held-out texts ({comparison.harmful} harmful, {comparison.groups} groups)"
    table = Table("model", "epsilon", "seconds", *slices, title=title)
    epsilon = max(statement.epsilon.rdp, statement.epsilon.prv or 0.0)
    for name, row in comparison.auroc.items():
        spent = f"{epsilon:.2f}" if name == PRIVATE else "-"
        table.add_row(name, spent, f"{outcome.seconds[name]:.0f}", *(in_words(row[part]) for part in slices))
    table.add_section()
    for rows in (comparison.difference, comparison.ratio):
        for name, row in rows.items():
            table.add_row(name, "", "", *(in_words(row[part]) for part in slices))
    return table


def main() -> None:
    """Print the table and what was asked for."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as folder:
        outcome = measure(data, Path(folder))
    console = Console(width=WIDTH)
    console.print(quality_table(outcome))
    kept = outcome.comparison.ratio[f"{PRIVATE} / {PLAIN}"]["pooled"]
    plan = outcome.statement.plan
    console.print(
        f"private: {outcome.steps} steps, expected batch {plan.expected_batch} of {plan.population}, noise multiplier "
        f"{plan.noise_multiplier:.3f}, clipping {plan.max_grad_norm:g}, delta {plan.delta:g}; "
        f"kept of LoRA's pooled AUROC: {in_words(kept)}, to reach: {KEPT_SHARE}"
    )


if __name__ == "__main__":
    main()
