"""What is measured of a version before a release: it is loaded and asked here. Nothing is signed or recorded here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Protocol

from acgs.errors import UnavailableError
from acgs.governance.decision import Governor
from acgs.registry.catalogue import Record
from acgs.registry.registry import Registry
from acgs.release.evidence import Evidence
from acgs.release.model_evidence import compare
from acgs.release.staging.held_out import HeldOutRow
from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.run import StagingReport, Told, run_staging
from acgs.serving.served import ServedVersion, load_version


class DiedError(UnavailableError):
    """The process that measured ended without an answer, or had to be ended: nothing is known of the version."""


class Measuring(Protocol):
    """Who loads versions and asks them."""

    def turn(self) -> AbstractContextManager[None]:
        """The right to measure.

        Raises:
            RateLimitedError: somebody else has it.
        """
        ...

    def stage(
        self, record: Record, rows: Sequence[HeldOutRow], limits: StagingLimits, *, confidence: float, told: Told
    ) -> StagingReport:
        """See `run_staging`. A version that ends the process that asks it is INSUFFICIENT."""
        ...

    def compare(
        self, baseline: Record, candidate: Record, rows: Sequence[HeldOutRow], *, seed: int, timed_seconds: float
    ) -> Evidence:
        """See `acgs.release.model_evidence.compare`.

        Raises:
            DiedError: one of the two ended the process that asked it.
            AcgsError: a version cannot be had, or does not load.
        """
        ...


class MeasuringHere:
    """In this process: a version that crashes takes the process with it."""

    def __init__(self, registry: Callable[[], Registry], governor: Callable[[], Governor]) -> None:
        """
        Args:
            registry: opens it, when it is needed.
            governor: judges answers; opened when it is needed.
        """
        self._registry = registry
        self._governor = governor

    def turn(self) -> AbstractContextManager[None]:
        """See `Measuring`; any number may."""
        return nullcontext()

    def stage(
        self, record: Record, rows: Sequence[HeldOutRow], limits: StagingLimits, *, confidence: float, told: Told
    ) -> StagingReport:
        """See `Measuring`."""
        return run_staging(lambda: self._load(record), rows, self._governor(), limits, confidence=confidence, told=told)

    def compare(
        self, baseline: Record, candidate: Record, rows: Sequence[HeldOutRow], *, seed: int, timed_seconds: float
    ) -> Evidence:
        """See `Measuring`."""
        with closing(self._load(baseline)) as before, closing(self._load(candidate)) as after:
            return compare(
                (baseline.facts, before), (candidate.facts, after), rows, seed=seed, timed_seconds=timed_seconds
            )

    def _load(self, record: Record) -> ServedVersion:
        facts, registry = record.facts, self._registry()
        folder = registry.fetch(facts.reference)
        return load_version(facts.name, facts.version, folder, lambda name, base: registry.fetch(f"{name}@{base}"))
