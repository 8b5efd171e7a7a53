from __future__ import annotations

import pytest

from acgs.security.roles import PERMISSIONS, Caller, ForbiddenError, Permission, Role


def caller(*roles: Role) -> Caller:
    return Caller("mia", frozenset(roles), "1")


def test_every_role_is_defined_and_only_the_administrator_may_do_everything() -> None:
    assert PERMISSIONS.keys() == set(Role)
    assert [role for role in Role if PERMISSIONS[role] == set(Permission)] == [Role.ADMIN]


def test_nobody_but_an_administrator_both_trains_and_releases() -> None:
    both = {Permission.MODEL_TRAINING, Permission.MODEL_RELEASE}
    assert [role for role in Role if both <= PERMISSIONS[role]] == [Role.ADMIN]


def test_a_viewer_changes_nothing() -> None:
    assert PERMISSIONS[Role.VIEWER] == {Permission.TRAINING_READ, Permission.TRAINING_READ_ALL}


def test_roles_add_up() -> None:
    both = caller(Role.TRAINER, Role.RELEASER)
    assert both.may(Permission.MODEL_TRAINING)
    assert both.may(Permission.MODEL_RELEASE)
    assert not both.may(Permission.TRAINING_CANCEL_ALL)


def test_a_missing_permission_is_refused_by_name() -> None:
    caller(Role.TRAINER).require(Permission.MODEL_TRAINING)
    with pytest.raises(ForbiddenError, match="model_training"):
        caller(Role.VIEWER).require(Permission.MODEL_TRAINING)
    with pytest.raises(ForbiddenError):
        caller().require(Permission.TRAINING_READ)
