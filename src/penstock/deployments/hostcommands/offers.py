"""Offers of commands to hosts that poll: those of many hosts in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from penstock.deployments import commands
from penstock.deployments.hostcommands.together import Together
from penstock.store import jobs
from penstock.store.database import Store
from penstock.store.records import jobs as job_table
from penstock.store.statement import Statement
from penstock.store.transaction import transaction_of

_HANDED_OUT = (jobs.JobState.READY, jobs.JobState.OFFERED)


def together(store: Store) -> Together[tuple[str, int], jobs.Job | None]:
    """Polls that wait for a transaction: each gives its topic and for how many ms it is offered the next command."""
    return Together(store, offered)


def offered(conn: sa.Connection, wanted: Sequence[tuple[str, int]]) -> list[jobs.Job | None]:
    """For each topic an offer of the host's next command for so many ms, if there is one."""
    offers: list[jobs.Job | None] = []
    for topic, offer_ms in wanted:
        now = transaction_of(conn).clock.now()
        found = jobs.offer(conn, kind=commands.COMMAND, topic=topic, limit=1, offer_ms=offer_ms, now=now)
        offers.append(found[0] if found else None)
    return offers


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
