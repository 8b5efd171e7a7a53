"""From a table to production and back, by the manager alone."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.trust import published_keys
from acgs.errors import InvalidInputError
from acgs.mlops import MLOpsManager, train_and_version_model
from acgs.release.history import ReleaseHistory, verify_history
from acgs.release.model_contract import ModelMargins
from acgs.release.requirements import NotReleasableError
from acgs.release.staging.limits import StagingLimits
from acgs.serving.deployments.record import DeploymentStatus, RampPlan
from acgs.storage.transactions import writing
from tests.acgs.mlops.conftest import Platform

LIMITS = StagingLimits(requests=100, callers=2)
AT_ONCE = RampPlan(steps=(100,), watch_seconds=600.0)
MARGINS = ModelMargins(quality=0.05, p95_ms=50.0, p99_ms=100.0)


def table(n: int = 2000, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(n, 4))
    return rows, (rows @ np.array([1.0, -1.0, 0.5, 0.0]) + 0.1 * draw.normal(size=n) > 0).astype(int)


def logistic(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength)


def train(manager: MLOpsManager, estimator: Any, **more: Any) -> tuple[str, Path]:
    trained = train_and_version_model(*table(), "triage", estimator=estimator, manager=manager, **more)
    return trained.version["version"], trained.held_out


def test_a_model_goes_from_a_table_to_production_is_replaced_and_comes_back(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    assert manager.stage_model("triage", first, data=held_out, limits=LIMITS).document.verdict == "PASS"
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    instance = table()[0][0].tolist()
    assert platform.ask("triage", instance)[0] == first

    second, _ = train(manager, logistic(0.1), parent=first)
    assert manager.stage_model("triage", second, data=held_out, limits=LIMITS).document.verdict == "PASS"
    with pytest.raises(NotReleasableError, match=f"not held against {first}"):
        manager.deploy_model("triage", second)
    contract = manager.check_contract(
        "triage", second, data=held_out, margins=MARGINS, waived={"calibration": "500 rows are too few for it"}
    )
    assert contract.document.baseline == first
    assert contract.document.verdict == "PASS", json.dumps(contract.document.body["report"], indent=1)
    manager.deploy_model("triage", second, plan=AT_ONCE)
    assert platform.ask("triage", instance)[0] == second
    assert manager.routers_follow(timeout=30.0)

    back = manager.rollback_model("triage", reason="complaints")
    assert back.status is DeploymentStatus.ROLLED_BACK
    assert platform.ask("triage", instance)[0] == first
    status = manager.get_model_status("triage")
    assert (status["live"], status["deployment"]["reason"]) == (first, "complaints")


def test_a_version_that_fails_on_real_traffic_comes_back_by_itself(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.5))
    for version in (first, second):
        manager.stage_model("triage", version, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    manager.check_contract("triage", second, data=held_out, margins=MARGINS, waived={"calibration": "too few rows"})
    plan = RampPlan(steps=(50, 100), observe_seconds=600.0, minimum_requests=20)
    started = manager.deploy_model("triage", second, plan=plan, wait=False)
    while manager.serving.latest().models["triage"].percent == 0:
        manager.controller.tick()
        threading.Event().wait(0.05)
    platform.count()
    worker = next(s.keeper for s in platform.slots.values() if s.keeper._workers["triage"].served.version == second)

    def broken(*_: Any) -> Any:
        raise RuntimeError("wrong answers")

    worker._workers["triage"].served._runtime.predict = broken  # type: ignore[method-assign]
    instance = table()[0][0].tolist()
    for caller in range(200):
        try:
            platform.ask("triage", instance, key=f"caller {caller}")
        except Exception:  # noqa: BLE001 - what fails is counted by the router
            continue
    platform.count()
    manager.controller.tick()
    ended = manager.deployments.get(started.deployment_id)
    assert ended.status is DeploymentStatus.ROLLED_BACK
    assert "errors beyond the baseline's" in ended.reason
    for caller in range(20):
        assert platform.ask("triage", instance, key=f"caller {caller}")[0] == first


def test_a_worse_version_fails_its_contract(platform: Platform) -> None:
    manager = platform.manager
    rows, labels = table()
    first = train_and_version_model(rows, labels, "triage", estimator=logistic(1.0), manager=manager)
    worse = train_and_version_model(rows[:, :], np.roll(labels, 7), "triage", estimator=logistic(1.0), manager=manager)
    version = first.version["version"]
    manager.stage_model("triage", version, data=first.held_out, limits=LIMITS)
    manager.deploy_model("triage", version, plan=RampPlan(steps=(100,), watch_seconds=0))
    with pytest.raises(InvalidInputError, match="live already"):
        manager.deploy_model("triage", version)
    found = manager.check_contract("triage", worse.version["version"], data=first.held_out)
    assert found.document.verdict == "FAIL"
    staged = manager.stage_model("triage", worse.version["version"], data=first.held_out, limits=LIMITS)
    assert staged.document.verdict == "FAIL"
    with pytest.raises(NotReleasableError, match="says FAIL"):
        manager.deploy_model("triage", worse.version["version"])


def test_what_was_live_when_and_why_verifies_offline(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    history = manager.history("triage")
    key = signing_key(manager.settings).public
    log_keys = published_keys(audit_directory(manager.settings))
    check = verify_history(history, key, log_keys)
    assert check.holds, check.faults
    assert (check.documents, check.unproven) == (1, 0)
    assert [span.version for span in history.live] == [None, first]

    told = history.model_dump_json()
    for old, new in ((f'"version":"{first}"', '"version":"9.9.9"'), ('"verdict":"PASS"', '"verdict":"FAIL"')):
        assert old in told
        assert not verify_history(ReleaseHistory.model_validate_json(told.replace(old, new)), key, log_keys).holds
    without = history.model_copy(update={"events": history.events[:1]})
    assert any("nothing tells why epoch" in fault for fault in verify_history(without, key, log_keys).faults)
    assert not verify_history(history.model_copy(update={"documents": ()}), key, log_keys).holds


def test_a_row_that_was_put_into_the_database_by_hand_is_found(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    table = manager.serving.latest()
    route = table.models["triage"].model_copy(update={"blue": "6.6.6"})
    manager.serving.append({"triage": route}, actor="eve", reason="")
    log_keys = published_keys(audit_directory(manager.settings)) if manager.history("triage") else ()
    check = verify_history(manager.history("triage"), signing_key(manager.settings).public, log_keys)
    assert any("nothing tells why epoch" in fault for fault in check.faults)


def test_a_later_staging_that_was_deleted_from_the_database_still_counts(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    assert manager.stage_model("triage", first, data=held_out, limits=LIMITS).document.verdict == "PASS"
    strict = LIMITS.model_copy(update={"metrics": {"accuracy": 1.0}})
    failed = manager.stage_model("triage", first, data=held_out, limits=strict).document
    assert failed.verdict != "PASS"
    with writing(manager.serving._engine, "test") as connection:  # replicas write meanwhile
        triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        for name in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
        deletion = text("DELETE FROM release_documents WHERE digest = :digest")
        assert connection.execute(deletion, {"digest": failed.digest()}).rowcount == 1
    with pytest.raises(NotReleasableError, match="is not the latest"):
        manager.deploy_model("triage", first, plan=AT_ONCE)


def test_the_dashboard_counts_and_says_null_for_what_was_not_measured(platform: Platform) -> None:
    manager = platform.manager
    empty = manager.get_mlops_dashboard()
    assert (empty["model_versions"], empty["deployment_success_rate"], empty["models"]) == (0, None, {})
    first, held_out = train(manager, logistic(1.0))
    manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    for _ in range(5):
        platform.ask("triage", table()[0][0].tolist())
    platform.count()
    shown = manager.get_mlops_dashboard()
    assert shown["deployment_success_rate"] == 1.0
    assert shown["models"]["triage"]["live"] == first
    assert shown["models"]["triage"]["traffic"][first]["requests"] == 5


@pytest.mark.parametrize(
    ("rows", "labels", "field"),
    [
        (np.zeros((5, 2)), np.zeros(5), "X"),
        (np.zeros((50, 2)), np.zeros(49), "y"),
        (np.zeros((50, 2)), np.zeros(50, dtype=int), "y"),
        ([["a"]] * 50, [0, 1] * 25, "X"),
        (np.zeros((50, 2)), np.full(50, np.nan), "y"),
        (np.array([[np.inf, 0.0]] * 50), np.arange(50) % 2, "X"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(platform: Platform, rows: Any, labels: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        train_and_version_model(rows, labels, "triage", manager=platform.manager)
    assert refused.value.field == field
    assert platform.manager.registry.find() == []


@pytest.mark.parametrize("estimator", [None, "lightgbm"])
@pytest.mark.parametrize("measured", [False, True])
def test_metrics_are_of_the_rows_kept_back(platform: Platform, estimator: Any, measured: bool) -> None:
    rows, labels = table(300)
    target = rows[:, 0] * 3.0 if measured else labels
    trained = train_and_version_model(rows, target, "triage", estimator=estimator, manager=platform.manager)
    kept = [json.loads(line) for line in trained.held_out.read_text().splitlines()]
    assert len(kept) == 86
    folder = platform.manager.registry.fetch(f"triage@{trained.version['version']}")
    from acgs.serving.served import load_version

    served = load_version("triage", "1.0.0", folder, lambda *_: folder)
    answers = served.predict([row["input"] for row in kept], {}).values
    if measured:
        mae = float(np.mean([abs(a - row["label"]) for a, row in zip(answers, kept, strict=True)]))
        assert trained.version["performance_metrics"]["mae"] == pytest.approx(mae)
    else:
        right = np.mean([a == row["label"] for a, row in zip(answers, kept, strict=True)])
        assert trained.version["performance_metrics"]["accuracy"] == pytest.approx(float(right))


def test_the_rows_kept_back_are_their_owners_alone(platform: Platform) -> None:
    _, held_out = train(platform.manager, logistic(1.0))
    assert held_out.stat().st_mode & 0o777 == 0o600
    assert held_out.parent.stat().st_mode & 0o777 == 0o700


def test_a_guard_is_waived_only_with_a_reason_and_only_where_it_may_mean_nothing(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.5))
    manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    for waived in ({"calibration": " "}, {"quality, all rows": "we know better"}):
        with pytest.raises(InvalidInputError, match="waiver"):
            manager.check_contract("triage", second, data=held_out, waived=waived)


def test_the_timing_of_slow_models_ends_and_decides_nothing(platform: Platform) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.9))
    manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=RampPlan(steps=(100,), watch_seconds=0))
    found = manager.check_contract("triage", second, data=held_out, timed_seconds=0.01).document
    parts = {part["guard"]: part["verdict"] for part in found.body["report"]["result"]["parts"]}  # type: ignore[index,call-overload]
    assert parts["latency, p95"] == parts["latency, p99"] == "INSUFFICIENT"
    assert found.verdict != "PASS"
