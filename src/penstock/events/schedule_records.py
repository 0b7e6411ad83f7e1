"""Tables of EventBridge Scheduler: groups, schedules, and what they have asked of their targets."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, State, metadata, sealed


def input_context(account: str, region: str, group: str, name: str) -> str:
    """For what the input of a schedule's target is sealed."""
    return f"schedule:{account}:{region}:{group}:{name}"


def invocation_context(id: str) -> str:
    """For what the input of an invocation is sealed."""
    return f"schedule-invocation:{id}"


def _input_of(row: Any) -> str:
    return input_context(row.account, row.region, row.group, row.name)


groups = sa.Table(
    "scheduler_groups",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("state", State(8), nullable=False),  # ACTIVE, or DELETING while its schedules go
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
)
schedules = sa.Table(
    "scheduler_schedules",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("group", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("state", State(8), nullable=False),  # ENABLED or DISABLED
    sa.Column("content", Json, nullable=False),  # its members as they were given, but for the target's input
    sa.Column("input", sa.LargeBinary, nullable=False, info=sealed(_input_of)),  # of the target; "" for none
    sa.Column("since", sa.BigInteger, nullable=False),  # from when a rate counts
    sa.Column("next", sa.BigInteger),  # the time of its next invocation; none: there is no further one
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
)
invocations = sa.Table(
    "scheduler_invocations",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("group", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("state", State(8), nullable=False),  # pending, or dead: it has a dead letter
    sa.Column("target", Json, nullable=False),  # as it was at that time, but for its input
    sa.Column("input", sa.LargeBinary, nullable=False, info=sealed(lambda row: invocation_context(row.id))),
    sa.Column("scheduled", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),  # that failed
    sa.Column("at", sa.BigInteger, nullable=False),  # when it came about
)
sa.Index("ix_scheduler_invocations_at", invocations.c.at)
tokens = sa.Table(
    "scheduler_tokens",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("token", sa.String(64), primary_key=True),  # ClientToken of a request that was done
    sa.Column("digest", sa.String(64), nullable=False),  # of its operation and members
    sa.Column("at", sa.BigInteger, nullable=False),
)
sa.Index("ix_scheduler_tokens_at", tokens.c.at)
