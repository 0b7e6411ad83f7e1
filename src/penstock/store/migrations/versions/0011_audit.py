"""Audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_audit"
down_revision = "0010_keys_of_parts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "audit_blocks",
        sa.Column("chain", sa.String(length=32), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "first", name=op.f("pk_audit_blocks")),
    )
    with op.batch_alter_table("audit_blocks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_blocks_last_at"), ["last_at"], unique=False)

    op.create_table(
        "audit_chains",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.String(length=512), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("removed_head", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chains")),
        sa.UniqueConstraint("number", name=op.f("uq_audit_chains_number")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("audit_chains")
    with op.batch_alter_table("audit_blocks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_blocks_last_at"))

    op.drop_table("audit_blocks")
