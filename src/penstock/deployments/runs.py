"""Rows of deployments and of their hosts, to and from what the engine works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.deployments import records
from penstock.deployments.records import Row
from penstock.deployments.server import engine, inputs, revision, schedule
from penstock.deployments.server.model import (
    Deployment,
    DeploymentStatus,
    Diagnostics,
    Ending,
    ErrorCode,
    EventStatus,
    Host,
    HostStatus,
    LifecycleEvent,
    Minimum,
    MinimumKind,
    Timeouts,
)
from penstock.room import Call
from penstock.store.journal import Found
from penstock.store.statement import Statement
from penstock.wire.call import partition_of

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_t = records.targets.c


def deployment_id(number: int) -> str:
    """`d-` and nine capital letters and digits, from a random number."""
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, 36)
        digits += _DIGITS[digit]
    return f"d-{digits}"


def derived_id(seed: int, purpose: str) -> str:
    """A deployment id that a decision makes: the same for the same seed."""
    hashed = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return deployment_id(int.from_bytes(hashed[:8], "big"))


def external_id(group_id: str, external: str) -> str:
    """The id of a group's deployment that its creator names: the same for the same name."""
    hashed = hashlib.sha256(f"{group_id}/{external}".encode()).digest()
    return deployment_id(int.from_bytes(hashed[:8], "big"))


def dumped(deployment: Deployment) -> dict[str, Any]:
    """The engine's counters as a document."""
    return asdict(deployment)


def loaded(state: dict[str, Any]) -> Deployment:
    """The reverse of `dumped`."""
    ending = state["ending"]
    return Deployment(
        **{
            **state,
            "status": DeploymentStatus(state["status"]),
            "events": tuple(state["events"]),
            "minimum": Minimum(**{**state["minimum"], "kind": MinimumKind(state["minimum"]["kind"])}),
            "timeouts": Timeouts(**state["timeouts"]),
            "ending": None
            if ending is None
            else Ending(
                status=DeploymentStatus(ending["status"]),
                code=None if ending["code"] is None else ErrorCode(ending["code"]),
                message=ending["message"],
            ),
        }
    )


def expired(before: int) -> sa.ColumnElement[bool]:
    """Deployments that were created before a time (ms) and have ended. Those that a group shows or goes back to stay."""
    table, groups = records.deployments, records.groups
    shown = sa.exists().where(
        groups.c.id == table.c.group_id,
        (groups.c.active == table.c.id) | (groups.c.attempted == table.c.id) | (groups.c.successful == table.c.id),
    )
    return table.c.status.in_(["Succeeded", "Failed", "Stopped"]) & (table.c.created < before) & ~shown


def expired_targets(before: int) -> sa.ColumnElement[bool]:
    """The hosts of such deployments."""
    return records.targets.c.deployment.in_(sa.select(records.deployments.c.id).where(expired(before)))


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
    """The journal of a deployment."""
    row = deployment(conn, id)
    if row is None or (row.account, row.region) != (account, region):
        return None
    group = f"deploymentgroup:{row.application}/{row.group_name}"
    return Found(aggregate=f"deployment/{id}", arn=f"arn:{partition_of(region)}:codedeploy:{region}:{account}:{group}")


async def looked_up(call: Call, id: str) -> Row | None:
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

    values = {"i": id, "before": before, "s": dumped(after), "status": after.status, "after": version}
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
        return tuple(_event(found) for found in row.events)
    blank = tuple(LifecycleEvent(name=name) for name in events)
    return engine.skipped_events(blank, row.updated or 0) if row.status == HostStatus.SKIPPED else blank


def _event(found: dict[str, Any]) -> LifecycleEvent:
    diagnostics = found.get("diagnostics")
    return LifecycleEvent(
        name=found["name"],
        status=EventStatus(found["status"]),
        started=found.get("started"),
        ended=found.get("ended"),
        diagnostics=None if diagnostics is None else Diagnostics(**diagnostics),
        noop=found.get("noop", False),
        repeats=found.get("repeats", 0),
    )


def _stored(event: LifecycleEvent) -> dict[str, Any]:
    """What a row keeps of an event: what says more than its absence would."""
    found: dict[str, Any] = {"name": event.name, "status": event.status}
    if event.started is not None:
        found["started"] = event.started
    if event.ended is not None:
        found["ended"] = event.ended
    if event.diagnostics is not None:
        why = event.diagnostics
        found["diagnostics"] = {"code": why.code, "script": why.script, "message": why.message, "log": why.log}
    if event.noop:
        found["noop"] = True
    if event.repeats:
        found["repeats"] = event.repeats
    return found


def _columns(found: Host) -> dict[str, Any]:
    untouched = all(event.status is EventStatus.PENDING and not event.repeats for event in found.events)
    return {
        "status": found.status,
        "current": found.current,
        "acknowledged": found.acknowledged,
        "deadline": found.deadline,
        "updated": found.updated,
        "events": None if untouched else [_stored(event) for event in found.events],
    }


