"""The registry's tables. Triggers, which refuse to change or drop what is signed, are made by the migration."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from acgs.storage.metadata import METADATA

VERSION_TABLE: Final = Table(
    "model_versions",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("precedence", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("artifact_digest", Text, nullable=False),
    Column("artifact_bytes", BigInteger, nullable=False),
    Column("constitution_digest", Text, nullable=False),
    Column("parent", Text),
    Column("base", Text),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("signatures", Text, nullable=False),
    Column("removed_at", Text),
    UniqueConstraint("name", "precedence", name="uq_model_versions_name_precedence"),
)

HOLD_TABLE: Final = Table(
    "model_version_holds",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("held_at", Text, nullable=False),
)

RENEWED_KEY_TABLE: Final = Table(
    "renewed_artifact_keys",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("wrapped", Text, nullable=False),
    Column("renewed_at", Text, nullable=False),
)

EVENT_TABLE: Final = Table(
    "lifecycle_events",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text),
    Column("details", Text, nullable=False),
    Column("occurred_at", Text, nullable=False),
    Column("audited_at", Text),
    Index("ix_lifecycle_events_name", "name", "number"),
    Index("ix_lifecycle_events_audited_at", "audited_at"),
)
