"""Sends what is due. Any number may run; each delivery is tried by one at a time, and arrives at least once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import httpx

from acgs.audit.receipts import utc_instant
from acgs.registry.lifecycle import EventLog, LifecycleEvent
from acgs.registry.webhooks.signature import WebhookSecret
from acgs.registry.webhooks.store import WebhookStore
from acgs.registry.webhooks.subscription import Delivery, DeliveryState, Subscription

TIMEOUT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 10.0
MAX_TRIES: Final = 10
"""With the pause doubled each time the last try is some 85 minutes after the first."""
AT_ONCE: Final = 20
_CLAIM_SECONDS: Final = AT_ONCE * TIMEOUT_SECONDS * 2
"""A deliverer that dies with a claim gives it up after so long."""


class Client(Protocol):
    """What sends: `httpx.Client`, or one like it."""

    def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        """One request."""
        ...


def client() -> httpx.Client:
    """Follows no redirect, which could lead anywhere, and uses no proxy that the environment names."""
    return httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)


class Deliverer:
    """One round of deliveries a call."""

    def __init__(
        self,
        store: WebhookStore,
        events: EventLog,
        secret: WebhookSecret,
        sender: Client,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._events = events
        self._secret = secret
        self._sender = sender
        self._clock = clock

    def deliver_due(self) -> list[Delivery]:
        """Try what is due; how each try went.

        Raises:
            UnavailableError: the store cannot be used.
        """
        self._store.enqueue()
        now = self._clock()
        hooks = {hook.webhook_id: hook for hook in self._store.subscriptions()}
        settled = []
        for delivery in self._store.claim(now, until=now + _CLAIM_SECONDS, limit=AT_ONCE):
            hook = hooks.get(delivery.webhook_id)
            if hook is None:
                continue  # unsubscribed meanwhile; the delivery is gone with it
            tried = self._try(delivery, hook)
            self._store.settle(tried)
            settled.append(tried)
        return settled

    def _try(self, delivery: Delivery, hook: Subscription) -> Delivery:
        (event,) = self._events.events(after=delivery.event_number - 1, limit=1)
        body = message(event, delivery)
        headers = self._secret.headers(f"{event.event_id}.{hook.webhook_id[:8]}", int(self._clock()), body)
        try:
            status = self._sender.post(hook.url, content=body, headers={**headers, "content-type": "application/json"})
            arrived, answer = status.is_success, str(status.status_code)
        except httpx.HTTPError as error:
            # What the library says may repeat the address.
            arrived, answer = False, type(error).__name__
        tries = delivery.tries + 1
        state = DeliveryState.DELIVERED if arrived else DeliveryState.WAITING
        if not arrived and tries >= MAX_TRIES:
            state = DeliveryState.GIVEN_UP
        pause = FIRST_PAUSE_SECONDS * 2 ** (tries - 1)
        return replace(
            delivery, state=state, tries=tries, next_at=self._clock() + pause, answer=answer, last_try_at=utc_instant()
        )


def message(event: LifecycleEvent, delivery: Delivery) -> bytes:
    """The body: topic, time and the event as the audit log has it."""
    told = {"type": delivery.topic, "timestamp": event.occurred_at, "data": event.entry().model_dump(mode="json")}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
