"""Secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016_secrets"
down_revision = "0015_second_factors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "secret_versions",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("stages", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("binary", sa.Boolean(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", "id", name=op.f("pk_secret_versions")),
    )
    op.create_table(
        "secrets",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("suffix", sa.String(length=6), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("policy_ids", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("accessed", sa.BigInteger(), nullable=False),
        sa.Column("deletion", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_secrets")),
    )
    with op.batch_alter_table("secrets", schema=None) as batch_op:
        batch_op.create_index("ix_secrets_accessed", ["account", "region", "accessed", "name"], unique=False)
        batch_op.create_index("ix_secrets_changed", ["account", "region", "changed", "name"], unique=False)
        batch_op.create_index("ix_secrets_created", ["account", "region", "created", "name"], unique=False)

    with op.batch_alter_table("kms_keys", schema=None) as batch_op:
        batch_op.alter_column(
            "manager", existing_type=sa.String(length=12), type_=sa.String(length=32), existing_nullable=False
        )


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("kms_keys", schema=None) as batch_op:
        batch_op.alter_column(
            "manager",
            existing_type=sa.String(length=32),
            type_=sa.String(length=12),
            existing_nullable=False,
            postgresql_using="left(manager, 12)",  # no release before had a longer one: it was an error
        )

    with op.batch_alter_table("secrets", schema=None) as batch_op:
        batch_op.drop_index("ix_secrets_created")
        batch_op.drop_index("ix_secrets_changed")
        batch_op.drop_index("ix_secrets_accessed")

    op.drop_table("secrets")
    op.drop_table("secret_versions")
