"""Console sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_console_sessions"
down_revision = "0011_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("begun", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("seen", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("address", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("agent", sa.String(length=256), server_default="", nullable=False))

    with op.batch_alter_table("iam_sign_in_tries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paused", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_sign_in_tries", schema=None) as batch_op:
        batch_op.drop_column("paused")

    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.drop_column("agent")
        batch_op.drop_column("address")
        batch_op.drop_column("seen")
        batch_op.drop_column("begun")
