"""Topics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032_topics"
down_revision = "0031_names_of_hosts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "sns_confirmations",
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "day", name=op.f("pk_sns_confirmations")),
    )
    op.create_table(
        "sns_deduplications",
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "digest", name=op.f("pk_sns_deduplications")),
    )
    with op.batch_alter_table("sns_deduplications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sns_deduplications_until"), ["until"], unique=False)

    op.create_table(
        "sns_deliveries",
        sa.Column("subscription", sa.String(length=36), nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subscription", "lane", "sequence", name=op.f("pk_sns_deliveries")),
    )
    with op.batch_alter_table("sns_deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_sns_deliveries_message", ["topic", "sequence"], unique=False)

    op.create_table(
        "sns_messages",
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("topic", "sequence", name=op.f("pk_sns_messages")),
    )
    with op.batch_alter_table("sns_messages", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sns_messages_waiting",
            ["topic", "sequence"],
            unique=False,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )

    op.create_table(
        "sns_signers",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_sns_signers")),
    )
    op.create_table(
        "sns_subscriptions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("authenticated", sa.Boolean(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sns_subscriptions")),
    )
    with op.batch_alter_table("sns_subscriptions", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sns_subscriptions_live",
            ["topic", "digest"],
            unique=True,
            sqlite_where=sa.text("state != 'deleted'"),
            postgresql_where=sa.text("state != 'deleted'"),
        )
        batch_op.create_index("ix_sns_subscriptions_owner", ["owner", "region", "id"], unique=False)
        batch_op.create_index("ix_sns_subscriptions_topic", ["topic", "id"], unique=False)
        batch_op.create_index(
            "ix_sns_subscriptions_until",
            ["until"],
            unique=False,
            sqlite_where=sa.text("until IS NOT NULL"),
            postgresql_where=sa.text("until IS NOT NULL"),
        )

    op.create_table(
        "sns_topics",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("policy_ids", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sns_topics")),
        sa.UniqueConstraint("account", "region", "name", name=op.f("uq_sns_topics_account_region_name")),
    )
    op.create_table(
        "sns_webhook_secrets",
        sa.Column("subscription", sa.String(length=36), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subscription", name=op.f("pk_sns_webhook_secrets")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("sns_webhook_secrets")
    op.drop_table("sns_topics")
    with op.batch_alter_table("sns_subscriptions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_sns_subscriptions_until",
            sqlite_where=sa.text("until IS NOT NULL"),
            postgresql_where=sa.text("until IS NOT NULL"),
        )
        batch_op.drop_index("ix_sns_subscriptions_topic")
        batch_op.drop_index("ix_sns_subscriptions_owner")
        batch_op.drop_index(
            "ix_sns_subscriptions_live",
            sqlite_where=sa.text("state != 'deleted'"),
            postgresql_where=sa.text("state != 'deleted'"),
        )

    op.drop_table("sns_subscriptions")
    op.drop_table("sns_signers")
    with op.batch_alter_table("sns_messages", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_sns_messages_waiting",
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )

    op.drop_table("sns_messages")
    with op.batch_alter_table("sns_deliveries", schema=None) as batch_op:
        batch_op.drop_index("ix_sns_deliveries_message")

    op.drop_table("sns_deliveries")
    with op.batch_alter_table("sns_deduplications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sns_deduplications_until"))

    op.drop_table("sns_deduplications")
    op.drop_table("sns_confirmations")
