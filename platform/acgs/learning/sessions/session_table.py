"""The table of training sessions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Table, Text

from acgs.storage.metadata import METADATA

SESSION_TABLE: Final = Table(
    "training_sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("subject", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("max_training_seconds", Float, nullable=False),
    Column("target_epsilon", Float),
    Column("delta", Float),
    Column("created_at", Text, nullable=False),
    Column("started_at", Text),
    Column("ended_at", Text),
    Column("submitted", Boolean, nullable=False),
    Column("stop_reason", Text),
    Column("error_message", Text),
    Column("progress", Text),
    Index(None, "status"),
    Index(None, "subject"),
)
