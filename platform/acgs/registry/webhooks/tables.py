"""The tables of webhooks."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text

from acgs.storage.metadata import METADATA

WEBHOOK_TABLE: Final = Table(
    "webhooks",
    METADATA,
    Column("webhook_id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("topics", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
)

DELIVERY_TABLE: Final = Table(
    "webhook_deliveries",
    METADATA,
    Column("webhook_id", Text, primary_key=True),
    Column("event_number", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("answer", Text, nullable=False),
    Column("last_try_at", Text),
    Index("ix_webhook_deliveries_state", "state", "next_at"),
)
