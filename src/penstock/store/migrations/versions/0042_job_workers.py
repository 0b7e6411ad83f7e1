"""Job workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042_job_workers"
down_revision = "0041_metric_sources"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "pipeline_action_clients",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=35), nullable=False),
        sa.Column("version", sa.String(length=9), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "region", "category", "owner", "provider", "version", name=op.f("pk_pipeline_action_clients")
        ),
        sa.UniqueConstraint("id", name=op.f("uq_pipeline_action_clients_id")),
    )
    op.create_table(
        "pipeline_action_types",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=35), nullable=False),
        sa.Column("version", sa.String(length=9), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint(
            "account", "region", "category", "owner", "provider", "version", name=op.f("pk_pipeline_action_types")
        ),
    )
    with op.batch_alter_table("pipeline_action_types", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_pipeline_action_types_region_owner_category_provider_version"),
            ["region", "owner", "category", "provider", "version"],
            unique=False,
        )

    op.create_table(
        "pipeline_put_revisions",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("execution_id", sa.String(length=36), nullable=False),
        sa.Column("put", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline_id", "action", "digest", name=op.f("pk_pipeline_put_revisions")),
    )
    with op.batch_alter_table("pipeline_put_revisions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pipeline_put_revisions_put"), ["put"], unique=False)

    op.create_table(
        "pipeline_secrets",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline_id", "version", "stage", "action", "name", name=op.f("pk_pipeline_secrets")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("pipeline_secrets")
    with op.batch_alter_table("pipeline_put_revisions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pipeline_put_revisions_put"))

    op.drop_table("pipeline_put_revisions")
    with op.batch_alter_table("pipeline_action_types", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pipeline_action_types_region_owner_category_provider_version"))

    op.drop_table("pipeline_action_types")
    op.drop_table("pipeline_action_clients")
