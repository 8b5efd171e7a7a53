"""The registry: model versions that cannot be changed, lifecycle events that cannot be dropped, holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REFUSAL = "a model version is immutable; only its files may be removed"
_EVENT_REFUSAL = "lifecycle events are append-only"
_FIXED = (
    *("name", "version", "precedence", "kind", "artifact_digest", "artifact_bytes", "constitution_digest", "parent"),
    *("base", "created_at", "created_by", "facts", "manifest", "signatures"),
)
_FIXED_EVENT = ("number", "event_id", "kind", "actor", "name", "version", "details", "occurred_at")


def upgrade() -> None:
    """Create the tables and the triggers that keep what is signed as it is."""
    # Precedence keys sort by bytes; a server's own collation would put punctuation elsewhere.
    by_bytes = sa.Text(collation="C") if op.get_context().dialect.name == "postgresql" else sa.Text()
    op.create_table(
        "model_versions",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("precedence", by_bytes, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("artifact_digest", sa.Text, nullable=False),
        sa.Column("artifact_bytes", sa.BigInteger, nullable=False),
        sa.Column("constitution_digest", sa.Text, nullable=False),
        sa.Column("parent", sa.Text),
        sa.Column("base", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("signatures", sa.Text, nullable=False),
        sa.Column("removed_at", sa.Text),
        sa.PrimaryKeyConstraint("name", "version", name="pk_model_versions"),
        sa.UniqueConstraint("name", "precedence", name="uq_model_versions_name_precedence"),
    )
    op.create_table(
        "model_version_holds",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("held_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_model_version_holds"),
    )
    op.create_table(
        "lifecycle_events",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.Text, nullable=False),
        sa.Column("audited_at", sa.Text),
        sa.PrimaryKeyConstraint("number", name="pk_lifecycle_events"),
        sa.UniqueConstraint("event_id", name="uq_lifecycle_events_event_id"),
    )
    op.create_index("ix_lifecycle_events_name", "lifecycle_events", ["name", "number"])
    op.create_index("ix_lifecycle_events_audited_at", "lifecycle_events", ["audited_at"])
    _keep("model_versions", _FIXED, _REFUSAL)
    _keep("lifecycle_events", _FIXED_EVENT, _EVENT_REFUSAL)


def downgrade() -> None:
    """Refuse: what was signed and approved would be lost."""
    raise NotImplementedError(_REFUSAL)


def _keep(table: str, columns: tuple[str, ...], refusal: str) -> None:
    """Refuse removal of rows, and change of these columns."""
    if op.get_context().dialect.name == "sqlite":
        for name, event in (("update", f"UPDATE OF {', '.join(columns)}"), ("delete", "DELETE")):
            op.execute(
                f"CREATE TRIGGER {table}_no_{name} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$"
    )
    # PostgreSQL takes the list of columns as named in the statement, as SQLite does.
    for name, event in (("update", f"UPDATE OF {', '.join(columns)}"), ("delete", "DELETE OR TRUNCATE")):
        op.execute(
            f"CREATE TRIGGER {table}_no_{name} BEFORE {event} ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"
        )
