"""Which release policy holds: the one that an administrator adopted, or until then the file that a setting names.

An adoption is an event of the platform, with the whole policy in it, signed by the installation. So it is on the audit
log, and holds for whoever uses the same database, whatever their environment names; a row put into the database is no
adoption, and one taken out is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import rfc8785
from pydantic import ValidationError

from acgs.audit.entries import Event
from acgs.audit.key_ring import KeyRing
from acgs.audit.keys import SigningKey
from acgs.errors import IntegrityError, InvalidInputError
from acgs.registry.lifecycle import EventLog, LifecycleEvent, check_details
from acgs.release.policy import ReleasePolicy
from acgs.release.policy_file import PolicyUnusableError, read_policy
from acgs.release.trust import Trust

ADOPTED: Final = "release.policy.adopted"
SUBJECT: Final = "release policy"
"""What the event happened to; with a space in it, it is no model's name."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A policy, and why it holds."""

    policy: ReleasePolicy
    source: str


@dataclass(frozen=True, slots=True)
class Witness:
    """What does not lie in the database: the audit log and the installation's keys."""

    ring: KeyRing
    place: Callable[[LifecycleEvent], int | None]
    """The index of an event in the log; None: not there yet. Raises `IntegrityError` where the log tells another."""
    last: Callable[[str, str], Event | None]
    """The last event in the log of a subject and kind."""


def adopt(events: EventLog, policy: ReleasePolicy, key: SigningKey, *, actor: str) -> PolicyInForce:
    """Put a policy in force, for everybody from now on.

    Raises:
        InvalidInputError: it is too long for the audit log.
    """
    event = LifecycleEvent(ADOPTED, actor, SUBJECT, details={"policy": policy.differences()})
    event = replace(event, details={**event.details, "signature": key.sign_text(_statement(event))})
    try:
        check_details(event)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"the release policy is too long for the audit log ({error.message.partition(';')[0]}); say under "
            "every_model what many models share",
            field="models",
        ) from None
    events.append(event)
    return _in_force(policy, event)


def policy_in_force(path: Path | None, events: EventLog, witness: Witness) -> PolicyInForce:
    """The policy that holds.

    Args:
        path: the file that the setting names.

    Raises:
        PolicyUnusableError: nobody can tell what it says, it was changed, forged or taken away, or the file is another.
    """
    adopted = events.events(name=SUBJECT, kinds=[ADOPTED])
    told = witness.last(SUBJECT, ADOPTED)
    if not adopted and told is None:
        return PolicyInForce(read_policy(path), "built in" if path is None else str(path))
    if told is not None and told.event_id not in {event.event_id for event in adopted}:
        raise _not_adopted("the audit log tells of a release policy that the database does not hold")
    last = adopted[-1]
    policy = _verified(last, witness, newest=told is None or told.event_id == last.event_id)
    if path is not None and read_policy(path) != policy:
        raise PolicyUnusableError(
            f"{path} is not the release policy in force; unset ACGS_RELEASE_POLICY, or have an administrator adopt it "
            f"('acgs release adopt-policy {path}')",
            field="release_policy",
        )
    return _in_force(policy, last)


def _verified(event: LifecycleEvent, witness: Witness, *, newest: bool) -> ReleasePolicy:
    """The policy of an adoption. The log may not have it yet, but may not have a later one."""
    try:
        place = witness.place(event)
        policy = ReleasePolicy.model_validate(event.details["policy"])
    except (IntegrityError, KeyError, ValidationError) as error:
        raise _not_adopted("the release policy in the database was changed") from error
    if place is not None and not newest:
        raise _not_adopted("the audit log tells of a later release policy than the database holds")
    signature = str(event.details.get("signature"))
    trust = Trust(witness.ring, {} if place is None else {signature: place})
    if not trust.verifies(signature, signature, _statement(event)):
        raise _not_adopted("the release policy in the database was not signed by this installation")
    return policy


def _statement(event: LifecycleEvent) -> bytes:
    signed = {"policy": event.details["policy"], "event_id": event.event_id, "actor": event.actor}
    return rfc8785.dumps({"format": "acgs-release-policy-adoption/1", "at": event.occurred_at, **signed})


def _in_force(policy: ReleasePolicy, event: LifecycleEvent) -> PolicyInForce:
    return PolicyInForce(policy, f"adopted by {event.actor} on {event.occurred_at[:19]}")


def _not_adopted(what: str) -> PolicyUnusableError:
    return PolicyUnusableError(
        f"{what}; until an administrator has looked at 'acgs audit events' and adopted one, nothing is staged or "
        "promoted",
        field="release_policy",
    )
