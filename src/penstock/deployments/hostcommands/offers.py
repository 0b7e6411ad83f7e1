"""Offers of commands to hosts that poll: those of many hosts in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from penstock.deployments import commands
from penstock.deployments.hostcommands.together import Together
from penstock.store import jobs, outside
from penstock.store.database import Store
from penstock.store.records import jobs as job_table
from penstock.store.statement import Statement
from penstock.store.transaction import transaction_of

_HANDED_OUT = (jobs.JobState.READY, jobs.JobState.OFFERED)


def together(store: Store) -> Together[tuple[str, int], jobs.Job | None]:
    """Polls that wait for a transaction: each gives its topic and for how many ms it is offered the next command."""
    return Together(store, offered)


def offered(conn: sa.Connection, wanted: Sequence[tuple[str, int]]) -> list[jobs.Job | None]:
    """For each topic an offer of the host's next command, if there is one, for the longest of the times."""
    longest = max(offer_ms for _, offer_ms in wanted)
    now = transaction_of(conn).clock.now()
    found = outside.offer(conn, kind=commands.COMMAND, topics=(topic for topic, _ in wanted), offer_ms=longest, now=now)
    # Of two polls of one host the first has it.
    return [found.pop(topic, None) for topic, _ in wanted]


_c = job_table.c
ANY = Statement(
    sa.select(_c.id)
    .where(
        _c.topic == sa.bindparam("topic"),
        _c.kind == commands.COMMAND,
        sa.or_(*(_c.state == state for state in _HANDED_OUT)),
        _c.topic != "",
    )
    .limit(1)
)
