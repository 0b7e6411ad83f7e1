"""Metric filters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035_metric_filters"
down_revision = "0034_event_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "log_metric_filters",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("pattern", sa.String(length=1024), nullable=False),
        sa.Column("transformation", sa.Text(), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("metric", sa.String(length=255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "group", "name", name=op.f("pk_log_metric_filters")),
    )
    with op.batch_alter_table("log_streams", schema=None) as batch_op:
        batch_op.add_column(sa.Column("measured", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("log_streams", schema=None) as batch_op:
        batch_op.drop_column("measured")

    op.drop_table("log_metric_filters")
