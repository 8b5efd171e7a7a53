"""Health: the version loads from the registry's verified files, answers its probes, and fits into memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from acgs.errors import AcgsError
from acgs.release.staging.finding import ValidationResult, could_not_run
from acgs.serving.served import ServedVersion
from acgs.statistics.evidence import Verdict

_TYPE: Final = "health_check"
_PAGE: Final = resource.getpagesize()
_STATM: Final = Path("/proc/self/statm")
_RESIDENT: Final = 1


def load_and_check(
    load: Callable[[], ServedVersion], *, memory_mb: float
) -> tuple[ServedVersion | None, list[ValidationResult]]:
    """Load a version as a slot would; None where it cannot be, with what failed."""
    before, started = _resident_mb(), time.perf_counter()
    try:
        served = load()
    except AcgsError as error:
        failed = could_not_run(_TYPE, "loads and answers its probes", error.message)
        return None, [failed.model_copy(update={"verdict": Verdict.FAIL, "n": 1})]
    seconds = time.perf_counter() - started
    probes = len(served.package.descriptor.probes)
    answered = ValidationResult(
        validation_type=_TYPE,
        measure="loads and answers its probes",
        verdict=Verdict.PASS,
        n=probes,
        reason=f"{probes} probes answered, and every answer fits the output schema; loaded in {seconds:.2f} s",
        details={"load_seconds": seconds},
    )
    return served, [answered, _memory(before, memory_mb)]


def _memory(before: float | None, limit: float) -> ValidationResult:
    after = _resident_mb()
    if before is None or after is None:
        return could_not_run(_TYPE, "memory", "this system does not tell how much memory a process holds")
    taken = max(0.0, after - before)
    return ValidationResult(
        validation_type=_TYPE,
        measure="memory",
        verdict=Verdict.PASS if taken <= limit else Verdict.FAIL,
        score=taken,
        limit=limit,
        unit="MiB",
        n=1,
        reason=f"loading it, with the libraries it needs, took {taken:.0f} MiB; {limit:g} are allowed",
    )


def _resident_mb() -> float | None:
    try:
        return int(_STATM.read_text().split()[_RESIDENT]) * _PAGE / 2**20
    except (OSError, ValueError, IndexError):
        return None
