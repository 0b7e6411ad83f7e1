"""Log segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045_log_segments"
down_revision = "0044_rule_executions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "log_segments",
        sa.Column("file", sa.String(length=36), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("blob", sa.String(length=32), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=True),
        sa.Column("dropped", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("file", "offset", name=op.f("pk_log_segments")),
    )
    with op.batch_alter_table("log_streams", schema=None) as batch_op:
        batch_op.add_column(sa.Column("packed", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("log_streams", schema=None) as batch_op:
        batch_op.drop_column("packed")

    op.drop_table("log_segments")
