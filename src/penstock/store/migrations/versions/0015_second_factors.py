"""Second factors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_second_factors"
down_revision = "0014_names_of_accounts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "iam_mfa_devices",
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=True),
        sa.Column("enabled", sa.BigInteger(), nullable=True),
        sa.Column("drift", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("arn", name=op.f("pk_iam_mfa_devices")),
    )
    with op.batch_alter_table("iam_mfa_devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_mfa_devices_account"), ["account"], unique=False)
        batch_op.create_index(batch_op.f("ix_iam_mfa_devices_user_id"), ["user_id"], unique=False)

    op.create_table(
        "iam_recovery_codes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_recovery_codes")),
    )
    with op.batch_alter_table("iam_recovery_codes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_recovery_codes_user_id"), ["user_id"], unique=False)

    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mfa", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("iam_console_sessions", schema=None) as batch_op:
        batch_op.drop_column("mfa")

    with op.batch_alter_table("iam_recovery_codes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_recovery_codes_user_id"))

    op.drop_table("iam_recovery_codes")
    with op.batch_alter_table("iam_mfa_devices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_mfa_devices_user_id"))
        batch_op.drop_index(batch_op.f("ix_iam_mfa_devices_account"))

    op.drop_table("iam_mfa_devices")
