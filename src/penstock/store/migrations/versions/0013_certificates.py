"""Certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_certificates"
down_revision = "0012_console_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "x509_host_authorities",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("anchor", sa.String(length=36), nullable=False),
        sa.Column("profile", sa.String(length=36), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", name=op.f("pk_x509_host_authorities")),
        sa.UniqueConstraint("anchor", name=op.f("uq_x509_host_authorities_anchor")),
    )
    op.create_table(
        "x509_hosts",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=256), nullable=False),
        sa.Column("invitation", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("joining", sa.String(length=36), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_x509_hosts")),
    )
    op.create_table(
        "x509_profiles",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_arns", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column("with_properties", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=2048), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_x509_profiles")),
    )
    with op.batch_alter_table("x509_profiles", schema=None) as batch_op:
        batch_op.create_index("ix_x509_profiles_place", ["account", "region", "id"], unique=False)

    op.create_table(
        "x509_revocation_lists",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("anchor", sa.String(length=36), nullable=False),
        sa.Column("pem", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_x509_revocation_lists")),
    )
    with op.batch_alter_table("x509_revocation_lists", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_x509_revocation_lists_anchor"), ["anchor"], unique=False)
        batch_op.create_index("ix_x509_revocation_lists_place", ["account", "region", "id"], unique=False)

    op.create_table(
        "x509_trust_anchors",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_x509_trust_anchors")),
    )
    with op.batch_alter_table("x509_trust_anchors", schema=None) as batch_op:
        batch_op.create_index("ix_x509_trust_anchors_place", ["account", "region", "id"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("x509_trust_anchors", schema=None) as batch_op:
        batch_op.drop_index("ix_x509_trust_anchors_place")

    op.drop_table("x509_trust_anchors")
    with op.batch_alter_table("x509_revocation_lists", schema=None) as batch_op:
        batch_op.drop_index("ix_x509_revocation_lists_place")
        batch_op.drop_index(batch_op.f("ix_x509_revocation_lists_anchor"))

    op.drop_table("x509_revocation_lists")
    with op.batch_alter_table("x509_profiles", schema=None) as batch_op:
        batch_op.drop_index("ix_x509_profiles_place")

    op.drop_table("x509_profiles")
    op.drop_table("x509_hosts")
    op.drop_table("x509_host_authorities")
