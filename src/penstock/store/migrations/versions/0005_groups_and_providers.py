"""Groups and providers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_groups_and_providers"
down_revision = "0004_former_aggregates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_groups",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_groups")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_iam_groups_account_key")),
    )
    op.create_table(
        "iam_members",
        sa.Column("user", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("user", "group", name=op.f("pk_iam_members")),
    )
    with op.batch_alter_table("iam_members", schema=None) as batch_op:
        batch_op.create_index("ix_iam_members_group", ["group"], unique=False)

    op.create_table(
        "iam_oidc_providers",
        sa.Column("arn", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("clients", sa.Text(), nullable=False),
        sa.Column("thumbprints", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("arn", name=op.f("pk_iam_oidc_providers")),
    )
    with op.batch_alter_table("iam_oidc_providers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_oidc_providers_account"), ["account"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_oidc_providers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_oidc_providers_account"))

    op.drop_table("iam_oidc_providers")
    with op.batch_alter_table("iam_members", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_members_group")

    op.drop_table("iam_members")
    op.drop_table("iam_groups")
