"""Small events."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from penstock.store.packing import pack, unpack

revision = "0006_small_events"
down_revision = "0005_groups_and_providers"
branch_labels = None
depends_on = None

_UUID = sa.Uuid(as_uuid=False).with_variant(sa.LargeBinary(16), "sqlite")
_BATCH = 5_000  # events in memory


def upgrade() -> None:
    """Lead to this revision."""
    op.add_column("deliveries", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE deliveries SET position = (SELECT events.position FROM events WHERE events.id = deliveries.event)"
    )
    op.execute("DELETE FROM deliveries WHERE position IS NULL")  # without its event there is nothing to deliver
    op.drop_index("ix_deliveries_event", table_name="deliveries")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_column("event")
        batch_op.alter_column("position", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("ix_deliveries_position", "deliveries", ["position"], unique=False)

    # Without the indexes, which would be kept for each row that changes. PostgreSQL writes the table anew once its ids are others.
    op.drop_index("ix_events_at", table_name="events")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_constraint("uq_events_id", type_="unique")
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for rows in _batches(("id", "type", "account", "region", "content")):
        changed = [
            {"p": row.position, "content": pack([*unpack(bytes(row.content)), row.type, row.account, row.region])}
            | ({"id": uuid.UUID(row.id).bytes} if on_sqlite else {})
            for row in rows
        ]
        _change({"id": "BYTEA", "content": "BYTEA"}, changed)
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.alter_column("id", existing_type=sa.String(64), type_=_UUID, postgresql_using="id::uuid")
        batch_op.drop_column("type")
        batch_op.drop_column("account")
        batch_op.drop_column("region")
    op.create_index("ix_events_at", "events", ["at"], unique=False)


def downgrade() -> None:
    """Lead back to the one before."""
    op.drop_index("ix_events_at", table_name="events")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("type", sa.String(128), nullable=True))
        batch_op.add_column(sa.Column("account", sa.String(12), nullable=True))
        batch_op.add_column(sa.Column("region", sa.String(32), nullable=True))
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for rows in _batches(("id", "content")):
        changed = []
        for row in rows:
            *content, type, account, region = unpack(bytes(row.content))
            about = {"type": type, "account": account, "region": region}
            id = {"id": str(uuid.UUID(bytes=row.id))} if on_sqlite else {}
            changed.append({"p": row.position, "content": pack(content, version=1)} | about | id)
        _change({"id": "TEXT", "content": "BYTEA", "type": "TEXT", "account": "TEXT", "region": "TEXT"}, changed)
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.alter_column("id", existing_type=_UUID, type_=sa.String(64), postgresql_using="id::text")
        batch_op.alter_column("type", existing_type=sa.String(128), nullable=False)
        batch_op.alter_column("account", existing_type=sa.String(12), nullable=False)
        batch_op.alter_column("region", existing_type=sa.String(32), nullable=False)
        batch_op.create_unique_constraint("uq_events_id", ["id"])
    op.create_index("ix_events_at", "events", ["at"], unique=False)

    op.add_column("deliveries", sa.Column("event", sa.String(64), nullable=True))
    op.execute(
        "UPDATE deliveries SET event = (SELECT events.id FROM events WHERE events.position = deliveries.position)"
    )
    op.drop_index("ix_deliveries_position", table_name="deliveries")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_column("position")
        batch_op.alter_column("event", existing_type=sa.String(64), nullable=False)
    op.create_index("ix_deliveries_event", "deliveries", ["event"], unique=False)


def _batches(columns: tuple[str, ...]) -> Iterator[list[Any]]:
    """All events, in the order of their positions. What is packed cannot be changed by SQL."""
    asked = sa.text(
        f"SELECT position, {', '.join(columns)} FROM events WHERE position > :last ORDER BY position LIMIT {_BATCH}"  # noqa: S608
    )
    last = 0
    while rows := list(op.get_bind().execute(asked, {"last": last})):
        yield rows
        last = rows[-1].position


def _change(types: dict[str, str], rows: list[dict[str, Any]]) -> None:
    """Write columns of rows, found by their position: `p`."""
    given = [name for name in types if name in rows[0]]
    conn = op.get_bind()
    if conn.dialect.name == "sqlite":
        values = ", ".join(f"{name} = :{name}" for name in given)
        conn.execute(sa.text(f"UPDATE events SET {values} WHERE position = :p"), rows)  # noqa: S608
        return
    values = ", ".join(f"{name} = new.{name}" for name in given)
    lists = ", ".join(f"CAST(:{name} AS {types[name]}[])" for name in given)
    conn.execute(
        sa.text(
            f"UPDATE events SET {values} FROM unnest(CAST(:p AS BIGINT[]), {lists}) AS new(p, {', '.join(given)}) "  # noqa: S608
            "WHERE events.position = new.p"
        ),
        {name: [row[name] for row in rows] for name in ("p", *given)},
    )
