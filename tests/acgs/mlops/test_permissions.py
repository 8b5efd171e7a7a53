"""Who may do what through the Python interface: every public method is in a table, like every route and command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import AcgsError
from acgs.mlops import MLOpsManager, train_and_version_model
from acgs.release.policy import ReleasePolicy
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import PERMISSIONS, Caller, ForbiddenError, Permission, Role
from acgs.security.tokens import AuthenticationError
from acgs.settings import Settings

Act = Callable[[MLOpsManager], Any]

READS = {
    "get_model_status", "get_mlops_dashboard", "history", "published", "follow", "routers_follow", "act", "acting_as",
    "registry", "constitution", "release_policy",
}  # fmt: skip
TOO_LONG = ReleasePolicy.model_validate({"models": {f"m{number:0>120}": {} for number in range(600)}})
CHANGES: Mapping[str, tuple[Permission, Act]] = {
    "create_model_version": (Permission.MODEL_CREATE, lambda m: m.create_model_version("triage", Path("absent"))),
    "stage_model": (Permission.MODEL_RELEASE, lambda m: m.stage_model("triage", "1.0.0", data=Path("absent"))),
    "check_contract": (Permission.MODEL_RELEASE, lambda m: m.check_contract("triage", "1.0.0", data=Path("absent"))),
    "deploy_model": (Permission.MODEL_RELEASE, lambda m: m.deploy_model("triage", "1.0.0")),
    "rollback_model": (Permission.MODEL_RELEASE, lambda m: m.rollback_model("triage", reason="complaints")),
    "approve": (Permission.MODEL_APPROVE, lambda m: m.approve("0" * 64, reason="known bias")),
    "hold": (Permission.MODEL_RELEASE, lambda m: m.hold("triage", "1.0.0", reason="case 7")),
    "lift_hold": (Permission.MODEL_RELEASE, lambda m: m.lift_hold("triage", "1.0.0")),
    "adopt_release_policy": (Permission.RELEASE_RULE, lambda m: m.adopt_release_policy(TOO_LONG)),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, database_url=None)


def refuses(manager: MLOpsManager, act: Act) -> bool:
    """Whether it is the permission that is missing; what is let in fails for want of a model."""
    with pytest.raises((AcgsError, OSError)) as caught:
        act(manager)
    return isinstance(caught.value, ForbiddenError)


def test_every_public_method_is_in_the_table() -> None:
    public = {name for name, _ in inspect.getmembers(MLOpsManager) if not name.startswith("_")}
    assert public == READS | CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_for_whom_the_table_says(settings: Settings, name: str) -> None:
    permission, act = CHANGES[name]
    manager = MLOpsManager(settings)
    refused = {role for role in Role if refuses(manager.acting_as(Caller("mia", frozenset({role}), "1")), act)}
    assert refused == {role for role in Role if permission not in PERMISSIONS[role]}


@pytest.mark.parametrize("name", CHANGES)
def test_without_a_caller_a_token_is_asked_for_once_there_are_keys(settings: Settings, name: str) -> None:
    permission, act = CHANGES[name]
    manager = MLOpsManager(settings)
    assert refuses(manager, act) == (permission is Permission.MODEL_APPROVE)
    TokenIssuer.open(settings).rotate()
    with pytest.raises(AuthenticationError):
        act(manager)


def test_nothing_is_fitted_for_one_who_may_not_register_it(settings: Settings) -> None:
    class Estimator:
        def fit(self, *_: object) -> None:
            raise AssertionError("fitted")

    manager = MLOpsManager(settings, caller=Caller("mia", frozenset({Role.OPERATOR}), "1"))
    rows, labels = [[float(n)] for n in range(40)], [n % 2 for n in range(40)]
    with pytest.raises(ForbiddenError):
        train_and_version_model(rows, labels, "triage", estimator=Estimator(), manager=manager)
