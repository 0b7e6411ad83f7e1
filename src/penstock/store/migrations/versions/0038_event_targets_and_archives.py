"""Event targets and archives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038_event_targets_and_archives"
down_revision = "0037_message_dead_letters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    op.create_table(
        "event_api_destinations",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_event_api_destinations")),
    )
    op.create_table(
        "event_archived",
        sa.Column("archive", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("came", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("archive", "id", name=op.f("pk_event_archived")),
    )
    with op.batch_alter_table("event_archived", schema=None) as batch_op:
        batch_op.create_index("ix_event_archived_first", ["archive", "first", "id"], unique=False)

    op.create_table(
        "event_archives",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("pattern", sa.Text(), nullable=True),
        sa.Column("retention", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_event_archives")),
        sa.UniqueConstraint("id", name=op.f("uq_event_archives_id")),
    )
    op.create_table(
        "event_connections",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("token_until", sa.BigInteger(), nullable=True),
        sa.Column("stamp", sa.String(length=36), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("authorized", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_event_connections")),
    )
    op.create_table(
        "event_replays",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("archive", sa.String(length=36), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("bus", sa.String(length=256), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("seen_first", sa.BigInteger(), nullable=True),
        sa.Column("seen_id", sa.String(length=36), nullable=True),
        sa.Column("replayed", sa.BigInteger(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_event_replays")),
    )
    with op.batch_alter_table("event_replays", schema=None) as batch_op:
        batch_op.create_index("ix_event_replays_archive", ["archive", "state"], unique=False)
        batch_op.create_index("ix_event_replays_ended", ["ended"], unique=False)

    op.create_table(
        "log_resource_policies",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_log_resource_policies")),
    )


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_table("log_resource_policies")
    with op.batch_alter_table("event_replays", schema=None) as batch_op:
        batch_op.drop_index("ix_event_replays_ended")
        batch_op.drop_index("ix_event_replays_archive")

    op.drop_table("event_replays")
    op.drop_table("event_connections")
    op.drop_table("event_archives")
    with op.batch_alter_table("event_archived", schema=None) as batch_op:
        batch_op.drop_index("ix_event_archived_first")

    op.drop_table("event_archived")
    op.drop_table("event_api_destinations")
