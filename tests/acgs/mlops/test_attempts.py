"""Whoever stages or compares again is judged more strictly, and only so often as the policy allows."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from acgs.errors import UnavailableError
from acgs.mlops import MLOpsManager
from acgs.mlops.measuring import MeasuringHere
from acgs.registry.catalogue import Record
from acgs.release.attempts import confidence_of
from acgs.release.policy import ModelRules, ReleasePolicy
from acgs.release.staging.held_out import HeldOutRow, read_held_out
from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.run import StagingReport, Told
from acgs.serving.deployments.attempts import AttemptsSpentError
from acgs.serving.deployments.documents import Document
from acgs.serving.deployments.record import RampPlan
from acgs.settings import Settings
from tests.acgs.mlops.conftest import Platform
from tests.acgs.mlops.test_life import LIMITS, MARGINS, logistic, train


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def manager(settings: Settings) -> MLOpsManager:
    return MLOpsManager(settings)


def staged(manager: MLOpsManager, version: str, rows: Path | Sequence[HeldOutRow]) -> Document:
    return manager.stage_model("triage", version, data=rows, limits=LIMITS).document


def test_each_attempt_at_staging_is_counted_and_judged_more_strictly_whatever_it_said(manager: MLOpsManager) -> None:
    version, held_out = train(manager, logistic(1.0))
    rows = read_held_out(held_out)
    wrong = [row.model_copy(update={"label": 1 - row.label}) for row in rows]
    documents = [staged(manager, version, data) for data in (wrong, rows[:100], rows)]
    assert [document.attempt for document in documents] == [1, 2, 3]
    assert [document.confidence for document in documents] == [confidence_of(1), confidence_of(2), confidence_of(3)]
    assert documents[0].verdict == "FAIL"
    accuracy = [next(r for r in d.body["results"] if r["measure"] == "accuracy") for d in documents]  # type: ignore[index,call-overload,union-attr]
    assert accuracy[2]["upper"] > accuracy[2]["score"] > accuracy[2]["lower"]  # type: ignore[index,call-overload,operator]
    assert documents[2].body["confidence"] == confidence_of(3)


def test_when_all_attempts_are_spent_no_further_document_is_made(settings: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("every_model: {most_attempts: 1}")
    policy.chmod(0o644)
    manager = MLOpsManager(settings.model_copy(update={"release_policy_path": policy}))
    version, held_out = train(manager, logistic(1.0))
    first = staged(manager, version, held_out)
    same_files = manager.create_model_version("triage", manager.registry.fetch(f"triage@{version}"))
    for again in (version, same_files["version"]):
        with pytest.raises(AttemptsSpentError, match="the release policy allows 1"):
            staged(manager, again, held_out)
    kept = manager.deployments.documents("triage", version, "staging")
    assert [signed.document for signed in kept] == [first]


def test_contracts_are_counted_for_themselves_and_each_guard_has_the_confidence_of_its_attempt(
    platform: Platform,
) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.9))
    staged(manager, first, held_out)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    for attempt in (1, 2):
        found = manager.check_contract("triage", second, data=held_out, margins=MARGINS, timed_seconds=0.01).document
        parts = found.body["report"]["result"]["parts"]  # type: ignore[index,call-overload]
        assert (found.attempt, found.confidence) == (attempt, confidence_of(attempt))
        assert {part["confidence"] for part in parts} == {confidence_of(attempt)}  # type: ignore[index,call-overload,union-attr]


def test_all_that_is_tried_of_a_model_until_its_next_promotion_can_be_made_to_count_together(
    platform: Platform,
) -> None:
    manager = platform.manager
    manager.adopt_release_policy(ReleasePolicy(every_model=ModelRules(attempts_of="model")))
    versions = [train(manager, logistic(strength)) for strength in (1.0, 0.9, 0.8)]
    assert [staged(manager, *version).attempt for version in versions[:2]] == [1, 2]
    at_once = RampPlan(steps=(100,), watch_seconds=0)
    first, second = versions[0][0], versions[1][0]
    manager.deploy_model("triage", second, plan=at_once)
    assert staged(manager, *versions[2]).attempt == 1
    # Going to and fro between what was live already begins nothing anew.
    held_out = versions[0][1]
    for live in (first, second):
        manager.check_contract("triage", live, data=held_out, margins=MARGINS, waived={"calibration": "few rows"})
        manager.deploy_model("triage", live, plan=at_once)
    fourth = train(manager, logistic(0.7))
    assert staged(manager, *fourth).attempt == 1
    manager.check_contract("triage", first, data=held_out, margins=MARGINS, waived={"calibration": "few rows"})
    manager.deploy_model("triage", first, plan=at_once)
    assert staged(manager, *train(manager, logistic(0.6))).attempt == 2


class Meeting(MeasuringHere):
    """Two who measure wait for each other in the middle."""

    def __init__(self, manager: MLOpsManager) -> None:
        super().__init__(lambda: manager.registry, lambda: manager._governor)
        self._both = threading.Barrier(2, timeout=60)

    def stage(
        self, record: Record, rows: Sequence[HeldOutRow], limits: StagingLimits, *, confidence: float, told: Told
    ) -> StagingReport:
        self._both.wait()
        return super().stage(record, rows, limits, confidence=confidence, told=told)


def test_two_who_stage_at_the_same_time_do_not_share_an_attempt(settings: Settings, manager: MLOpsManager) -> None:
    version, held_out = train(manager, logistic(1.0))
    together = MLOpsManager(settings, measuring=Meeting(manager))
    attempts: list[int | None] = []
    threads = [
        threading.Thread(target=lambda: attempts.append(staged(together, version, held_out).attempt)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(filter(None, attempts)) == [1, 2]


class Broken(MeasuringHere):
    """Breaks off before anything was asked."""

    def __init__(self) -> None:
        super().__init__(lambda: pytest.fail("opened"), lambda: pytest.fail("opened"))

    def stage(self, *_: object, **__: object) -> StagingReport:
        raise UnavailableError("the disk is full")


def test_an_attempt_in_which_nothing_was_measured_spends_nothing(settings: Settings, manager: MLOpsManager) -> None:
    version, held_out = train(manager, logistic(1.0))
    broken = MLOpsManager(settings, measuring=Broken())
    for _ in range(7):
        with pytest.raises(UnavailableError, match="disk is full"):
            staged(broken, version, held_out)
    assert staged(manager, version, held_out).attempt == 1
    told = manager.registry.events.events(name="triage", kinds=["release.attempt.given_back"])
    assert {event.details["reason"] for event in told} == {"the disk is full"}


def test_a_version_that_does_not_load_fails_and_spends_nothing(settings: Settings, manager: MLOpsManager) -> None:
    version, held_out = train(manager, logistic(1.0))
    for folder in (settings.state_dir / "artifacts", settings.state_dir / "model-cache"):
        shutil.rmtree(folder, ignore_errors=True)
    found = staged(MLOpsManager(settings), version, held_out)
    assert (found.verdict, found.attempt, found.confidence) == ("FAIL", None, None)
