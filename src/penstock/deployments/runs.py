"""Rows of deployments and of their hosts, to and from what the engine works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import records
from penstock.deployments.records import Row
from penstock.deployments.server import lifecycle, needed, revision
from penstock.deployments.server.model import (
    Deployment,
    EventStatus,
    Host,
    HostEvents,
    HostStatus,
    LifecycleEvent,
)
from penstock.deployments.server.needed import Needs
from penstock.deployments.server.queue import Group
from penstock.store.codec import Codec
from penstock.store.journal import Found, former
from penstock.store.rows import Rows
from penstock.store.statement import Statement
from penstock.wire.call import partition_of

STATE = Codec("the state of a deployment", Deployment)
GROUP = Codec("the state of a deployment group", Group)
HOST_EVENTS = Codec("the lifecycle events of a host", HostEvents)

_t = records.targets.c


def expired(before: int) -> sa.ColumnElement[bool]:
    """Deployments that were created before a time (ms) and have ended. Those that a group shows or goes back to stay."""
    table, groups = records.deployments, records.groups
    is_referenced = sa.exists().where(
        groups.c.id == table.c.group_id,
        (groups.c.active == table.c.id) | (groups.c.attempted == table.c.id) | (groups.c.successful == table.c.id),
    )
    return table.c.status.in_(["Succeeded", "Failed", "Stopped"]) & (table.c.created < before) & ~is_referenced


def expired_targets(before: int) -> sa.ColumnElement[bool]:
    """The hosts of such deployments."""
    return records.targets.c.deployment.in_(sa.select(records.deployments.c.id).where(expired(before)))


def expired_logs(before: int) -> sa.ColumnElement[bool]:
    """The logs of their hooks."""
    return records.hook_logs.c.deployment.in_(sa.select(records.deployments.c.id).where(expired(before)))


def expired_revisions(before: int) -> sa.ColumnElement[bool]:
    """Revisions that were registered, and deployed last, before a time (ms), and that are no group's target."""
    r, g = records.revisions.c, records.groups.c
    is_wanted = sa.exists().where(
        g.account == r.account, g.region == r.region, g.application == r.application, g.digest == r.digest
    )
    return (sa.func.coalesce(r.last_used, r.registered) < before) & ~is_wanted


def deployment(conn: sa.Connection, id: str, *, lock: bool = False) -> Row | None:
    """A deployment's row."""
    return (records.LOCKED_DEPLOYMENT if lock else records.DEPLOYMENT).first(conn, {"id": id})


def pin(conn: sa.Connection, id: str, location: dict[str, Any]) -> Row | None:
    """Keep what a deployment's bundle was found to be; what was found first stays, so that all hosts get the same."""
    row = deployment(conn, id, lock=True)
    if row is None or row.body["revision"].get("pinned", {}).get("sha256"):
        return row
    if revision.to_api(row.body["revision"]) != revision.to_api(location):
        return row  # a restart that took over another revision meanwhile
    where = records.deployments.c.id == id
    conn.execute(sa.update(records.deployments).where(where).values(body={**row.body, "revision": location}))
    return deployment(conn, id)


def find_journal(conn: sa.Connection, account: str, region: str, id: str) -> Found | None:
    """The journal of a deployment by its id, or of a group by `application/group`."""
    arn = f"arn:{partition_of(region)}:codedeploy:{region}:{account}:deploymentgroup:"
    application, slash, name = id.partition("/")
    if slash:
        group = records.group(conn, account, region, application, name)
        if group is None:
            return former(conn, account, region, id, kind="deployment-group")
        return Found(aggregate=f"deployment-group/{group.id}", arn=f"{arn}{id}")
    row = deployment(conn, id)
    if row is None or (row.account, row.region) != (account, region):
        return former(conn, account, region, id, kind="deployment")
    return Found(aggregate=f"deployment/{id}", arn=f"{arn}{row.application}/{row.group_name}")


async def find_run(call: Call, id: str) -> Row | None:
    """A deployment's row, read once for each request: to authorise it, and to answer it."""
    known: dict[str, Row | None] = call.memo.setdefault("deployments", {})
    if id not in known:
        known[id] = await call.app.store.lookup(records.DEPLOYMENT, id=id)
    return known[id]


_SAVE = Statement(
    sa.update(records.deployments)
    .where(records.deployments.c.id == sa.bindparam("i"), records.deployments.c.version == sa.bindparam("before"))
    .values(state=sa.bindparam("s"), status=sa.bindparam("status"), version=sa.bindparam("after"))
)


def save(conn: sa.Connection, id: str, after: Deployment, *, before: int, version: int) -> None:
    """Write the counters of decisions, which took the version from `before` to `version`."""

    def check(rows: int) -> None:
        if rows != 1:
            raise RuntimeError(f"deployment {id} was changed without its lock")

    values = {"i": id, "before": before, "s": STATE.dump(after), "status": after.status, "after": version}
    _SAVE.later(conn, values, check=check)


