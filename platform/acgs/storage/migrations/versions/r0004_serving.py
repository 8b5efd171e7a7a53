"""Serving: routing tables that only grow, what each replica holds, how requests went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = "routing_tables"
_REPLICAS = "serving_replicas"
_WINDOWS = "outcome_windows"
_REFUSAL = "routing tables are append-only"


def upgrade() -> None:
    """Create the tables, and the triggers that keep the history of routing tables as it was."""
    op.create_table(
        _TABLES,
        sa.Column("epoch", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_routing_tables"),
    )
    op.create_table(
        _REPLICAS,
        sa.Column("replica_id", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("slot", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("heartbeat", sa.Double, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("channel", sa.Text),
        sa.PrimaryKeyConstraint("replica_id", name="pk_serving_replicas"),
    )
    op.create_table(
        _WINDOWS,
        sa.Column("replica_id", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("latencies", sa.Text, nullable=False),
        sa.Column("shadow_requests", sa.Integer, nullable=False),
        sa.Column("shadow_agreed", sa.Integer, nullable=False),
        sa.Column("shadow_errors", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("replica_id", "started", "model", "version", "slot", name="pk_outcome_windows"),
    )
    op.create_index("ix_outcome_windows_started", _WINDOWS, ["started"])
    op.create_index("ix_outcome_windows_model", _WINDOWS, ["model", "started"])
    _keep_history()


def _keep_history() -> None:
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER routing_tables_no_{verb.lower()} BEFORE {verb} ON {_TABLES} "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION routing_tables_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER routing_tables_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {_TABLES} "
            "FOR EACH STATEMENT EXECUTE FUNCTION routing_tables_refuse()"
        )


def downgrade() -> None:
    """Refuse: what was in production, and when, would be forgotten."""
    raise NotImplementedError(_REFUSAL)
