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
    MODEL_RELEASE = "model_release"
    """Put a trained version in front of users."""


class Role(StrEnum):
    """A named set of permissions, as tokens carry it."""

    VIEWER = "viewer"
    TRAINER = "trainer"
    RELEASER = "releaser"
    ADMIN = "admin"


PERMISSIONS: Final = {
    Role.VIEWER: frozenset({Permission.TRAINING_READ, Permission.TRAINING_READ_ALL}),
    Role.TRAINER: frozenset({Permission.TRAINING_READ, Permission.MODEL_TRAINING}),
    Role.RELEASER: frozenset({Permission.TRAINING_READ, Permission.TRAINING_READ_ALL, Permission.MODEL_RELEASE}),
    Role.ADMIN: frozenset(Permission),
}
"""Who trains does not release, and the other way round; only an administrator may do both."""


class ForbiddenError(AcgsError):
    """The caller is known and may not do this."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, proven by the token `token_id`."""

    subject: str
    roles: frozenset[Role]
    token_id: str

    def may(self, permission: Permission) -> bool:
        """Whether one of the caller's roles permits it."""
        return any(permission in PERMISSIONS[role] for role in self.roles)

    def require(self, permission: Permission) -> None:
        """
        Raises:
            ForbiddenError: no role of the caller permits it.
        """
        if not self.may(permission):
            raise ForbiddenError(f"this needs the permission {permission}; ask an administrator for a role that has it")
