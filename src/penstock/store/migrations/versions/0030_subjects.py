"""Subjects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030_subjects"
down_revision = "0029_sealed_digests"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "x509_subjects",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("certificates", sa.Text(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_x509_subjects")),
    )
    with op.batch_alter_table("x509_subjects", schema=None) as batch_op:
        batch_op.create_index("ix_x509_subjects_place", ["account", "region", "id"], unique=False)
        batch_op.create_index("ix_x509_subjects_seen", ["account", "region", "seen"], unique=False)

    with op.batch_alter_table("x509_profiles", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mappings", sa.Text(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("x509_profiles", schema=None) as batch_op:
        batch_op.drop_column("mappings")

    with op.batch_alter_table("x509_subjects", schema=None) as batch_op:
        batch_op.drop_index("ix_x509_subjects_seen")
        batch_op.drop_index("ix_x509_subjects_place")

    op.drop_table("x509_subjects")
