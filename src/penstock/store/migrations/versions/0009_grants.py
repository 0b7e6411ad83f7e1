"""Grants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_grants"
down_revision = "0008_instance_profiles"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "kms_grants",
        sa.Column("key", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("grantee", sa.String(length=256), nullable=False),
        sa.Column("retiring", sa.String(length=256), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.Column("operations", sa.Text(), nullable=False),
        sa.Column("constraints", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "id", name=op.f("pk_kms_grants")),
    )
    with op.batch_alter_table("kms_grants", schema=None) as batch_op:
        batch_op.create_index("ix_kms_grants_grantee", ["key", "grantee"], unique=False)
        batch_op.create_index("ix_kms_grants_retiring", ["retiring", "region", "id"], unique=False)

    with op.batch_alter_table("kms_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rotation_days", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("rotation_due", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("kms_materials", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rotation", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("kms_materials", schema=None) as batch_op:
        batch_op.drop_column("rotation")

    with op.batch_alter_table("kms_keys", schema=None) as batch_op:
        batch_op.drop_column("rotation_due")
        batch_op.drop_column("rotation_days")

    with op.batch_alter_table("kms_grants", schema=None) as batch_op:
        batch_op.drop_index("ix_kms_grants_retiring")
        batch_op.drop_index("ix_kms_grants_grantee")

    op.drop_table("kms_grants")
