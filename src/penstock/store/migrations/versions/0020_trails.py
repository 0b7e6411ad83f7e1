"""Trails."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020_trails"
down_revision = "0019_uses_of_credentials"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "audit_positions",
        sa.Column("trail", sa.String(length=36), nullable=False),
        sa.Column("chain", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("trail", "chain", name=op.f("pk_audit_positions")),
    )
    op.create_table(
        "audit_trails",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("everywhere", sa.Boolean(), nullable=False),
        sa.Column("nowhere", sa.Boolean(), nullable=False),
        sa.Column("selectors", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("periods", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=True),
        sa.Column("attempted", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_trails")),
        sa.UniqueConstraint("account", "name", "region", name=op.f("uq_audit_trails_account_name_region")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("audit_trails")
    op.drop_table("audit_positions")
