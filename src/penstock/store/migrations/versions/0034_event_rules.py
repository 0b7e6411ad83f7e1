"""Event rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034_event_rules"
down_revision = "0033_metrics_and_alarms"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "event_buses",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("dead_letter", sa.Text(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("policy_ids", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_event_buses")),
    )
    op.create_table(
        "event_causes",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=600), nullable=False),
        sa.Column("hops", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "subject", name=op.f("pk_event_causes")),
    )
    with op.batch_alter_table("event_causes", schema=None) as batch_op:
        batch_op.create_index("ix_event_causes_at", ["at"], unique=False)

    op.create_table(
        "event_dead_letters",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("arn", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("event", sa.String(length=36), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("exhausted", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("hops", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_dead_letters")),
    )
    with op.batch_alter_table("event_dead_letters", schema=None) as batch_op:
        batch_op.create_index("ix_event_dead_letters_at", ["at"], unique=False)
        batch_op.create_index("ix_event_dead_letters_place", ["account", "region", "at", "id"], unique=False)

    op.create_table(
        "event_deliveries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("ordering", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("hops", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_deliveries")),
    )
    with op.batch_alter_table("event_deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_event_deliveries_event", ["event"], unique=False)
        batch_op.create_index("ix_event_deliveries_ordering", ["ordering", "id"], unique=False)

    op.create_table(
        "event_envelopes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_envelopes")),
    )
    with op.batch_alter_table("event_envelopes", schema=None) as batch_op:
        batch_op.create_index("ix_event_envelopes_at", ["at"], unique=False)

    op.create_table(
        "event_places",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", name=op.f("pk_event_places")),
    )
    op.create_table(
        "event_rules",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("pattern", sa.Text(), nullable=True),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=12), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("stamp", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "bus", "name", name=op.f("pk_event_rules")),
    )
    op.create_table(
        "event_targets",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("arn", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "bus", "rule", "id", name=op.f("pk_event_targets")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("event_targets")
    op.drop_table("event_rules")
    op.drop_table("event_places")
    with op.batch_alter_table("event_envelopes", schema=None) as batch_op:
        batch_op.drop_index("ix_event_envelopes_at")

    op.drop_table("event_envelopes")
    with op.batch_alter_table("event_deliveries", schema=None) as batch_op:
        batch_op.drop_index("ix_event_deliveries_ordering")
        batch_op.drop_index("ix_event_deliveries_event")

    op.drop_table("event_deliveries")
    with op.batch_alter_table("event_dead_letters", schema=None) as batch_op:
        batch_op.drop_index("ix_event_dead_letters_place")
        batch_op.drop_index("ix_event_dead_letters_at")

    op.drop_table("event_dead_letters")
    with op.batch_alter_table("event_causes", schema=None) as batch_op:
        batch_op.drop_index("ix_event_causes_at")

    op.drop_table("event_causes")
    op.drop_table("event_buses")
