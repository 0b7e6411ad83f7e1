"""Former aggregates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_former_aggregates"
down_revision = "0003_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "former_aggregates",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("aggregate", sa.String(length=512), nullable=False),
        sa.Column("about", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=2048), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", "aggregate", name=op.f("pk_former_aggregates")),
    )
    with op.batch_alter_table("former_aggregates", schema=None) as batch_op:
        batch_op.create_index("ix_former_aggregates_at", ["at"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("former_aggregates", schema=None) as batch_op:
        batch_op.drop_index("ix_former_aggregates_at")

    op.drop_table("former_aggregates")
