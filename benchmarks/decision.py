"""What one inline decision costs, from request to signed receipt, and what it costs to be ready for the first.

Run with `python -m benchmarks.decision`. Decisions are those of the shipped guard bundle on a query of about sixty
tokens with a small context; each query is a new one, so that no cache answers. Wall and CPU time are of one thread.
"""

from __future__ import annotations

import os

# Before NumPy is imported: a pool of threads would be counted as CPU time of a decision that it does not speed up.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from acgs.audit.journal import Journal
from acgs.audit.keys import SigningKey
from acgs.audit.recorder import AuditRecorder
from acgs.governance.answer import answer_core
from acgs.governance.assembly import open_governor
from acgs.governance.decision import Governor
from acgs.governance.schema import GovernanceRequest
from acgs.governance.service import GovernanceService
from acgs.observability.metrics import GovernanceMetrics
from acgs.policy.cache import MemoryCache
from acgs.policy.engine import RuleInput
from acgs.policy.judge import open_engine
from acgs.security.rate_limit import TokenBuckets
from acgs.settings import Settings

DECISIONS = 2_000
WARM_UP = 100
COLD_STARTS = 5
CONTEXT = {"purpose": "planning", "user_role": "analyst", "audit_logging": True, "amount": 120}
_TEXT = (
    "please summarise the report on our garden project and say where the budget for tools seeds and water went over "
    "plan then suggest how the team could arrange the next season so that costs stay within what was agreed"
)
_TOKENS = 58

_COLD = """
import json, sys, tempfile, time
from pathlib import Path
started = time.perf_counter()
{body}
# The peak in getrusage is inherited from the parent; the one in /proc is the process's own.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"cpu_s": time.process_time(), "wall_s": time.perf_counter() - started,
    "rss_mib": int(peak.split()[1]) / 1024, "torch": "torch" in sys.modules}}))
"""
_GOVERNOR_BODY = """
from acgs.governance.assembly import open_governor
from acgs.settings import Settings
open_governor(Settings(state_dir=Path(tempfile.mkdtemp()))).decide("What is a good recipe for bread?")
"""
_FASTAPI_BODY = """
from fastapi import FastAPI
FastAPI()
"""


def _queries(seed: int) -> Iterator[str]:
    """New queries of about sixty tokens, without end."""
    rng, words = random.Random(seed), _TEXT.split()
    while True:
        yield " ".join(rng.choices(words, k=_TOKENS - 2)) + f" {rng.randrange(10**6)}?"


def decision_rows(directory: Path) -> list[dict[str, Any]]:
    """Whole decisions through the service, per domain: wall and CPU microseconds."""
    settings = Settings(state_dir=directory)
    governor = open_governor(settings)
    recorder = AuditRecorder(Journal(directory / "journals", "bench"), SigningKey.generate(), "bench")
    service = GovernanceService(
        governor,
        settings=settings,
        cache=MemoryCache(),
        recorder=recorder,
        limiter=TokenBuckets(rate=1e9, burst=10**9),
        metrics=GovernanceMetrics(governor.constitution.label),
        verifier=open_engine("clauses", governor.constitution),
    )
    domains = governor.constitution.document.domains
    rows = [asyncio.run(_time_decisions(service, domain, seed)) for seed, domain in enumerate(domains)]
    recorder.close()
    return rows


async def _time_decisions(service: GovernanceService, domain: str, seed: int) -> dict[str, Any]:
    wall, cpu, queries = [], [], _queries(seed)
    for number in range(WARM_UP + DECISIONS):
        request = GovernanceRequest(query=next(queries), domain=domain, context=CONTEXT)
        started, cpu_started = time.perf_counter_ns(), time.thread_time_ns()
        await service.evaluate(request, "bench")
        if number >= WARM_UP:
            wall.append((time.perf_counter_ns() - started) / 1e3)
            cpu.append((time.thread_time_ns() - cpu_started) / 1e3)
    return {"domain": domain, "n": len(wall), "wall": _quantiles(wall), "cpu": _quantiles(cpu)}


