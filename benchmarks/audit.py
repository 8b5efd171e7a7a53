"""What the audit trail costs: issuing a receipt, writing it down, merging, proving.

Run with `python -m benchmarks.audit`. Receipts are timed in CPU time of the thread, everything that waits for a disk
in wall time.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acgs.audit.journal import Durability, Journal
from acgs.audit.keys import SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.log import AuditLog
from acgs.audit.notes import VerifierKey
from acgs.audit.proofs import prove_inclusion
from acgs.audit.receipts import DecisionFacts, ReceiptSigner
from acgs.audit.sequencer import sequence
from acgs.audit.verification import verify_log
from acgs.errors import IntegrityError

RECEIPTS = 20_000
FLUSHES = 500
PROOFS = 2_000
CLIENTS = 32
FACTS = DecisionFacts(
    request_digest="0f" * 32,
    constitution_digest="1e" * 32,
    constitutional_hash="cdd01ef066bc6cf2",
    bundle_version="1.4.2",
    domain="healthcare",
    verdict="violate",
    matched_rules=("phi.export", "consent.missing"),
    model_version="2.1.0",
)


def run() -> list[dict[str, Any]]:
    """Measure and return one row per quantity: what, unit, n, p50, p99."""
    key = SigningKey.generate()
    signer = ReceiptSigner(key, "bench")
    rows = [_row("receipt: build, canonicalise, sign (CPU)", "us", _times(_cpu_us, RECEIPTS, _issue(signer)))]
    entries = [receipt.entry for receipt in signer.issue_many([FACTS] * RECEIPTS)]
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
        rows += _journal_rows(Path(name), entries)
        rows += _log_rows(AuditDirectory(Path(name) / "audit"), entries, key)
    return rows


def _journal_rows(directory: Path, entries: list[bytes]) -> list[dict[str, Any]]:
    rows = []
    durabilities: list[tuple[Durability, int]] = [("os", len(entries)), ("fsync", FLUSHES)]
    for durability, count in durabilities:
        pending = iter(entries)
        with Journal(directory / durability, "bench", durability=durability) as journal:
            times = _times(_wall_us, count, _append_next(journal, pending))
        rows.append(_row(f"journal append, {durability}", "us", times))
    with Journal(directory / "group", "bench", durability="fsync") as journal:
        times = asyncio.run(_concurrent_appends(journal, entries[: FLUSHES * CLIENTS]))
    rows.append(_row(f"journal append, fsync shared by {CLIENTS} clients", "us", times))
    return rows


def _log_rows(audit: AuditDirectory, entries: list[bytes], key: SigningKey) -> list[dict[str, Any]]:
    with Journal(audit.journals, "bench") as journal:
        journal.append_batch(entries)
    started = time.perf_counter()
    added = sequence(audit, key).added
    merge_rate = added / (time.perf_counter() - started)
    log = AuditLog.open(audit.log)
    indices = iter(range(0, added, max(1, added // PROOFS)))
    proofs = _times(_wall_us, PROOFS, lambda: prove_inclusion(log, next(indices)))
    started = time.perf_counter()
    report = verify_log(log, [VerifierKey(log.state.origin, key.public)], [key.public])
    if not report.holds:
        raise IntegrityError(f"the benchmark's own log does not hold: {report.faults[0]}")
    verify_rate = report.receipts / (time.perf_counter() - started)
    return [
        _row("sequencer", "entries/s", [merge_rate], count=added),
        _row("inclusion proof, checked", "us", proofs),
        _row("verification of the whole log", "receipts/s", [verify_rate], count=report.receipts),
    ]


async def _concurrent_appends(journal: Journal, entries: list[bytes]) -> list[float]:
    times: list[float] = []
    pending = iter(entries)

    async def client() -> None:
        for entry in pending:
            started = time.perf_counter()
            await journal.append_async(entry)
            times.append((time.perf_counter() - started) * 1e6)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return times


def _issue(signer: ReceiptSigner) -> Callable[[], object]:
    return lambda: signer.issue(FACTS)


def _append_next(journal: Journal, entries: Iterator[bytes]) -> Callable[[], object]:
    return lambda: journal.append(next(entries))


def _times(clock: Callable[[Callable[[], object]], float], count: int, action: Callable[[], object]) -> list[float]:
    return [clock(action) for _ in range(count)]


def _wall_us(action: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - started) / 1e3


def _cpu_us(action: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - started) / 1e3


def _row(what: str, unit: str, values: list[float], *, count: int | None = None) -> dict[str, Any]:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if len(ordered) > 1 else None
    return {"what": what, "unit": unit, "n": count or len(ordered), "p50": ordered[len(ordered) // 2], "p99": p99}


def main() -> None:
    """Print the table."""
    before = os.getloadavg()[0]
    rows = run()
    table = Table(title=f"Audit trail (load average {before:.2f} before, {os.getloadavg()[0]:.2f} after)")
    for heading in ("what", "unit", "n", "p50", "p99"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right")
    for row in rows:
        p99 = "" if row["p99"] is None else f"{row['p99']:.1f}"
        table.add_row(row["what"], row["unit"], str(row["n"]), f"{row['p50']:.1f}", p99)
    Console().print(table)


if __name__ == "__main__":
    main()
