from __future__ import annotations

import pytest

from acgs.security.roles import PERMISSIONS, Caller, ForbiddenError, Permission, Role


def caller(*roles: Role) -> Caller:
    return Caller("mia", frozenset(roles), "1")


def test_every_role_is_defined_and_only_the_administrator_may_do_everything() -> None:
    assert PERMISSIONS.keys() == set(Role)
    assert [role for role in Role if PERMISSIONS[role] == set(Permission)] == [Role.ADMIN]


def test_nobody_but_an_administrator_both_trains_and_releases() -> None:
    trains = {Permission.MODEL_TRAINING, Permission.MODEL_CREATE}
    for role in set(Role) - {Role.ADMIN}:
        assert not (trains & PERMISSIONS[role] and Permission.MODEL_RELEASE in PERMISSIONS[role])


def test_nobody_but_an_administrator_both_releases_and_approves() -> None:
    both = {Permission.MODEL_RELEASE, Permission.MODEL_APPROVE}
    assert [role for role in Role if both <= PERMISSIONS[role]] == [Role.ADMIN]


def test_a_viewer_changes_nothing_and_everybody_sees_models() -> None:
    reads = {Permission.TRAINING_READ, Permission.TRAINING_READ_ALL, Permission.MODEL_READ}
    assert PERMISSIONS[Role.VIEWER] == reads
    assert all(Permission.MODEL_READ in permissions for permissions in PERMISSIONS.values())


def test_what_concerns_everybody_is_the_administrators() -> None:
    for permission in (
        Permission.RELEASE_RULE,
        Permission.MODEL_COLLECT,
        Permission.WEBHOOK_MANAGE,
        Permission.TRAINING_CANCEL_ALL,
    ):
        assert [role for role in Role if permission in PERMISSIONS[role]] == [Role.ADMIN]


def test_what_is_granted_needs_no_role() -> None:
    granted = Caller("mia", frozenset(), None, frozenset({Permission.MODEL_CREATE}))
    assert granted.may(Permission.MODEL_CREATE)
    assert not granted.may(Permission.MODEL_APPROVE)


def test_roles_add_up() -> None:
    both = caller(Role.TRAINER, Role.OPERATOR)
    assert both.may(Permission.MODEL_TRAINING)
    assert both.may(Permission.MODEL_RELEASE)
    assert not both.may(Permission.TRAINING_CANCEL_ALL)


def test_a_missing_permission_is_refused_by_name() -> None:
    caller(Role.TRAINER).require(Permission.MODEL_TRAINING)
    with pytest.raises(ForbiddenError, match=r"model_training.*trainer or admin"):
        caller(Role.VIEWER).require(Permission.MODEL_TRAINING)
    with pytest.raises(ForbiddenError):
        caller().require(Permission.TRAINING_READ)
