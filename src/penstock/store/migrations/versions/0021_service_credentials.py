"""Service credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_service_credentials"
down_revision = "0020_trails"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_service_credentials",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("service", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_service_credentials")),
        sa.UniqueConstraint("name", name=op.f("uq_iam_service_credentials_name")),
    )
    with op.batch_alter_table("iam_service_credentials", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_service_credentials_user_id"), ["user_id"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_service_credentials", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_service_credentials_user_id"))

    op.drop_table("iam_service_credentials")
