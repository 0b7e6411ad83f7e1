"""Password policies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018_password_policies"
down_revision = "0017_single_sign_on"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_former_passwords",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("password", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "password", name=op.f("pk_iam_former_passwords")),
    )
    op.create_table(
        "iam_password_policies",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_iam_password_policies")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("iam_password_policies")
    op.drop_table("iam_former_passwords")
