"""Training sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE = "training_sessions"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        _TABLE,
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("max_training_seconds", sa.Float, nullable=False),
        sa.Column("target_epsilon", sa.Float),
        sa.Column("delta", sa.Float),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("submitted", sa.Boolean, nullable=False),
        sa.Column("stop_reason", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("progress", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_training_sessions"),
        sa.UniqueConstraint("number", name="uq_training_sessions_number"),
    )
    op.create_index("ix_training_sessions_status", _TABLE, ["status"])
    op.create_index("ix_training_sessions_subject", _TABLE, ["subject"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table(_TABLE)
