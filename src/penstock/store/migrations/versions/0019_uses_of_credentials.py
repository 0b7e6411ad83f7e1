"""Uses of credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019_uses_of_credentials"
down_revision = "0018_password_policies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_credential_reports",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_iam_credential_reports")),
    )
    with op.batch_alter_table("iam_access_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("used", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("used_service", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("used_region", sa.String(length=32), nullable=True))

    with op.batch_alter_table("iam_login_profiles", schema=None) as batch_op:
        batch_op.add_column(sa.Column("used", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_login_profiles", schema=None) as batch_op:
        batch_op.drop_column("used")

    with op.batch_alter_table("iam_access_keys", schema=None) as batch_op:
        batch_op.drop_column("used_region")
        batch_op.drop_column("used_service")
        batch_op.drop_column("used")

    op.drop_table("iam_credential_reports")
