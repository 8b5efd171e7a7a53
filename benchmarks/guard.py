"""Quality of the shipped guard bundle on the public sets, as `acgs governance score` measures it.

Run with `python -m benchmarks.guard [FOLDER]`. The bundle was trained on these sets, so the figures say how well it
remembers, not how well it does on new texts; held-out figures stand in the bundle's MODEL_CARD.md. A set that training
left out (marked) is new to it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from acgs.errors import InvalidInputError
from acgs.governance.assembly import open_governor
from acgs.governance.bundle import MODEL_CARD
from acgs.governance.decision import Governor
from acgs.governance.quality import inline_scores, tier_quality
from acgs.governance.scenarios.public_sets import LOADERS, load_public
from acgs.settings import Settings
from acgs.statistics.classification import Estimate, Quality

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
WIDTH = 200
"""Characters of the table, intervals included."""
COLUMNS = {
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "f1": "F1",
    "recall_at_5_percent_false_positives": "recall at 5 % FP",
    "label_1_over_threshold": "label 1 over threshold",
    "label_0_over_threshold": "label 0 over threshold",
}


def measure_set(governor: Governor, folder: Path, name: str) -> Quality:
    """Figures of the inline tier on one set, near-copies resampled together."""
    examples = load_public(folder, name)
    texts = track([example.text for example in examples], name, console=Console(stderr=True), transient=True)
    scores = inline_scores(governor, texts, lambda _count: None)
    return tier_quality(scores, examples, threshold=governor.bundle.manifest.threshold).overall


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "no data"
    if estimate.lower is None or estimate.upper is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as state:
        governor = open_governor(Settings(state_dir=Path(state)))
    trained_on = governor.bundle.manifest.metrics["quality"]["inline"]
    table = Table("set", "n", "violate", *COLUMNS.values(), title=f"{governor.bundle.version}, inline tier")
    for name in LOADERS:
        try:
            quality = measure_set(governor, folder, name)
        except InvalidInputError as error:
            table.add_row(name, error.message)
            continue
        label = name if name in trained_on else f"{name} (left out)"
        cells = (_cell(quality.figures[figure]) for figure in COLUMNS)
        table.add_row(label, str(quality.n), str(quality.positives), *cells)
    console = Console(width=WIDTH)
    console.print(table)
    console.print(f"The bundle was trained on these sets; held-out figures are in {MODEL_CARD}.", style="bold")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
