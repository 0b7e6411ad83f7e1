"""Passkeys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027_passkeys"
down_revision = "0026_secret_rotation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_passkeys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("party", sa.String(length=253), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("synced", sa.Boolean(), nullable=False),
        sa.Column("transports", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.Column("suspected", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_passkeys")),
    )
    with op.batch_alter_table("iam_passkeys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_passkeys_account"), ["account"], unique=False)
        batch_op.create_index(batch_op.f("ix_iam_passkeys_user_id"), ["user_id"], unique=False)

    op.create_table(
        "iam_spent_challenges",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_spent_challenges")),
    )
    with op.batch_alter_table("iam_spent_challenges", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_spent_challenges_until"), ["until"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_spent_challenges", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_spent_challenges_until"))

    op.drop_table("iam_spent_challenges")
    with op.batch_alter_table("iam_passkeys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_passkeys_user_id"))
        batch_op.drop_index(batch_op.f("ix_iam_passkeys_account"))

    op.drop_table("iam_passkeys")
