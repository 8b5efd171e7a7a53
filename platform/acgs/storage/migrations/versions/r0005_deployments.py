"""Deployments, and the signed documents on which they rest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deployments",
        sa.Column("deployment_id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("deployment_id", name="pk_deployments"),
        sa.UniqueConstraint("number", name="uq_deployments_number"),
    )
    op.create_index("ix_deployments_model", "deployments", ["model", "number"])
    op.create_index("ix_deployments_active", "deployments", ["active"])
    op.create_table(
        "release_documents",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_release_documents"),
    )
    op.create_index("ix_release_documents_model", "release_documents", ["model", "version", "kind"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("release_documents")
    op.drop_table("deployments")
