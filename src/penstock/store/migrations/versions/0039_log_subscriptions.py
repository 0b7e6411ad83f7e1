"""Log subscriptions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039_log_subscriptions"
down_revision = "0038_event_targets_and_archives"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "log_queries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(length=2048), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("statistics", sa.Text(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_queries")),
    )
    with op.batch_alter_table("log_queries", schema=None) as batch_op:
        batch_op.create_index("ix_log_queries_account", ["account", "region", "created", "id"], unique=False)
        batch_op.create_index("ix_log_queries_created", ["created"], unique=False)

    op.create_table(
        "log_query_definitions",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "id", name=op.f("pk_log_query_definitions")),
    )
    op.create_table(
        "log_query_results",
        sa.Column("query", sa.String(length=36), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("query", "part", name=op.f("pk_log_query_results")),
    )
    op.create_table(
        "log_subscription_filters",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pattern", sa.String(length=1024), nullable=False),
        sa.Column("destination", sa.String(length=2048), nullable=False),
        sa.Column("role", sa.String(length=2048), nullable=True),
        sa.Column("distribution", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("behind", sa.BigInteger(), nullable=True),
        sa.Column("failing", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "group", "name", name=op.f("pk_log_subscription_filters")),
        sa.UniqueConstraint("id", name=op.f("uq_log_subscription_filters_id")),
    )
    op.create_table(
        "log_subscriptions_sent",
        sa.Column("filter", sa.String(length=36), nullable=False),
        sa.Column("file", sa.String(length=36), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("filter", "file", name=op.f("pk_log_subscriptions_sent")),
    )
    with op.batch_alter_table("log_subscriptions_sent", schema=None) as batch_op:
        batch_op.create_index("ix_log_subscriptions_sent_file", ["file"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("log_subscriptions_sent", schema=None) as batch_op:
        batch_op.drop_index("ix_log_subscriptions_sent_file")

    op.drop_table("log_subscriptions_sent")
    op.drop_table("log_subscription_filters")
    op.drop_table("log_query_results")
    op.drop_table("log_query_definitions")
    with op.batch_alter_table("log_queries", schema=None) as batch_op:
        batch_op.drop_index("ix_log_queries_created")
        batch_op.drop_index("ix_log_queries_account")

    op.drop_table("log_queries")
