"""The tables of serving: routing tables, what each replica holds, how requests went."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text

from acgs.storage.metadata import METADATA

ROUTING_TABLE: Final = Table(
    "routing_tables",
    METADATA,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
)

REPLICA_TABLE: Final = Table(
    "serving_replicas",
    METADATA,
    Column("replica_id", Text, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("slot", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("heartbeat", Double, nullable=False),
    Column("versions", Text, nullable=False),
    Column("channel", Text),
)

WINDOW_TABLE: Final = Table(
    "outcome_windows",
    METADATA,
    Column("replica_id", Text, primary_key=True),
    Column("started", Double, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("latencies", Text, nullable=False),
    Column("shadow_requests", Integer, nullable=False),
    Column("shadow_agreed", Integer, nullable=False),
    Column("shadow_errors", Integer, nullable=False),
    Column("shadow_dropped", Integer, nullable=False, server_default="0"),
    Index(None, "started"),
    Index(None, "model", "started"),
)
