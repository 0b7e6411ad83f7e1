"""Metrics and alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033_metrics_and_alarms"
down_revision = "0032_topics"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "cloudwatch_alarm_history",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("item", sa.String(length=32), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "alarm", "at", "id", name=op.f("pk_cloudwatch_alarm_history")),
    )
    with op.batch_alter_table("cloudwatch_alarm_history", schema=None) as batch_op:
        batch_op.create_index("ix_cloudwatch_alarm_history_at", ["at"], unique=False)

    op.create_table(
        "cloudwatch_alarm_sources",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "source", "alarm", name=op.f("pk_cloudwatch_alarm_sources")),
    )
    with op.batch_alter_table("cloudwatch_alarm_sources", schema=None) as batch_op:
        batch_op.create_index("ix_cloudwatch_alarm_sources_alarm", ["account", "region", "alarm"], unique=False)

    op.create_table(
        "cloudwatch_alarms",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=20), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("watch", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "id", name=op.f("pk_cloudwatch_alarms")),
    )
    with op.batch_alter_table("cloudwatch_alarms", schema=None) as batch_op:
        batch_op.create_index("ix_cloudwatch_alarms_due", ["due"], unique=False)

    op.create_table(
        "cloudwatch_data",
        sa.Column("metric", sa.Uuid(as_uuid=False).with_variant(sa.LargeBinary(16), "sqlite"), nullable=False),
        sa.Column("tier", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("metric", "tier", "start", "unit", name=op.f("pk_cloudwatch_data")),
    )
    with op.batch_alter_table("cloudwatch_data", schema=None) as batch_op:
        batch_op.create_index("ix_cloudwatch_data_start", ["tier", "start"], unique=False)

    op.create_table(
        "cloudwatch_metrics",
        sa.Column("id", sa.Uuid(as_uuid=False).with_variant(sa.LargeBinary(16), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("dimensions", sa.Text(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloudwatch_metrics")),
    )
    with op.batch_alter_table("cloudwatch_metrics", schema=None) as batch_op:
        batch_op.create_index(
            "ix_cloudwatch_metrics_name", ["account", "region", "namespace", "name", "id"], unique=False
        )
        batch_op.create_index("ix_cloudwatch_metrics_seen", ["seen"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("cloudwatch_metrics", schema=None) as batch_op:
        batch_op.drop_index("ix_cloudwatch_metrics_seen")
        batch_op.drop_index("ix_cloudwatch_metrics_name")

    op.drop_table("cloudwatch_metrics")
    with op.batch_alter_table("cloudwatch_data", schema=None) as batch_op:
        batch_op.drop_index("ix_cloudwatch_data_start")

    op.drop_table("cloudwatch_data")
    with op.batch_alter_table("cloudwatch_alarms", schema=None) as batch_op:
        batch_op.drop_index("ix_cloudwatch_alarms_due")

    op.drop_table("cloudwatch_alarms")
    with op.batch_alter_table("cloudwatch_alarm_sources", schema=None) as batch_op:
        batch_op.drop_index("ix_cloudwatch_alarm_sources_alarm")

    op.drop_table("cloudwatch_alarm_sources")
    with op.batch_alter_table("cloudwatch_alarm_history", schema=None) as batch_op:
        batch_op.drop_index("ix_cloudwatch_alarm_history_at")

    op.drop_table("cloudwatch_alarm_history")
