"""Key holders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024_key_holders"
down_revision = "0023_log_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "master_key_holders",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("seals", sa.String(length=8), nullable=False),
        sa.Column("opens", sa.Text(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_master_key_holders")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("master_key_holders")