def insert_hosts(conn: sa.Connection, id: str, hosts: Iterable[Host], arns: dict[str, str]) -> None:
    """The rows of a deployment that has just begun."""
    rows = [
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
    ]
    if rows:
        conn.execute(sa.insert(records.targets), rows)


_SAVE_HOST = Statement(
    sa.update(records.targets)
    .where(_t.deployment == sa.bindparam("i"), _t.position == sa.bindparam("p"))
    .values(
        {
            name: sa.bindparam(f"new_{name}")
            for name in ("status", "current", "acknowledged", "deadline", "updated", "events")
        }
    )
)


def save_hosts(conn: sa.Connection, id: str, hosts: Iterable[Host]) -> None:
    """Write the rows of hosts."""
    rows = [
        {"i": id, "p": found.position, **{f"new_{name}": value for name, value in _columns(found).items()}}
        for found in hosts
    ]
    _SAVE_HOST.many(conn, rows)


def hosts_at(conn: sa.Connection, found: Deployment, positions: Iterable[int]) -> list[Host]:
    """The hosts at these positions, as far as there are such."""
    values = {"deployment": found.id, "positions": sorted(set(positions))}
    return [host(row, found.events) for row in records.TARGETS_AT[conn.dialect.name].all(conn, values)]


def skip_pending(conn: sa.Connection, id: str, now: int) -> None:
    """Every pending row becomes skipped, unseen."""
    where = (_t.deployment == id, _t.status == HostStatus.PENDING)
    conn.execute(sa.update(records.targets).where(*where).values(status=HostStatus.SKIPPED, updated=now))


def rows_for(
    conn: sa.Connection, found: Deployment, event: inputs.Input, now: int, known: Host | None = None
) -> tuple[Host, ...]:
    """The rows that the engine's contract names for an event. `known` is that of its host, when it has been loaded already."""
    match event:
        case inputs.Acknowledged():
            return _named(conn, found, event.host, known)
        case inputs.Completed() | inputs.Lost():
            mine = _named(conn, found, event.host, known)
            return mine + _candidates(conn, found, ending=1) if engine.may_end(found, event) else mine
        case inputs.Deregistered():
            mine = _named(conn, found, event.host)
            return mine + tuple(row for row in _candidates(conn, found, ending=1) if row.name != event.host)
        case inputs.Elapsed():
            running = _t.status == HostStatus.IN_PROGRESS
            if engine.overrun(found, now):
                return _hosts(conn, found, running)
            named = [*event.forgotten, *(name for name, _ in event.unheard)]
            due = _hosts(conn, found, running, sa.or_(_t.deadline <= now, _t.name.in_(named)))
            return due + (_candidates(conn, found, ending=len(due)) if due else ())
        case inputs.Proceed():
            return _candidates(conn, found, ending=0)
        case inputs.StopRequested():
            return _hosts(conn, found, _t.status == HostStatus.IN_PROGRESS)
        case _:
            return ()


def alone(found: Deployment, event: inputs.Input) -> bool:
    """Whether an event is decided on with the row of its host alone."""
    match event:
        case inputs.Acknowledged():
            return True
        case inputs.Completed() | inputs.Lost():
            return not engine.may_end(found, event) or schedule.appetite(found, ending=1) == 0
        case _:
            return False


def _named(conn: sa.Connection, found: Deployment, name: str, known: Host | None = None) -> tuple[Host, ...]:
    if known is not None:
        return (known,)
    row = records.TARGET_OF_HOST.first(conn, {"deployment": found.id, "name": name})
    return () if row is None else (host(row, found.events),)


def _candidates(conn: sa.Connection, found: Deployment, *, ending: int) -> tuple[Host, ...]:
    limit = schedule.appetite(found, ending=ending)
    return _hosts(conn, found, _t.status == HostStatus.PENDING, limit=limit) if limit else ()


def _hosts(
    conn: sa.Connection, found: Deployment, *where: sa.ColumnElement[bool], limit: int | None = None
) -> tuple[Host, ...]:
    statement = sa.select(records.targets).where(_t.deployment == found.id, *where).order_by(_t.position).limit(limit)
    return tuple(host(row, found.events) for row in conn.execute(statement))


def attempted(conn: sa.Connection, id: str) -> set[str]:
    """The names of the hosts on which a deployment began an event."""
    where = (_t.deployment == id, _t.status.in_([HostStatus.SUCCEEDED, HostStatus.FAILED]))
    rows = conn.execute(sa.select(_t.name, _t.events).where(*where))
    return {row.name for row in rows if any(event.get("started") is not None for event in row.events or ())}


def next_queued(conn: sa.Connection, group_id: str) -> str | None:
    """The deployment of a group that waits longest."""
    c = records.deployments.c
    where = (c.group_id == group_id, c.status == DeploymentStatus.QUEUED)
    return conn.execute(sa.select(c.id).where(*where).order_by(c.number).limit(1)).scalar()
