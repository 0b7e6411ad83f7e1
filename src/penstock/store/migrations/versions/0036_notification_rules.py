"""Notification rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036_notification_rules"
down_revision = "0035_metric_filters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "notification_rules",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("detail", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_rules")),
        sa.UniqueConstraint("account", "region", "name", name=op.f("uq_notification_rules_account_region_name")),
    )
    with op.batch_alter_table("notification_rules", schema=None) as batch_op:
        batch_op.create_index("ix_notification_rules_resource", ["account", "region", "resource"], unique=False)

    op.create_table(
        "notification_subscriptions",
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "address", name=op.f("pk_notification_subscriptions")),
    )
    with op.batch_alter_table("notification_subscriptions", schema=None) as batch_op:
        batch_op.create_index("ix_notification_subscriptions_address", ["account", "region", "address"], unique=False)

    op.create_table(
        "notification_targets",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "address", name=op.f("pk_notification_targets")),
    )
    op.create_table(
        "notification_tokens",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "token", name=op.f("pk_notification_tokens")),
    )
    with op.batch_alter_table("notification_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notification_tokens_until"), ["until"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("notification_tokens", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notification_tokens_until"))

    op.drop_table("notification_tokens")
    op.drop_table("notification_targets")
    with op.batch_alter_table("notification_subscriptions", schema=None) as batch_op:
        batch_op.drop_index("ix_notification_subscriptions_address")

    op.drop_table("notification_subscriptions")
    with op.batch_alter_table("notification_rules", schema=None) as batch_op:
        batch_op.drop_index("ix_notification_rules_resource")

    op.drop_table("notification_rules")
