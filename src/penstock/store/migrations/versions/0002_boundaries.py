"""Boundaries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_boundaries"
down_revision = "0001_initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.add_column(sa.Column("boundary", sa.String(length=1024), nullable=True))

    with op.batch_alter_table("iam_users", schema=None) as batch_op:
        batch_op.add_column(sa.Column("boundary", sa.String(length=1024), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_users", schema=None) as batch_op:
        batch_op.drop_column("boundary")

    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.drop_column("boundary")
