"""Reserved sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022_reserved_sessions"
down_revision = "0021_service_credentials"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_reserved_sessions",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(length=256), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "role", "name", name=op.f("pk_iam_reserved_sessions")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("iam_reserved_sessions")