# Hosts


def host(row: Row, events: Sequence[str]) -> Host:
    """A target's row as the engine's host."""
    return Host(
        name=row.name,
        position=row.position,
        healthy=row.healthy,
        seen=row.seen,
        status=HostStatus(row.status),
        events=lifecycle_events(row, events),
        current=row.current,
        acknowledged=row.acknowledged,
        deadline=row.deadline,
        updated=row.updated,
    )


def lifecycle_events(row: Row, events: Sequence[str]) -> tuple[LifecycleEvent, ...]:
    """The lifecycle events of a target's row; rows that were never touched carry none of their own."""
    if row.events is not None:
        return HOST_EVENTS.load(row.events).events
    blank = tuple(LifecycleEvent(name=name) for name in events)
    return lifecycle.skipped_events(blank, row.updated or 0) if row.status == HostStatus.SKIPPED else blank


def _columns(found: Host) -> dict[str, Any]:
    untouched = all(event.status is EventStatus.PENDING and not event.repeats for event in found.events)
    return {
        "status": found.status,
        "current": found.current,
        "acknowledged": found.acknowledged,
        "deadline": found.deadline,
        "updated": found.updated,
        "events": None if untouched else HOST_EVENTS.dump(HostEvents(events=found.events)),
    }


_STATE = ("status", "current", "acknowledged", "deadline", "updated", "events")
_MADE = Rows(records.targets, "deployment", "position", "name", "arn", "healthy", "seen", *_STATE)
_CHANGED = Rows(records.targets, *_STATE, by=("deployment", "position"))


def insert_hosts(conn: sa.Connection, id: str, hosts: Iterable[Host], arns: dict[str, str]) -> None:
    """The rows of a deployment that has just begun."""
    _MADE.write(
        conn,
        [
            {
                "deployment": id,
                "position": found.position,
                "name": found.name,
                "arn": arns[found.name],
                "healthy": found.healthy,
                "seen": found.seen,
                **_columns(found),
            }
            for found in hosts
        ],
    )


def save_hosts(conn: sa.Connection, id: str, hosts: Iterable[Host]) -> None:
    """Write the rows of hosts."""
    _CHANGED.write(conn, [{"deployment": id, "position": found.position, **_columns(found)} for found in hosts])


def hosts_at(conn: sa.Connection, found: Deployment, positions: Iterable[int]) -> list[Host]:
    """The hosts at these positions, as far as there are such."""
    values = {"deployment": found.id, "positions": sorted(set(positions))}
    return [host(row, found.events) for row in records.TARGETS_AT.all(conn, values)]


def skip_pending(conn: sa.Connection, id: str, now: int) -> None:
    """Every pending row becomes skipped, unseen."""
    where = (_t.deployment == id, _t.status == HostStatus.PENDING)
    conn.execute(sa.update(records.targets).where(*where).values(status=HostStatus.SKIPPED, updated=now))


def rows_for(conn: sa.Connection, found: Deployment, needs: Needs, now: int) -> tuple[Host, ...]:
    """The rows that a decision needs, as `needed.needs` names them."""
    running = _t.status == HostStatus.IN_PROGRESS
    if needs.running:
        return _hosts(conn, found, running)
    if needs.overdue:
        rows = _hosts(conn, found, running, sa.or_(_t.deadline <= now, _t.name.in_(needs.hosts)))
    else:
        named = (records.TARGET_OF_HOST.first(conn, {"deployment": found.id, "name": name}) for name in needs.hosts)
        rows = tuple(host(row, found.events) for row in named if row is not None)
    limit = needed.followers(found, needs, len(rows))
    followers = _hosts(conn, found, _t.status == HostStatus.PENDING, limit=limit) if limit else ()
    return rows + tuple(row for row in followers if row.name not in needs.hosts)


def _hosts(
    conn: sa.Connection, found: Deployment, *where: sa.ColumnElement[bool], limit: int | None = None
) -> tuple[Host, ...]:
    statement = sa.select(records.targets).where(_t.deployment == found.id, *where).order_by(_t.position).limit(limit)
    return tuple(host(row, found.events) for row in conn.execute(statement))


def attempted(conn: sa.Connection, id: str) -> set[str]:
    """The names of the hosts on which a deployment began an event."""
    where = (_t.deployment == id, _t.status.in_([HostStatus.SUCCEEDED, HostStatus.FAILED]))
    rows = conn.execute(sa.select(_t.name, _t.events).where(*where))
    return {
        row.name
        for row in rows
        if row.events and any(e.started is not None for e in HOST_EVENTS.load(row.events).events)
    }
