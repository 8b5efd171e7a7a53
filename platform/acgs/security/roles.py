"""Roles, what they permit, and the caller that a verified token names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from acgs.errors import AcgsError


class Permission(StrEnum):
    """What a caller may do."""

    TRAINING_READ = "training_read"
    """See one's own training sessions."""
    TRAINING_READ_ALL = "training_read_all"
    """See everybody's."""
    MODEL_TRAINING = "model_training"
    """Start training, and cancel what one started."""
    TRAINING_CANCEL_ALL = "training_cancel_all"
    """Cancel anybody's training."""
    MODEL_READ = "model_read"
    """See versions, their lineage, what is live and what was."""
    MODEL_CREATE = "model_create"
    """Register a version."""
    MODEL_RELEASE = "model_release"
    """Stage a version, hold it against what is live, promote it, roll back, and put it under legal hold."""
    MODEL_APPROVE = "model_approve"
    """Consent to a promotion in spite of a document that does not say PASS."""
    RELEASE_RULE = "release_rule"
    """Put a release policy in force."""
    MODEL_COLLECT = "model_collect"
    """Remove files of old versions, and mend the registry."""
    WEBHOOK_MANAGE = "webhook_manage"
    """Say who is told of changes."""


class Role(StrEnum):
    """A named set of permissions, as tokens carry it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    TRAINER = "trainer"
    APPROVER = "approver"
    ADMIN = "admin"


_SEES_ALL = frozenset({Permission.TRAINING_READ, Permission.TRAINING_READ_ALL, Permission.MODEL_READ})

PERMISSIONS: Final = {
    Role.VIEWER: _SEES_ALL,
    Role.OPERATOR: _SEES_ALL | {Permission.MODEL_RELEASE},
    Role.TRAINER: frozenset(
        {Permission.TRAINING_READ, Permission.MODEL_TRAINING, Permission.MODEL_READ, Permission.MODEL_CREATE}
    ),
    Role.APPROVER: _SEES_ALL | {Permission.MODEL_APPROVE},
    Role.ADMIN: frozenset(Permission),
}
"""Who trains does not release, and who releases does not approve; only an administrator may do all of it."""


class ForbiddenError(AcgsError):
    """The caller is known and may not do this."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: proven by the token `token_id`, or the person at this machine's terminal.

    `granted` is what the caller may do without a role.
    """

    subject: str
    roles: frozenset[Role]
    token_id: str | None
    granted: frozenset[Permission] = frozenset()

    def may(self, permission: Permission) -> bool:
        """Whether it was granted, or one of the caller's roles permits it."""
        return permission in self.granted or any(permission in PERMISSIONS[role] for role in self.roles)

    def require(self, permission: Permission) -> None:
        """
        Raises:
            ForbiddenError: nothing permits it.
        """
        if not self.may(permission):
            able = " or ".join(role for role in Role if permission in PERMISSIONS[role])
            raise ForbiddenError(
                f"this needs the permission {permission}; ask an administrator for a token with the role {able}"
            )
