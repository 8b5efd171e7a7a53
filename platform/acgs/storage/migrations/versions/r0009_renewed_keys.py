"""Keys of artifacts that were wrapped anew, beside the manifests that never change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "renewed_artifact_keys",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("wrapped", sa.Text, nullable=False),
        sa.Column("renewed_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_renewed_artifact_keys"),
    )


def downgrade() -> None:
    """Refuse: artifacts whose earlier wrapping key was given up could not be read any more."""
    raise NotImplementedError("artifacts may have no other wrapped key than those in this table")
