"""Tables of notification rules, and of the targets that they notify."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.schema import Json, State, metadata

rules = sa.Table(
    "notification_rules",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),  # the end of its ARN
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("resource", sa.Text, nullable=False),  # ARN of what it is about
    sa.Column("event_types", Json, nullable=False),  # ids, in the order in which they were given
    sa.Column("detail", sa.String(8), nullable=False),  # BASIC, FULL
    sa.Column("status", State(16), nullable=False),  # ENABLED, DISABLED
    sa.Column("created_by", sa.Text, nullable=False),  # ARN
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.UniqueConstraint("account", "region", "name"),
)
sa.Index("ix_notification_rules_resource", rules.c.account, rules.c.region, rules.c.resource)

targets = sa.Table(
    "notification_targets",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("address", sa.String(320), primary_key=True),  # ARN of a topic
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("status", State(16), nullable=False),
)

subscriptions = sa.Table(
    "notification_subscriptions",  # which rule notifies which target
    metadata,
    sa.Column("rule", sa.String(40), primary_key=True),
    sa.Column("address", sa.String(320), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),  # of both, as the region
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # within the rule
    sa.Index("ix_notification_subscriptions_address", "account", "region", "address"),
)

tokens = sa.Table(
    "notification_tokens",  # requests that were made with a token of their client
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("token", sa.String(64), primary_key=True),  # digest
    sa.Column("request", sa.String(64), nullable=False),  # digest of what was asked
    sa.Column("rule", sa.String(40), nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False, index=True),
)
