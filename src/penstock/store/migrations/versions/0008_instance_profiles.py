"""Instance profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_instance_profiles"
down_revision = "0007_parameters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_instance_profiles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_instance_profiles")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_iam_instance_profiles_account_key")),
    )
    with op.batch_alter_table("iam_instance_profiles", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_instance_profiles_role"), ["role"], unique=False)

    with op.batch_alter_table("iam_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("alias", sa.String(length=63), nullable=True))
        batch_op.create_unique_constraint(batch_op.f("uq_iam_accounts_alias"), ["alias"])


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_accounts", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_iam_accounts_alias"), type_="unique")
        batch_op.drop_column("alias")

    with op.batch_alter_table("iam_instance_profiles", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_instance_profiles_role"))

    op.drop_table("iam_instance_profiles")
