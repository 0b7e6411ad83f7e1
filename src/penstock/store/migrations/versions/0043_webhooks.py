"""Webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043_webhooks"
down_revision = "0042_job_workers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "pipeline_webhooks",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("pipeline", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("authentication", sa.String(length=16), nullable=False),
        sa.Column("allowed", sa.String(length=100), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("triggered", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=False),
        sa.Column("error_message", sa.String(length=1000), nullable=False),
        sa.Column("registered", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_pipeline_webhooks")),
        sa.UniqueConstraint("id", name=op.f("uq_pipeline_webhooks_id")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("pipeline_webhooks")
