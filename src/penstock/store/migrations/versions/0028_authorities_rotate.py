"""Authorities rotate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028_authorities_rotate"
down_revision = "0027_passkeys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("x509_host_authorities", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rotated", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("x509_hosts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("issuer", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("issued", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("x509_hosts", schema=None) as batch_op:
        batch_op.drop_column("issued")
        batch_op.drop_column("issuer")

    with op.batch_alter_table("x509_host_authorities", schema=None) as batch_op:
        batch_op.drop_column("rotated")
