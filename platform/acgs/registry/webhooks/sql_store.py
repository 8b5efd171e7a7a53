"""The webhook store in the platform's database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from acgs.errors import AcgsError, InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.sql_lifecycle import SUBJECT as EVENTS
from acgs.registry.sql_lifecycle import append_event, events_after
from acgs.registry.tables import EVENT_TABLE
from acgs.registry.webhooks.subscription import Delivery, DeliveryState, Subscription, Topic, check_url, topic_of
from acgs.registry.webhooks.tables import DELIVERY_TABLE, WEBHOOK_TABLE
from acgs.storage.transactions import reading, writing

_HOOK = WEBHOOK_TABLE.c
_DELIVERY = DELIVERY_TABLE.c
_AT_ONCE: Final = 500


class UnknownWebhookError(AcgsError):
    """There is no such webhook."""

    code = "not_found"


class SqlWebhookStore:
    """`WebhookStore` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, url: str, topics: Sequence[str], *, actor: str) -> Subscription:
        """See `WebhookStore.add`."""
        try:
            wanted = tuple(Topic(topic) for topic in dict.fromkeys(topics))
        except ValueError:
            raise InvalidInputError(f"topics are {', '.join(Topic)}", field="topics") from None
        if not wanted:
            raise InvalidInputError("give at least one topic", field="topics")
        check_url(url)
        with writing(self._engine, EVENTS) as connection:
            last = connection.execute(select(func.max(EVENT_TABLE.c.number))).scalar() or 0
            made = Subscription(url, wanted, last)
            connection.execute(
                insert(WEBHOOK_TABLE).values(
                    webhook_id=made.webhook_id,
                    url=url,
                    topics=json.dumps(wanted),
                    cursor=last,
                    created_at=made.created_at,
                )
            )
            details: dict[str, JsonValue] = {
                "webhook_id": made.webhook_id, "place": made.place, "topics": [str(topic) for topic in wanted],
            }  # fmt: skip
            append_event(connection, LifecycleEvent("webhook.added", actor, "webhooks", details=details))
        return made

    def remove(self, webhook_id: str, *, actor: str) -> None:
        """See `WebhookStore.remove`."""
        with writing(self._engine, EVENTS) as connection:
            if not connection.execute(delete(WEBHOOK_TABLE).where(_HOOK.webhook_id == webhook_id)).rowcount:
                raise UnknownWebhookError(f"there is no webhook {webhook_id[:64]!r}", field="webhook_id")
            connection.execute(delete(DELIVERY_TABLE).where(_DELIVERY.webhook_id == webhook_id))
            removed = LifecycleEvent("webhook.removed", actor, "webhooks", details={"webhook_id": webhook_id})
            append_event(connection, removed)

    def subscriptions(self) -> list[Subscription]:
        """See `WebhookStore.subscriptions`."""
        with reading(self._engine) as connection:
            return _subscriptions(connection)

    def enqueue(self) -> int:
        """See `WebhookStore.enqueue`."""
        made = 0
        with writing(self._engine, EVENTS) as connection:
            for hook in _subscriptions(connection):
                events = events_after(connection, hook.after, limit=_AT_ONCE)
                for event in events:
                    topic = topic_of(event)
                    if topic in hook.topics:
                        delivery = Delivery(hook.webhook_id, event.number, topic)
                        connection.execute(insert(DELIVERY_TABLE).values(**asdict(delivery)))
                        made += 1
                if events:
                    moved = update(WEBHOOK_TABLE).where(_HOOK.webhook_id == hook.webhook_id)
                    connection.execute(moved.values(cursor=events[-1].number))
        return made

    def claim(self, now: float, *, until: float, limit: int) -> list[Delivery]:
        """See `WebhookStore.claim`."""
        due = (
            select(DELIVERY_TABLE)
            .where(_DELIVERY.state == DeliveryState.WAITING, _DELIVERY.next_at <= now)
            .order_by(_DELIVERY.event_number)
            .limit(limit)
        )
        with writing(self._engine, EVENTS) as connection:
            claimed = [_delivery(row) for row in connection.execute(due)]
            for found in claimed:
                connection.execute(_of(found).values(next_at=until))
        return claimed

    def settle(self, delivery: Delivery) -> None:
        """See `WebhookStore.settle`."""
        with writing(self._engine, EVENTS) as connection:
            connection.execute(_of(delivery).values(**asdict(delivery)))

    def deliveries(self, webhook_id: str | None = None, *, limit: int = 100) -> list[Delivery]:
        """See `WebhookStore.deliveries`."""
        query = select(DELIVERY_TABLE).order_by(_DELIVERY.event_number.desc(), _DELIVERY.webhook_id).limit(limit)
        if webhook_id is not None:
            query = query.where(_DELIVERY.webhook_id == webhook_id)
        with reading(self._engine) as connection:
            return [_delivery(row) for row in connection.execute(query)]


def _subscriptions(connection: Connection) -> list[Subscription]:
    rows = connection.execute(select(WEBHOOK_TABLE).order_by(_HOOK.created_at, _HOOK.webhook_id))
    return [
        Subscription(row.url, tuple(map(Topic, json.loads(row.topics))), row.cursor, row.webhook_id, row.created_at)
        for row in rows
    ]


def _of(delivery: Delivery) -> Any:
    return update(DELIVERY_TABLE).where(
        _DELIVERY.webhook_id == delivery.webhook_id, _DELIVERY.event_number == delivery.event_number
    )


def _delivery(row: Row[Any]) -> Delivery:
    fields = dict(row._mapping)
    return Delivery(**{**fields, "topic": Topic(fields["topic"]), "state": DeliveryState(fields["state"])})
