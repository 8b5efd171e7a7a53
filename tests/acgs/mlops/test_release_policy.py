"""The owner's policy holds for whoever stages, judges and promotes, from the moment it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from acgs.audit.installation import audit_directory
from acgs.audit.rotation import rotate_signing_key
from acgs.errors import InvalidInputError, UnavailableError
from acgs.mlops import MLOpsManager
from acgs.release.model_contract import ModelMargins
from acgs.release.policy import ReleasePolicy
from acgs.release.promotion import begin
from acgs.release.requirements import NotReleasableError
from acgs.release.staging.held_out import read_held_out
from acgs.serving.deployments.record import Deployment, DeploymentStatus, RampPlan
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from tests.acgs.mlops.conftest import Platform
from tests.acgs.mlops.test_life import AT_ONCE, LIMITS, MARGINS, logistic, train

FLIP = RampPlan(steps=(100,), watch_seconds=0)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text("models: {triage: {margins: {p95_ms: 500, p99_ms: 900}}}")
    file.chmod(0o644)
    return file


@pytest.fixture
def governed(policy: Path, platform: Platform) -> Platform:
    platform.manager.settings = Settings(state_dir=platform.manager.settings.state_dir, release_policy_path=policy)
    return platform


def one_live_and_one_held_against_it(manager: MLOpsManager) -> tuple[str, str, Path]:
    """Both versions, and their held-out rows."""
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.9))
    for version in (first, second):
        manager.stage_model("triage", version, data=held_out, limits=LIMITS)
    manager.deploy_model("triage", first, plan=FLIP)
    manager.check_contract("triage", second, data=held_out, margins=MARGINS, waived={"calibration": "too few rows"})
    return first, second, held_out


def test_a_version_is_promoted_under_the_policy_that_its_documents_were_made_under(
    governed: Platform, policy: Path
) -> None:
    manager = governed.manager
    first, held_out = train(manager, logistic(1.0))
    second, _ = train(manager, logistic(0.9))
    staged = manager.stage_model("triage", first, data=held_out, limits=LIMITS).document
    rules = manager.release_policy().policy.rules_for("triage")
    assert (staged.policy_digest, staged.verdict) == (rules.digest(), "PASS")
    manager.deploy_model("triage", first, plan=FLIP)
    manager.stage_model("triage", second, data=held_out, limits=LIMITS)
    others = read_held_out(held_out)[1:]
    waived = {"calibration": "too few rows"}
    with pytest.raises(InvalidInputError, match="other held-out rows"):
        manager.check_contract("triage", second, data=others, margins=MARGINS, waived=waived)
    with pytest.raises(InvalidInputError, match=r"margins\.quality"):
        manager.check_contract("triage", second, data=held_out, margins=ModelMargins(quality=0.1), waived=waived)
    held = manager.check_contract("triage", second, data=held_out, margins=MARGINS, waived=waived).document
    assert (held.policy_digest, held.data_digest) == (rules.digest(), staged.data_digest)

    # A rule of another model changes nothing for this one; a rule of this one does.
    policy.write_text("models: {triage: {margins: {p95_ms: 500, p99_ms: 900}}, intake: {fewest_rows: 900}}")
    with pytest.raises(InvalidInputError, match=r"plan\.error_margin"):
        manager.deploy_model("triage", second, plan=AT_ONCE.model_copy(update={"error_margin": 0.9}))
    manager.deploy_model("triage", second, plan=AT_ONCE)
    assert governed.ask("triage", [0.0, 0.0, 0.0, 0.0])[0] == second
    policy.write_text("models: {triage: {margins: {p95_ms: 500, p99_ms: 900}, fewest_rows: 101}}")
    manager.rollback_model("triage", reason="complaints")
    with pytest.raises(NotReleasableError, match=f"another release policy .* stage triage@{second}"):
        manager.deploy_model("triage", second, plan=AT_ONCE)


def test_while_nobody_can_tell_what_the_policy_says_nothing_goes_out_but_everything_can_come_back(
    governed: Platform, policy: Path
) -> None:
    manager = governed.manager
    first, second, held_out = one_live_and_one_held_against_it(manager)
    manager.deploy_model("triage", second, plan=FLIP)

    policy.write_text("models: {triage: {margin: {}}}")
    before = manager.deployments.documents("triage", first, "staging")
    acts = (
        lambda: manager.stage_model("triage", first, data=held_out, limits=LIMITS),
        lambda: manager.check_contract("triage", first, data=held_out, margins=MARGINS),
        lambda: manager.deploy_model("triage", first, plan=FLIP),
    )
    for act in acts:
        with pytest.raises(UnavailableError, match=r"models\.triage\.margin"):
            act()
    assert manager.deployments.documents("triage", first, "staging") == before
    manager.rollback_model("triage", reason="complaints")
    assert governed.ask("triage", [0.0, 0.0, 0.0, 0.0])[0] == first


def test_an_adopted_policy_holds_whatever_the_environment_names(
    platform: Platform, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    strict = ReleasePolicy.model_validate({"every_model": {"fewest_rows": 900}})
    found = manager.adopt_release_policy(strict)
    assert (found.policy, found.source[:10]) == (strict, "adopted by")
    assert manager.release_policy().policy == strict
    with pytest.raises(InvalidInputError, match="fewer than 900"):
        manager.stage_model("triage", first, data=held_out, limits=LIMITS)

    # A process whose environment names another file does nothing; one that names the same file goes on.
    other = MLOpsManager(Settings(state_dir=manager.settings.state_dir, release_policy_path=policy))
    with pytest.raises(UnavailableError, match="not the release policy in force"):
        other.stage_model("triage", first, data=held_out, limits=LIMITS)
    policy.write_text("every_model: {fewest_rows: 900}")
    assert other.release_policy().policy == strict
    manager.adopt_release_policy(ReleasePolicy())
    assert manager.stage_model("triage", first, data=held_out, limits=LIMITS).document.verdict == "PASS"


CHANGED, UNKNOWN = "its grounds changed while it began", "its grounds could not be looked at again"
CHANGES = {"another policy": CHANGED, "a policy that nobody can read": UNKNOWN, "a later document": CHANGED}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_grounds_while_a_promotion_begins_takes_it_back(
    governed: Platform, policy: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    manager = governed.manager
    first, second, held_out = one_live_and_one_held_against_it(manager)

    def changed_and_begun(*arguments: Any, **options: Any) -> Deployment:
        if change == "another policy":
            policy.write_text("models: {triage: {margins: {p95_ms: 500, p99_ms: 900}, fewest_rows: 101}}")
        elif change == "a policy that nobody can read":
            policy.write_text("models: {triage: {margin: {}}}")
        else:
            assert manager.check_contract("triage", second, data=held_out, margins=MARGINS).document.verdict != "PASS"
        return begin(*arguments, **options)

    monkeypatch.setattr("acgs.mlops.manager.begin", changed_and_begun)
    with pytest.raises((NotReleasableError, UnavailableError)):
        manager.deploy_model("triage", second, plan=FLIP)
    taken_back = manager.deployments.of_model("triage", limit=1)[0]
    assert (taken_back.version, taken_back.active, taken_back.status) == (second, False, DeploymentStatus.FAILED)
    assert taken_back.reason.startswith(CHANGES[change])
    assert governed.ask("triage", [0.0, 0.0, 0.0, 0.0])[0] == first


def test_a_promotion_that_somebody_took_back_meanwhile_is_not_taken_back_twice(
    governed: Platform, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = governed.manager
    _, second, held_out = one_live_and_one_held_against_it(manager)
    manager.deploy_model("triage", second, plan=FLIP)
    third, _ = train(manager, logistic(0.8))
    manager.stage_model("triage", third, data=held_out, limits=LIMITS)
    manager.check_contract("triage", third, data=held_out, margins=MARGINS, waived={"calibration": "too few rows"})

    def begun_and_taken_back(*arguments: Any, **options: Any) -> Deployment:
        started = begin(*arguments, **options)
        policy.write_text("models: {triage: {margins: {p95_ms: 500, p99_ms: 900}, fewest_rows: 101}}")
        manager.rollback_model("triage", reason="stop")
        return started

    monkeypatch.setattr("acgs.mlops.manager.begin", begun_and_taken_back)
    with pytest.raises(NotReleasableError):
        manager.deploy_model("triage", third, plan=FLIP)
    assert manager.deployments.active() == []
    assert governed.ask("triage", [0.0, 0.0, 0.0, 0.0])[0] == second


CHANGE = "UPDATE lifecycle_events SET details = replace(details, '900', '30') WHERE kind = 'release.policy.adopted'"
REMOVE = "DELETE FROM lifecycle_events WHERE kind = 'release.policy.adopted'"
REMOVE_LAST = f"{REMOVE} AND number = (SELECT max(number) FROM lifecycle_events WHERE kind = 'release.policy.adopted')"
FORGE = (
    "INSERT INTO lifecycle_events (number, event_id, kind, actor, name, details, occurred_at, audited_at) "
    "SELECT 99, '6f1c1a52-6f3e-4a5e-9d0a-0e9a3c1c7a11', kind, 'eve', name, replace(details, '900', '30'), occurred_at, "
    "audited_at FROM lifecycle_events WHERE kind = 'release.policy.adopted'"
)


@pytest.mark.parametrize("tampering", [CHANGE, REMOVE, REMOVE_LAST, FORGE])
def test_an_adoption_that_was_changed_forged_or_taken_away_in_the_database_means_no(
    platform: Platform, tampering: str
) -> None:
    manager = platform.manager
    first, held_out = train(manager, logistic(1.0))
    if tampering == REMOVE_LAST:
        manager.adopt_release_policy(ReleasePolicy())
    strict = ReleasePolicy.model_validate({"every_model": {"fewest_rows": 900}})
    manager.adopt_release_policy(strict)
    with open_engine(configured_url(manager.settings)).begin() as connection:
        for trigger in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER lifecycle_events_no_{trigger}"))
        connection.execute(text(tampering))
    with pytest.raises(UnavailableError, match="until an administrator"):
        manager.stage_model("triage", first, data=held_out, limits=LIMITS)
    manager.adopt_release_policy(strict)
    assert manager.release_policy().policy == strict


def test_an_adoption_outlives_the_key_that_signed_it(platform: Platform) -> None:
    manager = platform.manager
    strict = ReleasePolicy.model_validate({"every_model": {"fewest_rows": 900}})
    manager.adopt_release_policy(strict)
    audit = audit_directory(manager.settings)
    rotate_signing_key(audit, audit.signing_key, actor="root")
    assert MLOpsManager(manager.settings).release_policy().policy == strict
