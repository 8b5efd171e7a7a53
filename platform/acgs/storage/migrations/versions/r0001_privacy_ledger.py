"""The privacy ledger: one append-only table that the database itself refuses to change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLE = "privacy_ledger"
_REFUSAL = "the privacy ledger is append-only"


def upgrade() -> None:
    """Create the table and the triggers that keep it append-only."""
    op.create_table(
        _TABLE,
        sa.Column("sequence", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous_digest", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_privacy_ledger"),
    )
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER privacy_ledger_no_{verb.lower()} BEFORE {verb} ON {_TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION privacy_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER privacy_ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {_TABLE} "
            "FOR EACH STATEMENT EXECUTE FUNCTION privacy_ledger_refuse()"
        )


def downgrade() -> None:
    """Refuse: spending that was forgotten could be spent again."""
    raise NotImplementedError(_REFUSAL)
