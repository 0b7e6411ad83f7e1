"""Uses of roles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025_uses_of_roles"
down_revision = "0024_key_holders"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_role_deletions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("task", sa.String(length=1000), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("uses", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_role_deletions")),
    )
    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.add_column(sa.Column("used", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("used_region", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.drop_column("used_region")
        batch_op.drop_column("used")

    op.drop_table("iam_role_deletions")
