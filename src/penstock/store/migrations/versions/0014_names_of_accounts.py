"""Names of accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_names_of_accounts"
down_revision = "0013_certificates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_account_requests",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=True),
        sa.Column("failure", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_account_requests")),
    )
    with op.batch_alter_table("iam_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sa.String(length=50), nullable=True))
        batch_op.add_column(sa.Column("email", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_accounts", schema=None) as batch_op:
        batch_op.drop_column("email")
        batch_op.drop_column("name")

    op.drop_table("iam_account_requests")
