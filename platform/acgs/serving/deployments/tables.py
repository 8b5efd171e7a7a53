"""The tables of deployments, their documents, and the attempts at these."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from acgs.storage.metadata import METADATA

DEPLOYMENT_TABLE: Final = Table(
    "deployments",
    METADATA,
    Column("deployment_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("revision", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_deployments_model", "model", "number"),
    Index("ix_deployments_active", "active"),
)

DOCUMENT_TABLE: Final = Table(
    "release_documents",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_release_documents_model", "model", "version", "kind"),
)

ATTEMPT_TABLE: Final = Table(
    "release_attempts",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("artifact_digest", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("begun_at", Text, nullable=False),
)
