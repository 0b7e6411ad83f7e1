"""Log keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023_log_keys"
down_revision = "0022_reserved_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "log_data_keys",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=512), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "group", "id", name=op.f("pk_log_data_keys")),
    )
    with op.batch_alter_table("log_groups", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key", sa.String(length=256), nullable=True))
        batch_op.add_column(sa.Column("data_key", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("log_groups", schema=None) as batch_op:
        batch_op.drop_column("data_key")
        batch_op.drop_column("key")

    op.drop_table("log_data_keys")
