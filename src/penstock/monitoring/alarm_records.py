"""Tables of alarms: each is an aggregate; what its state depends on; and what has happened to it."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.aggregate import aggregate_table
from penstock.store.retention import Expiring
from penstock.store.schema import Json, metadata

HISTORY_MS = 30 * 86_400_000  # AWS: alarm history is kept for 30 days

alarms = aggregate_table(
    "cloudwatch_alarms",
    sa.Column("kind", sa.String(16), nullable=False),  # MetricAlarm CompositeAlarm
    sa.Column("value", sa.String(20), nullable=False),  # OK ALARM INSUFFICIENT_DATA
    sa.Column("due", sa.BigInteger, nullable=False),  # ms; when it is evaluated next
    sa.Column("watch", Json, nullable=False),  # what an evaluation needs of its configuration
    sa.Column("tags", Json, nullable=False),  # {key: value}
)
sa.Index("ix_cloudwatch_alarms_due", alarms.c.due)

sources = sa.Table(  # what alarms look at: metrics by their ids, other alarms by their names
    "cloudwatch_alarm_sources",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("source", sa.String(300), primary_key=True),  # metric/ID or alarm/NAME
    sa.Column("alarm", sa.String(255), primary_key=True),
)
sa.Index("ix_cloudwatch_alarm_sources_alarm", sources.c.account, sources.c.region, sources.c.alarm)

history = sa.Table(
    "cloudwatch_alarm_history",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("alarm", sa.String(255), primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),  # ms
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # of the alarm
    sa.Column("item", sa.String(32), nullable=False),  # ConfigurationUpdate StateUpdate Action
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # JSON
)
sa.Index("ix_cloudwatch_alarm_history_at", history.c.at)

EXPIRING = (Expiring(table=history, over=lambda now: history.c.at < now - HISTORY_MS),)