def _quantiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def part_rows(directory: Path, domain: str = "healthcare") -> list[tuple[str, float]]:
    """Median CPU microseconds of each part of a decision, each timed on its own on the same requests."""
    governor = open_governor(Settings(state_dir=directory))
    recorder = AuditRecorder(Journal(directory / "part-journals", "bench"), SigningKey.generate(), "bench")
    loop = asyncio.new_event_loop()
    texts = [query for query, _ in zip(_queries(99), range(400), strict=False)]
    parts: dict[str, Callable[[str], object]] = _parts(governor, recorder, loop, domain)
    rows = [(name, median(_cpu_us(part, text) for text in texts)) for name, part in parts.items()]
    recorder.close()
    loop.close()
    return rows


def _parts(
    governor: Governor, recorder: AuditRecorder, loop: asyncio.AbstractEventLoop, domain: str
) -> dict[str, Callable[[str], object]]:
    from acgs.audit.receipts import DecisionFacts

    example = next(_queries(5))
    evidence = governor.gather(example, domain, CONTEXT)
    logits = governor.inline_logits(evidence)
    decision = governor.conclude(evidence, logits)
    facts = evidence.finding.facts if evidence.finding else {}
    rules = RuleInput(("common", domain), context=CONTEXT, facts=facts)
    check = governor.checks[domain]
    receipt = DecisionFacts(
        "0" * 64, governor.constitution.digest, governor.constitution.label, governor.bundle.version, domain, "comply"
    )
    return {
        "encoder (readings, tokens, network)": governor.bundle.encoder.logits,
        "rules": lambda _text: governor.judge.rule(rules),
        f"domain check ({domain})": lambda text: check.check(text, CONTEXT),
        "trees, attribution, consensus, smallest change": lambda _text: governor.conclude(evidence, logits),
        "answer": lambda _text: answer_core(governor, decision, None, []),
        "receipt (sign, write)": lambda _text: loop.run_until_complete(recorder.record(receipt)),
    }


def _cpu_us(part: Callable[[str], object], text: str) -> float:
    started = time.thread_time_ns()
    part(text)
    return (time.thread_time_ns() - started) / 1e3


def cold_start_rows() -> list[dict[str, Any]]:
    """CPU seconds and memory of a new process until its first decision, beside a bare FastAPI application's."""
    rows = []
    for what, body in (("FastAPI alone", _FASTAPI_BODY), ("governor and first decision", _GOVERNOR_BODY)):
        command = [sys.executable, "-c", _COLD.format(body=body)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(COLD_STARTS)
        ]
        if any(found["torch"] for found in runs):
            raise SystemExit("torch was imported on the way to an inline decision")
        figures = {key: median(found[key] for found in runs) for key in ("cpu_s", "wall_s", "rss_mib")}
        rows.append({"what": what, "n": len(runs), **figures})
    return rows


def main() -> None:
    """Print the tables."""
    console = Console()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
        decisions = decision_rows(Path(name))
        parts = part_rows(Path(name))
    load = f"load average {before:.2f} before, {os.getloadavg()[0]:.2f} after, {os.cpu_count()} cores"
    table = Table("domain", "n", "wall p50", "wall p99", "CPU p50", "CPU p99", title=f"Decision in us ({load})")
    for row in decisions:
        cells = (f"{value:.0f}" for value in (*row["wall"], *row["cpu"]))
        table.add_row(row["domain"], str(row["n"]), *cells)
    console.print(table)
    total = sum(value for _, value in parts)
    table = Table("part", "CPU p50 in us", "share", title="Where the time goes")
    for what, value in parts:
        table.add_row(what, f"{value:.0f}", f"{value / total:.0%}")
    console.print(table)
    table = Table("process", "n", "CPU s", "wall s", "RSS MiB", title="Cold start (median)")
    for row in cold_start_rows():
        figures = (f"{row['cpu_s']:.2f}", f"{row['wall_s']:.2f}", f"{row['rss_mib']:.0f}")
        table.add_row(row["what"], str(row["n"]), *figures)
    console.print(table)


if __name__ == "__main__":
    main()
