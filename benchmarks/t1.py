"""T1 against T0 on public collections, on queries that no choice has seen.

`python -m benchmarks.t1 --data DIR` where DIR holds the public sets; indexes are kept in `--work`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from acgs.release.t1.facts import facts_of
from acgs.release.t1.package import find
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.encoders import open_encoder
from acgs.retrieval.public_collections import READERS

FOLDERS = {"vaswani": "vaswani_npl", "cosqa": "cosqa", "eu-ai-act": "eu_ai_act"}


def main() -> None:
    """Print quality by slice, the gate and the latency of each collection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the public sets")
    parser.add_argument("--work", type=Path, help="folder for indexes (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=T1Plan().seed)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: {options.data} is not there")
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for name, folder in FOLDERS.items():
            show(name, options.data / folder, work / name, T1Plan(seed=options.seed))


def show(name: str, source: Path, work: Path, plan: T1Plan) -> None:
    """Run one collection and print its figures."""
    found = find(READERS[name](source), open_encoder("minilm"), plan, work)
    facts = facts_of(found)
    latency, gate = facts["latency_ms"], facts["gate"]
    title = f"{name}, {facts['documents']} documents, load {os.getloadavg()[0]:.1f}"
    table = Table(title=title, title_justify="left")
    for column in ("slice", "queries", "T0 nDCG@10", "T1 nDCG@10", "change, points", "LCB95"):
        table.add_column(column, justify="right")
    for label, item in facts["quality"].items():
        lower = "too few" if item["lcb95"] is None else f"{100 * item['lcb95']:+.2f}"
        table.add_row(
            label, str(item["queries"]), f"{item['t0_ndcg10']:.4f}", f"{item['t1_ndcg10']:.4f}",
            f"{100 * item['change']:+.2f}", lower,
        )  # fmt: skip
    Console().print(table)
    if facts["candidate_is_baseline"]:
        print("no rerank surely gains: the candidate is the baseline, and nothing changes by construction")
    most = latency["p95_change_ucb95"]
    bound = "no bound, of too few queries" if most is None else f"at most {most:+.2f} ms"
    print(
        f"p95 of processor time {latency['t0']['p95']:.2f} to {latency['t1']['p95']:.2f} ms, change {bound}"
        f" (n = {latency['requests']} of {latency['queries']} queries); gate fires {gate['fired']:.2f},"
        f" gains {100 * gate['gain']:+.2f} of the oracle's {100 * gate['gain_oracle']:+.2f} points"
        f" (always: {100 * gate['gain_always']:+.2f}); contract {facts['verdict']}"
    )


if __name__ == "__main__":
    main()
