"""The store's own tables."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.packing import Packed
from penstock.store.schema import Json, Position, State, Uuid, metadata, partial_index

LIVE = ("ready", "offered", "leased")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(128), nullable=False),
    sa.Column("topic", sa.String(512), nullable=False),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("state", State(10), nullable=False),  # ready offered leased done cancelled dead
    sa.Column("attempt", sa.Integer, nullable=False),  # times it was handed out
    sa.Column("failures", sa.Integer, nullable=False),  # times that went wrong
    sa.Column("fence", sa.String(80)),  # of the present offer or lease
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger),  # end of the offer or lease; NULL in a lease: it has none
    sa.Column("dedup", sa.String(512)),
    sa.Column("error", sa.Text),  # of the last failure
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("ended", sa.BigInteger),
)
OUTSIDE = jobs.c.topic != sa.literal_column("''")
"""Jobs that are offered to somebody outside. Its text stands in the statement for the reason that State gives."""
partial_index("ix_jobs_ready", jobs.c.due, jobs.c.id, where=(jobs.c.state == "ready") & ~OUTSIDE)
partial_index("ix_jobs_held", jobs.c.until, where=jobs.c.state.in_(["offered", "leased"]))
partial_index(
    "uq_jobs_live_dedup",
    jobs.c.kind,
    jobs.c.dedup,
    unique=True,
    where=jobs.c.state.in_(LIVE) & jobs.c.dedup.is_not(None),
)
partial_index(
    "ix_jobs_topic",
    jobs.c.topic,
    jobs.c.kind,
    jobs.c.due,
    where=jobs.c.state.in_(["ready", "offered"]) & OUTSIDE,
)
partial_index("ix_jobs_ended", jobs.c.state, jobs.c.ended, where=jobs.c.ended.is_not(None))

events = sa.Table(
    "events",
    metadata,
    sa.Column("position", Position, primary_key=True, autoincrement=True),  # order of insertion, not of COMMIT
    sa.Column("id", Uuid, nullable=False),  # without an index, since an event is found by its position
    sa.Column("sequence", sa.BigInteger, nullable=False),  # within the aggregate, from 1
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("content", Packed, nullable=False),  # all else, which is read with the event and never asked for
)
sa.Index("ix_events_at", events.c.at)

event_sequences = sa.Table(
    "event_sequences",
    metadata,
    sa.Column("aggregate", sa.String(512), primary_key=True),
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # of the last event
)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("types", Json, nullable=False),  # exact names, or "prefix.*"
    sa.Column("since", sa.BigInteger, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("subscription", sa.String(128), primary_key=True),
    sa.Column("aggregate", sa.String(512), primary_key=True),
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("state", State(10), nullable=False),  # pending dead; a delivered one is deleted
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("position", sa.BigInteger, nullable=False),  # of its event
)
sa.Index("ix_deliveries_position", deliveries.c.position)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("aggregate", sa.String(512), primary_key=True),
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("input", Json, nullable=False),
    sa.Column("effects", Json, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
)
sa.Index("ix_journal_at", journal.c.at)

former_aggregates = sa.Table(  # deleted ones, whose journals can be read for as long as they are kept
    "former_aggregates",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),  # as people know it, or know one of its executions
    sa.Column("aggregate", sa.String(512), primary_key=True),
    sa.Column("about", sa.String(512), nullable=False),  # the id of an execution; "" for all of the aggregate
    sa.Column("arn", sa.String(2048), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
sa.Index("ix_former_aggregates_at", former_aggregates.c.at)

key_holders = sa.Table(  # processes, with the ids of their master keys in hexadecimal
    "master_key_holders",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # chosen by the process
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("seals", sa.String(8), nullable=False),
    sa.Column("opens", Json, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),  # ms
)
