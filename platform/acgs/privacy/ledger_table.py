"""The ledger's table. Its triggers, which refuse change and removal, are made by the migration."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Table, Text

from acgs.storage.metadata import METADATA

LEDGER_TABLE: Final = Table(
    "privacy_ledger",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous_digest", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
