"""Who wants to hear of which events, and one delivery to them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from acgs.audit.receipts import utc_instant
from acgs.errors import InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent

MAX_URL_CHARS: Final = 2048


class Topic(StrEnum):
    """What can be subscribed to."""

    VERSION_CREATED = "version.created"
    PROMOTED = "release.promoted"
    ROLLED_BACK = "release.rolled_back"
    CONTRACT_FAILED = "release.contract_failed"
    """Staging or contract did not pass, or live traffic breached a guard with nothing to go back to."""
    FAILED = "release.failed"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


def topic_of(event: LifecycleEvent) -> Topic | None:
    """The topic of an event; None for one that nobody can subscribe to."""
    if event.kind in ("release.staged", "release.contract_judged"):
        return Topic.CONTRACT_FAILED if event.details.get("verdict") != "PASS" else None
    return {
        "model.version.created": Topic.VERSION_CREATED,
        "release.promoted": Topic.PROMOTED,
        "release.rolled_back": Topic.ROLLED_BACK,
        "release.breached": Topic.CONTRACT_FAILED,
        "release.failed": Topic.FAILED,
    }.get(event.kind)


@dataclass(frozen=True, slots=True)
class Subscription:
    """An address with its topics. `after` is the number of the last event from before it was made."""

    url: str
    topics: tuple[Topic, ...]
    after: int
    webhook_id: str = field(default_factory=lambda: str(uuid4()))
    created_at: str = field(default_factory=utc_instant)

    @property
    def place(self) -> str:
        """The address without path and query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one subscriber. `next_at`: seconds since 1970."""

    webhook_id: str
    event_number: int
    topic: Topic
    state: DeliveryState = DeliveryState.WAITING
    tries: int = 0
    next_at: float = 0.0
    answer: str = ""
    """The status code of the last try, or why there was none."""
    last_try_at: str | None = None


def check_url(url: str) -> str:
    """The address, if events may be sent there: https, or http to this machine.

    Raises:
        InvalidInputError: it is another, holds a user or a password, or is too long.
    """
    parts = urlsplit(url)
    try:
        host, port_is_good = parts.hostname or "", parts.port is None or parts.port > 0
    except ValueError:
        host, port_is_good = "", False
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    if not secure or not host or not port_is_good or len(url) > MAX_URL_CHARS or not url.isprintable():
        raise InvalidInputError("a webhook's address is https://..., or http:// to this machine", field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError("a webhook's address holds no user or password; deliveries are signed", field="url")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
