"""Schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040_schedules"
down_revision = "0039_log_subscriptions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "scheduler_groups",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_scheduler_groups")),
    )
    op.create_table(
        "scheduler_invocations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.Column("scheduled", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduler_invocations")),
    )
    with op.batch_alter_table("scheduler_invocations", schema=None) as batch_op:
        batch_op.create_index("ix_scheduler_invocations_at", ["at"], unique=False)

    op.create_table(
        "scheduler_schedules",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "group", "name", name=op.f("pk_scheduler_schedules")),
    )
    op.create_table(
        "scheduler_tokens",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "token", name=op.f("pk_scheduler_tokens")),
    )
    with op.batch_alter_table("scheduler_tokens", schema=None) as batch_op:
        batch_op.create_index("ix_scheduler_tokens_at", ["at"], unique=False)

    with op.batch_alter_table("event_dead_letters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("schedule", sa.Text(), nullable=True))

    with op.batch_alter_table("event_rules", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("event_rules", schema=None) as batch_op:
        batch_op.drop_column("next")

    with op.batch_alter_table("event_dead_letters", schema=None) as batch_op:
        batch_op.drop_column("schedule")

    with op.batch_alter_table("scheduler_tokens", schema=None) as batch_op:
        batch_op.drop_index("ix_scheduler_tokens_at")

    op.drop_table("scheduler_tokens")
    op.drop_table("scheduler_schedules")
    with op.batch_alter_table("scheduler_invocations", schema=None) as batch_op:
        batch_op.drop_index("ix_scheduler_invocations_at")

    op.drop_table("scheduler_invocations")
    op.drop_table("scheduler_groups")
