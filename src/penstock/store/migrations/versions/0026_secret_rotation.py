"""Secret rotation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026_secret_rotation"
down_revision = "0025_uses_of_roles"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("secrets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rotation", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("rotation_failed", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("secrets", schema=None) as batch_op:
        batch_op.drop_column("rotation_failed")
        batch_op.drop_column("rotation")
