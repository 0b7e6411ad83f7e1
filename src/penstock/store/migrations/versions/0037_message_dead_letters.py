"""Messages that a subscription was not given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037_message_dead_letters"
down_revision = "0036_notification_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "sns_dead_letters",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.Text(), nullable=False),
        sa.Column("subscription", sa.String(length=36), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.String(length=36), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sns_dead_letters")),
    )
    with op.batch_alter_table("sns_dead_letters", schema=None) as batch_op:
        batch_op.create_index("ix_sns_dead_letters_at", ["at"], unique=False)
        batch_op.create_index("ix_sns_dead_letters_place", ["account", "region", "at", "id"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("sns_dead_letters", schema=None) as batch_op:
        batch_op.drop_index("ix_sns_dead_letters_place")
        batch_op.drop_index("ix_sns_dead_letters_at")

    op.drop_table("sns_dead_letters")
