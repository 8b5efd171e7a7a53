"""After the signing key was replaced, what it signed before still verifies, and what it signs later does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.keys import SigningKey
from acgs.audit.rotation import rotate_signing_key
from acgs.audit.trust import published_keys
from acgs.errors import IntegrityError
from acgs.mlops import MLOpsManager
from acgs.registry.lifecycle import LifecycleEvent
from acgs.release.approvals import sign_approval
from acgs.release.documents import sign_document
from acgs.release.history import Check, ReleaseHistory, verify_history
from acgs.release.requirements import NotReleasableError
from acgs.release.trust import OVERRIDE, STAGED
from acgs.security.roles import PERMISSIONS, Caller, Role
from acgs.serving.deployments.record import Approval, RampPlan
from acgs.settings import Settings
from tests.acgs.mlops.conftest import Platform
from tests.acgs.mlops.test_life import LIMITS, logistic, train

AT_ONCE = RampPlan(steps=(100,), watch_seconds=0)


def rotated(manager: MLOpsManager) -> tuple[MLOpsManager, SigningKey]:
    """The installation as it is after a restart, and the key that was retired."""
    audit, earlier = audit_directory(manager.settings), signing_key(manager.settings)
    rotate_signing_key(audit, audit.signing_key, actor="root")
    return MLOpsManager(manager.settings), earlier


def checked(manager: MLOpsManager, history: ReleaseHistory) -> Check:
    key = signing_key(manager.settings).public
    return verify_history(history, key, published_keys(audit_directory(manager.settings)))


def test_versions_documents_and_histories_hold_over_two_rotations(platform: Platform) -> None:
    manager = platform.manager
    version, held_out = train(manager, logistic(1.0))
    manager.stage_model("triage", version, data=held_out, limits=LIMITS)
    for _ in range(2):
        manager, _ = rotated(manager)
        assert manager.registry.verify(f"triage@{version}").holds
        manager.registry.fetch(f"triage@{version}")
    platform.manager.deploy_model("triage", version, plan=AT_ONCE)
    history = manager.history("triage")
    assert len(history.retired_keys) == 2
    check = checked(manager, ReleaseHistory.model_validate_json(history.model_dump_json()))
    assert check.holds, check.faults
    without = history.model_copy(update={"retired_keys": ()})
    assert any("retired" in fault for fault in checked(manager, without).faults)


def test_two_approvals_from_before_still_let_a_failed_version_go_on(platform: Platform) -> None:
    manager = platform.manager
    version, held_out = train(manager, logistic(1.0))
    limits = LIMITS.model_copy(update={"metrics": {"accuracy": 1.0}})
    document = manager.stage_model("triage", version, data=held_out, limits=limits).document
    assert document.verdict != "PASS"
    callers = [Caller(who, frozenset({Role.APPROVER}), f"{who}-1", PERMISSIONS[Role.APPROVER]) for who in "abc"]
    manager.acting_as(callers[0]).approve(document.digest(), reason="known bias")
    manager, _ = rotated(manager)
    with pytest.raises(NotReleasableError, match=r"\(1 did"):
        manager.deploy_model("triage", version, plan=AT_ONCE)
    assert manager.acting_as(callers[1]).approve(document.digest(), reason="known bias") == 2
    manager.deploy_model("triage", version, plan=AT_ONCE)
    check = checked(manager, manager.history("triage"))
    assert check.holds, check.faults


def test_what_a_retired_key_signs_later_counts_for_nothing_whatever_its_date(
    platform: Platform,
) -> None:
    manager = platform.manager
    version, held_out = train(manager, logistic(1.0))
    limits = LIMITS.model_copy(update={"metrics": {"accuracy": 1.0}})
    failed = manager.stage_model("triage", version, data=held_out, limits=limits).document
    manager, stolen = rotated(manager)
    earlier = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    forged = failed.model_copy(update={"verdict": "PASS", "made_at": earlier})
    event = LifecycleEvent(STAGED, "eve", "triage", version, {"document": forged.digest()}, occurred_at=earlier)
    for who in ("ada", "bob"):
        given = Approval(actor=who, document=failed.digest(), reason="fine", at=earlier, token_id=f"{who}-1")
        details = sign_approval(given, stolen).model_dump(include={"document", "reason", "token_id", "signature"})
        manager.registry.events.append(LifecycleEvent(OVERRIDE, who, "triage", version, details, occurred_at=earlier))
    with pytest.raises(NotReleasableError, match="2 on record without a signature that holds"):
        manager.deploy_model("triage", version, plan=AT_ONCE)
    manager.deployments.add_document(sign_document(forged, stolen), event)
    manager.registry.carry_over()
    manager.history("triage")  # sequences the log
    with pytest.raises(IntegrityError, match="by a retired one without the audit log holding it"):
        manager.deploy_model("triage", version, plan=AT_ONCE)


def test_a_version_signed_by_a_retired_key_after_its_end_is_not_brought(platform: Platform, tmp_path: Path) -> None:
    manager = platform.manager
    train(manager, logistic(1.0))
    behind = MLOpsManager(manager.settings)
    assert behind.registry.public_keys.ed25519.key_id == signing_key(manager.settings).public.key_id
    rotated(manager)
    later, _ = train(behind, logistic(0.9))
    manager = MLOpsManager(Settings(state_dir=manager.settings.state_dir))
    manager.history("triage")
    assert not manager.registry.verify(f"triage@{later}").holds
    with pytest.raises(IntegrityError):
        manager.registry.fetch(f"triage@{later}")
    assert manager.registry.verify("triage@1.0.0").holds
