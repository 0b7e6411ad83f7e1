"""Which hosts of running deployments are still there: by their polls, by what they reported, and by their registration.

All of it runs inside a transaction.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.deployments import aggregates, records, runs
from penstock.deployments.server import inputs
from penstock.deployments.server.model import HostStatus

AT_ONCE = 500  # hosts in one decision; the next decision follows at once
OWN_AGENT = "penstock-agent/"  # how our agent's version begins: it keeps its reports until the server has them

_i, _t = records.instances.c, records.targets.c


def unheard(
    conn: sa.Connection, deployment: str, *, limit_ms: int, since: int, now: int
) -> tuple[tuple[str, int], ...]:
    """Running hosts that acknowledged an event and have shown no sign of life for `limit_ms`, with the time of the last one (ms).

    `since` is when this process began to serve: no host could reach it before, so an outage makes no host silent.
    """
    if now - since < limit_ms:
        return ()
    latest = now - limit_ms
    polled = sa.func.coalesce(_i.seen, 0)
    statement = (
        sa.select(_t.name, polled.label("polled"), _t.updated)
        .select_from(_running(deployment))
        .where(_t.deployment == deployment, _t.status == HostStatus.IN_PROGRESS, _t.acknowledged.is_(True))
        .where(polled <= latest, _t.updated <= latest)
        .order_by(_t.position)
        .limit(AT_ONCE)
    )
    return tuple((row.name, max(row.polled, row.updated, since)) for row in conn.execute(statement))


def forgotten(conn: sa.Connection, deployment: str, *, limit_ms: int, since: int, now: int) -> tuple[str, ...]:
    """Hosts with an event of before an outage that ended `limit_ms` ago, whose agent polls again and does not keep its reports."""
    if now - since < limit_ms:
        return ()
    statement = (
        sa.select(_t.name)
        .select_from(_running(deployment))
        .where(_t.deployment == deployment, _t.status == HostStatus.IN_PROGRESS, _t.acknowledged.is_(True))
        .where(_t.updated < since, _i.seen >= since, ~_i.agent.startswith(OWN_AGENT))
        .order_by(_t.position)
        .limit(AT_ONCE)
    )
    return tuple(conn.execute(statement).scalars())


def _running(deployment: str) -> sa.FromClause:
    """The targets of a deployment beside the instances that they are."""
    d = records.deployments.c
    mine = sa.and_(
        _i.account == sa.select(d.account).where(d.id == deployment).scalar_subquery(),
        _i.region == sa.select(d.region).where(d.id == deployment).scalar_subquery(),
        _i.name == _t.name,
        _i.deregistered.is_(None),
    )
    return records.targets.outerjoin(records.instances, mine)


def left(conn: sa.Connection, deployment: str, *, before: int) -> list[str]:
    """Hosts that the deployment is not done with, and that were deregistered `before` then (ms)."""
    d = records.deployments.c
    gone = sa.and_(_i.account == d.account, _i.region == d.region, _i.name == _t.name, _i.deregistered <= before)
    statement = (
        sa.select(_t.name)
        .select_from(records.targets.join(records.deployments, d.id == _t.deployment).join(records.instances, gone))
        .where(_t.deployment == deployment, _t.status.in_([HostStatus.PENDING, HostStatus.IN_PROGRESS]))
        .order_by(_t.position)
        .limit(AT_ONCE)
    )
    return list(conn.execute(statement).scalars())


def give_up(conn: sa.Connection, deployment: str, *, before: int, now: int, seed: int) -> None:
    """Do not wait for hosts that were deregistered `before` then: one that is registered again in time continues."""
    for name in left(conn, deployment, before=before):
        aggregates.apply(conn, deployment, inputs.Deregistered(host=name), now=now, seed=seed)


def fail_former(conn: sa.Connection, account: str, region: str, name: str, *, now: int, seed: int) -> None:
    """Another machine was registered under a host's name: what the deployments of that one still wanted from it has failed."""
    d = records.deployments.c
    theirs = (
        sa.select(d.id)
        .select_from(records.targets.join(records.deployments, d.id == _t.deployment))
        .where(d.account == account, d.region == region, d.id.in_(_active(account, region)), _t.name == name)
        .where(_t.status.in_([HostStatus.PENDING, HostStatus.IN_PROGRESS]))
        .order_by(d.id)
    )
    for deployment in conn.execute(theirs).scalars().all():
        aggregates.apply(conn, deployment, inputs.Deregistered(host=name), now=now, seed=seed)


def _active(account: str, region: str) -> sa.Select[Any]:
    g = records.groups.c
    return sa.select(g.active).where(g.account == account, g.region == region, g.active.is_not(None)).order_by(g.active)


def release_stopping(conn: sa.Connection, account: str, region: str, *, now: int, seed: int) -> None:
    """A host was deregistered: what is being stopped does not wait for it. The others do for a while (`work.watch`)."""
    for deployment in conn.execute(_active(account, region)).scalars().all():
        row = runs.deployment(conn, deployment)
        if row is not None and runs.STATE.load(row.state).stopping:
            give_up(conn, deployment, before=now, now=now, seed=seed)
