"""Versions are measured in a process of their own: what kills it is found out, and harms nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError, RateLimitedError, UnavailableError
from acgs.mlops import MLOpsManager, train_and_version_model
from acgs.mlops.measuring import DiedError
from acgs.mlops.staging_process import MeasuringApart
from acgs.registry.catalogue import Record
from acgs.release.requirements import NotReleasableError
from acgs.release.staging.held_out import HeldOutRow, read_held_out
from acgs.release.staging.limits import StagingLimits
from acgs.serving.deployments.documents import Document
from acgs.serving.deployments.record import RampPlan
from acgs.settings import Settings
from tests.acgs.mlops.conftest import Platform

LIMITS = StagingLimits(requests=60, callers=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def version(settings: Settings) -> tuple[Record, list[HeldOutRow]]:
    """A registered version, and its held-out rows."""
    return made(settings)


def made(settings: Settings, c: float = 1.0) -> tuple[Record, list[HeldOutRow]]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).normal(size=(400, 3))
    manager = MLOpsManager(settings)
    trained = train_and_version_model(
        rows, (rows[:, 0] > 0).astype(int), "triage", estimator=LogisticRegression(C=c), manager=manager
    )
    return manager.registry.get(f"triage@{trained.version['version']}"), read_held_out(trained.held_out)


@pytest.fixture
def process(settings: Settings, request: pytest.FixtureRequest) -> Iterator[MeasuringApart]:
    """One that behaves as the test's parameter says; see `processes`."""
    opened = MeasuringApart(settings, module=f"tests.acgs.mlops.processes.{request.param}", seconds=60)
    yield opened
    opened.close()


def signed_document(settings: Settings, process: MeasuringApart, version: tuple[Record, list[HeldOutRow]]) -> Any:
    record, rows = version
    manager = MLOpsManager(settings, measuring=process)
    signed = manager.stage_model("triage", record.facts.version, data=rows, limits=LIMITS)
    return manager.deployments.document(signed.document.digest()).document


def measured(body: dict[str, Any]) -> dict[tuple[str, str], float]:
    """The figures that do not depend on time or memory."""
    kinds = ("performance_metrics", "constitutional_compliance")
    return {(r["validation_type"], r["measure"]): r["score"] for r in body["results"] if r["validation_type"] in kinds}


def test_a_version_is_staged_and_compared_in_another_process_as_in_this_one(
    settings: Settings, version: tuple[Record, list[HeldOutRow]]
) -> None:
    first, rows = version
    second, _ = made(settings, 0.9)
    apart = MeasuringApart(settings)
    told: dict[str, list[str]] = {"here": [], "there": []}

    def staged(manager: MLOpsManager, where: str) -> Document:
        act = manager.stage_model
        return act("triage", first.facts.version, data=rows, limits=LIMITS, told=told[where].append).document

    here = staged(MLOpsManager(settings), "here")
    there = staged(MLOpsManager(settings, measuring=apart), "there")
    assert measured(there.body) == measured(here.body)
    assert told["there"] == told["here"] != []
    assert there.made_by == here.made_by
    evidence = apart.compare(first, second, rows, seed=3, timed_seconds=0.5)
    assert (evidence.baseline.version, evidence.candidate.version) == (first.facts.version, second.facts.version)
    assert evidence.quality is not None
    assert len(evidence.quality.queries) == len(rows)


DEATHS = pytest.mark.parametrize(
    ("process", "reason"),
    [
        ("crashes", "the process that loaded it died (signal 11)"),
        ("leaves", "the process that loaded it ended without an answer (exit 3); see the log"),
    ],
    indirect=["process"],
)


@DEATHS
def test_a_version_that_ends_the_process_is_not_known_to_be_good_and_that_is_on_record(
    settings: Settings, process: MeasuringApart, reason: str, version: tuple[Record, list[HeldOutRow]]
) -> None:
    document = signed_document(settings, process, version)
    assert (document.verdict, document.attempt) == ("INSUFFICIENT", None)
    (result,) = document.body["results"]
    assert (result["validation_type"], result["verdict"]) == ("health_check", "INSUFFICIENT")
    assert result["reason"] == reason
    with pytest.raises(NotReleasableError, match="says INSUFFICIENT"):
        MLOpsManager(settings).deploy_model("triage", document.version)


@DEATHS
def test_a_contract_whose_process_ends_is_signed_as_not_known_and_blocks_though_one_passed_before(
    platform: Platform, process: MeasuringApart, reason: str
) -> None:
    here, settings = platform.manager, platform.manager.settings
    first, held_out = made(settings)
    second, _ = made(settings, 0.9)
    for record in (first, second):
        here.stage_model("triage", record.facts.version, data=held_out, limits=LIMITS)
    here.deploy_model("triage", first.facts.version, plan=RampPlan(steps=(100,), watch_seconds=0))
    name = second.facts.version
    here.check_contract("triage", name, data=held_out, timed_seconds=0.01)
    died = MLOpsManager(settings, measuring=process).check_contract("triage", name, data=held_out).document
    assert (died.verdict, died.attempt, died.body) == ("INSUFFICIENT", None, {"nothing_measured": reason})
    with pytest.raises(NotReleasableError, match=f"says INSUFFICIENT: see 'acgs release document {died.digest()}'"):
        here.deploy_model("triage", name)


@pytest.mark.parametrize("module", ["hangs"])
def test_a_version_that_never_comes_back_is_ended_and_does_not_pass(
    settings: Settings, module: str, version: tuple[Record, list[HeldOutRow]]
) -> None:
    process = MeasuringApart(settings, module=f"tests.acgs.mlops.processes.{module}", seconds=1.5)
    document = signed_document(settings, process, version)
    assert document.verdict == "INSUFFICIENT"
    assert "not done within 1.5 s (ACGS_STAGING_SECONDS) and was ended" in document.body["results"][0]["reason"]
    with pytest.raises(DiedError, match="was ended"):
        process.compare(version[0], version[0], version[1], seed=0, timed_seconds=1.0)


@pytest.mark.parametrize("process", ["hangs"], indirect=True)
def test_one_version_at_a_time_is_measured_and_the_end_of_the_service_ends_it(
    process: MeasuringApart, version: tuple[Record, list[HeldOutRow]]
) -> None:
    faults: list[str] = []

    def first() -> None:
        try:
            process.stage(version[0], version[1], LIMITS, confidence=0.95, told=lambda _: None)
        except UnavailableError as error:
            faults.append(error.message)

    thread = threading.Thread(target=first)
    thread.start()
    while process._running is None:
        thread.join(0.01)
    with pytest.raises(RateLimitedError) as caught:
        process.compare(version[0], version[0], version[1], seed=0, timed_seconds=1.0)
    assert caught.value.retry_after > 0
    process.close()
    thread.join(60)
    assert len(faults) == 1
    assert "the service stops" in faults[0]


def test_a_fault_of_the_request_comes_back_as_it_would_from_this_process(
    settings: Settings, version: tuple[Record, list[HeldOutRow]]
) -> None:
    record, rows = version
    apart = MeasuringApart(settings)
    unlabelled = [row.model_copy(update={"label": None}) for row in rows]
    second, _ = made(settings, 0.9)
    with pytest.raises(InvalidInputError, match="has a label") as caught:
        apart.compare(record, second, unlabelled, seed=0, timed_seconds=0.5)
    assert (caught.value.code, caught.value.field) == ("validation", "label")
