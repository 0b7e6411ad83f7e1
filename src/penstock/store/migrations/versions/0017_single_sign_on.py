"""Single sign on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_single_sign_on"
down_revision = "0016_secrets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("person", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("name", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("access_key", sa.String(length=32), server_default="", nullable=False))
        batch_op.add_column(sa.Column("token", sa.Text(), server_default="", nullable=False))
        batch_op.create_index(batch_op.f("ix_iam_console_sessions_person"), ["person"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_console_sessions_person"))
        batch_op.drop_column("token")
        batch_op.drop_column("access_key")
        batch_op.drop_column("name")
        batch_op.drop_column("person")
