"""Which release policy holds: the one that an administrator adopted, or until then the file that a setting names.

An adoption is an event of the platform, with the whole policy in it. So it is on the audit log, and holds for whoever
uses the same database, whatever their environment names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from acgs.errors import IntegrityError
from acgs.registry.lifecycle import EventLog, LifecycleEvent
from acgs.release.policy import ReleasePolicy
from acgs.release.policy_file import PolicyUnusableError, read_policy

ADOPTED: Final = "release.policy.adopted"
SUBJECT: Final = "release policy"
"""What the event happened to; with a space in it, it is no model's name."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A policy, and why it holds."""

    policy: ReleasePolicy
    source: str


def adopt(events: EventLog, policy: ReleasePolicy, *, actor: str) -> LifecycleEvent:
    """Put a policy in force, for everybody from now on.

    Raises:
        InvalidInputError: it is too long for the audit log.
    """
    return events.append(LifecycleEvent(ADOPTED, actor, SUBJECT, details={"policy": policy.differences()}))


def policy_in_force(
    path: Path | None, events: EventLog, place: Callable[[LifecycleEvent], int | None]
) -> PolicyInForce:
    """The policy that holds.

    Args:
        path: the file that the setting names.
        place: where the audit log has an event; None: not yet.

    Raises:
        PolicyUnusableError: nobody can tell what it says, the audit log tells another, or the file is another.
    """
    adopted = events.events(name=SUBJECT, kinds=[ADOPTED])
    if not adopted:
        return PolicyInForce(read_policy(path), "built in" if path is None else str(path))
    last = adopted[-1]
    try:
        place(last)  # the audit log tells the same of it
        policy = ReleasePolicy.model_validate(last.details["policy"])
    except (IntegrityError, KeyError, ValidationError) as error:
        raise PolicyUnusableError(
            "the release policy in the database is not the one that was adopted; an administrator has to look at "
            "'acgs audit events' and adopt one",
            field="release_policy",
        ) from error
    if path is not None and read_policy(path) != policy:
        raise PolicyUnusableError(
            f"{path} is not the release policy in force; unset ACGS_RELEASE_POLICY, or have an administrator adopt it "
            f"('acgs release adopt-policy {path}')",
            field="release_policy",
        )
    return PolicyInForce(policy, f"adopted by {last.actor} on {last.occurred_at[:19]}")
