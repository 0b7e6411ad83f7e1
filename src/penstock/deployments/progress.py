"""One decision on one deployment: load, decide, commit the new state with its effects. All of it runs inside a transaction.

Locks are taken in this order: the deployment's row, rows of its hosts, the group's row.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.records import Row
from penstock.deployments.server import engine, fleet, lifecycle
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.model import (
    Deployment,
    DeploymentStatus,
    ErrorCode,
    FleetHost,
    HostStatus,
    Minimum,
    MinimumKind,
    RevisionHealth,
    State,
    Timeouts,
)
from penstock.store import journal
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid
from penstock.store.jobs import cancel_id, enqueue, finish, put_back

START = "deployments.start"  # job: begin a deployment whose group is free
PROCEED = "deployments.proceed"  # job: start the further hosts of a large fleet
WATCH = "deployments.watch"  # job: look after the deadlines of a running deployment
COMMAND = "deployments.host_command"  # job for a host's agent: one lifecycle event

CREATOR_ROLLBACK = "codeDeployRollback"
ROLLBACK_SCOPE_TAG = "penstock:rollback-scope"  # of a group: `all` rolls back every host, not only the attempted ones
AGENT_TIMEOUT_TAG = "penstock:agent-timeout-seconds"  # of a group: how long an agent may take to pick an event up
STRICT_TAG = "penstock:strict"  # of a group: `true` fails a host whose revision names hooks that do not exist
STOP_TIMEOUT_TAG = "penstock:stop-timeout-seconds"  # of a group: how long StopDeployment waits for an event that runs
SILENT_HOST_TAG = (
    "penstock:silent-host-seconds"  # of a group: when a host that does not poll counts as gone, once stopped
)

SEEN_LATELY_MS = 180_000


def command_id(deployment: str, position: int, index: int) -> str:
    """The job of one lifecycle event on one host."""
    return f"{deployment}.{position}.{index}"


def host_topic(account: str, region: str, name: str) -> str:
    """Where the commands of one host are offered."""
    return f"{account}/{region}/{name}"


def create(
    conn: sa.Connection,
    *,
    id: str,
    group: Row,
    body: dict[str, Any],
    now: int,
) -> DeploymentStatus:
    """Insert a deployment and, when its group is free, have it begun; its status: Created, or Queued behind another.

    The group's row must be locked. `body` is what was asked for: see `operations/deployments.py`.
    """
    free = group.active is None
    status = DeploymentStatus.CREATED if free else DeploymentStatus.QUEUED
    conn.execute(
        sa.insert(records.deployments).values(
            id=id,
            account=group.account,
            region=group.region,
            application=group.application,
            group_name=group.name,
            group_id=group.id,
            number=group.total + 1,
            status=status,
            body=body,
            state=runs.dumped(planned(id, body=body, status=status)),
            links={},
            created=now,
            version=0,
        )
    )
    values: dict[str, Any] = {"attempted": id, "total": group.total + 1}
    if free:
        values["active"] = id
        _enqueue_start(conn, id, group.account, group.region)
    conn.execute(sa.update(records.groups).where(records.groups.c.id == group.id).values(**values))
    return status


def planned(id: str, *, body: dict[str, Any], status: DeploymentStatus) -> Deployment:
    """The engine's view of a deployment that has not begun."""
    minimum = body["minimum"]
    rolls_back = body["autoRollback"]
    on = set(rolls_back.get("events") or ()) if rolls_back.get("enabled") else set()
    return Deployment(
        id=id,
        status=status,
        events=lifecycle.IN_PLACE,
        minimum=Minimum(kind=MinimumKind(minimum["type"]), value=minimum["value"], predefined=minimum["predefined"]),
        ignore_stop_failures=body["ignoreApplicationStopFailures"],
        is_rollback=body["creator"] == CREATOR_ROLLBACK,
        idle_is_success=body["updateOutdatedInstancesOnly"],
        rolls_back_on_failure="DEPLOYMENT_FAILURE" in on,
        rolls_back_on_stop="DEPLOYMENT_STOP_ON_REQUEST" in on,
    )


def begin(
    conn: sa.Connection,
    id: str,
    *,
    timeouts: Timeouts,
    refusal: str,
    now: int,
    seed: int,
) -> None:
    """Resolve the hosts and begin; `refusal` is why the service role cannot be had, or empty."""
    row = runs.deployment(conn, id, lock=True)
    if row is None or DeploymentStatus(row.status) not in (DeploymentStatus.CREATED, DeploymentStatus.QUEUED):
        return
    group = records.one(conn, records.groups, id=row.group_id)
    if group is None:
        words = f"The deployment group {row.group_name} was deleted before the deployment started."
        event: engine.Event = engine.Refused(code=ErrorCode.DEPLOYMENT_GROUP_MISSING, message=words)
        advance(conn, id, event, now=now, seed=seed)
    elif refusal:
        advance(conn, id, engine.Refused(code=ErrorCode.IAM_ROLE_MISSING, message=refusal), now=now, seed=seed)
    else:
        row = _after_the_others(conn, row, group)
        timeouts = _own(timeouts, group.tags)
        event, arns = _fleet(conn, row, group, now)
        advance(conn, id, replace(event, timeouts=timeouts), now=now, seed=seed, arns=arns)
        enqueue(
            conn, kind=WATCH, payload={"deployment": id}, account=row.account, region=row.region,
            due=now + next_look(timeouts), dedup=id,
        )  # fmt: skip


def _after_the_others(conn: sa.Connection, row: Row, group: Row) -> Row:
    """The row with what the group has now: the deployments that it waited for may have changed that since it was asked for."""
    body = {**row.body, "previousRevision": group.revision, "strict": group.tags.get(STRICT_TAG) == "true"}
    if body["mode"] == "RESTART":
        body |= {"revision": group.revision, "digest": group.digest, "reuse": group.successful}
    if body == row.body:
        return row
    where = records.deployments.c.id == row.id
    conn.execute(sa.update(records.deployments).where(where).values(body=body))
    found = runs.deployment(conn, row.id)
    assert found is not None
    return found


def _own(timeouts: Timeouts, tags: dict[str, str]) -> Timeouts:
    """The time-outs of a group whose tags say otherwise."""
    for tag, names in (
        (AGENT_TIMEOUT_TAG, ("pickup", "absent")),
        (STOP_TIMEOUT_TAG, ("stop",)),
        (SILENT_HOST_TAG, ("gone",)),
    ):
        seconds = tags.get(tag, "")
        if seconds.isdecimal() and 0 < int(seconds) <= 86_400:
            timeouts = replace(timeouts, **dict.fromkeys(names, int(seconds) * 1000))
    return timeouts


def next_look(timeouts: Timeouts) -> int:
    """After how many ms deadlines and silent hosts must be looked at again: a deadline set meanwhile is never sooner."""
    return min(timeouts.pickup, timeouts.absent, timeouts.event, timeouts.noop, timeouts.stop, -(-timeouts.gone // 3))


def _fleet(conn: sa.Connection, row: Row, group: Row, now: int) -> tuple[engine.Began, dict[str, str]]:
    """The hosts to deploy to, and their ARNs by name."""
    known = records.healths(conn, group.id)
    wanted = revisions.content(row.body["revision"])
    target = revisions.content(group.revision) if group.revision else ""
    only = runs.attempted(conn, row.body["attemptedOf"]) if row.body.get("attemptedOf") else None
    hosts: list[FleetHost] = []
    arns: dict[str, str] = {}
    bystanders = size = 0
    for found in records.registered_instances(conn, row.account, row.region):
        if not fleet.in_group(found.kind, found.tags, group.body):
            continue
        size += 1
        health = known.get(found.name)
        healthy = bool(health and health.healthy)
        installed = health.installed if health else ""
        current = bool(installed) and installed == wanted
        outdated = not (healthy and current)
        if (only is not None and found.name not in only) or (row.body["updateOutdatedInstancesOnly"] and not outdated):
            bystanders += healthy
            continue
        if not installed:
            revision = RevisionHealth.UNKNOWN
        else:
            revision = RevisionHealth.CURRENT if installed == target else RevisionHealth.OLD
        seen = found.seen is not None and found.seen >= now - SEEN_LATELY_MS
        hosts.append(FleetHost(name=found.name, healthy=healthy, revision=revision, seen=seen))
        arns[found.name] = found.arn
    return engine.Began(hosts=tuple(hosts), bystanders=bystanders, fleet=size), arns


def advance(
    conn: sa.Connection,
    id: str,
    event: engine.Event,
    *,
    now: int,
    seed: int,
    arns: dict[str, str] | None = None,
) -> Deployment | None:
    """Take one decision; the counters after it, or None when the deployment is not there."""
    decisions = Decisions.load(conn, id)
    if decisions is None:
        return None
    decisions.take(event, now=now, seed=seed, arns=arns)
    decisions.save()
    return decisions.deployment


class Decisions:
    """Decisions on one deployment in one transaction: its row is locked, loaded and written once for all of them."""

    def __init__(self, conn: sa.Connection, row: Row) -> None:
        self._conn = conn
        self._version = self._written = row.version
        self.row = row
        self.deployment = runs.loaded(row.state)

    @classmethod
    def load(cls, conn: sa.Connection, id: str) -> Decisions | None:
        """Lock a deployment, if it is there."""
        row = runs.deployment(conn, id, lock=True)
        return None if row is None else cls(conn, row)

    def take(
        self,
        event: engine.Event,
        *,
        now: int,
        seed: int,
        arns: dict[str, str] | None = None,
        target: Row | None = None,
    ) -> None:
        """Take one decision: everything of it but the counters is written.

        `arns` are those of the hosts that it begins with; `target` is the row of the event's host, when the transaction has just read it.
        """
        conn, row = self._conn, self.row
        now = journal.time_of(conn, now)
        before = State(deployment=self.deployment, hosts=runs.rows_for(conn, self.deployment, event, now, target))
        after, effects = engine.decide(before, event, now, seed)
        if after is before or (after == before and not effects):
            return
        self._version += 1
        self.deployment = after.deployment
        journal.append(
            conn,
            aggregate=f"deployment/{row.id}",
            sequence=self._version,
            at=now,
            seed=seed,
            event={"type": type(event).__name__, **asdict(event)},
            account=row.account,
            region=row.region,
        )
        if isinstance(event, engine.Began):
            runs.insert_hosts(conn, row.id, after.hosts, arns or {})
        else:
            for host in engine.changed(before, after):
                runs.save_host(conn, row.id, host)
        if self.deployment.status.final:
            self.save()  # what follows its end looks at it
        for effect in effects:
            _perform(conn, row, self.deployment, effect, now=now, seed=seed)

    def save(self) -> None:
        """Write the counters as they are after the decisions."""
        if self._version != self._written:
            runs.save(self._conn, self.row.id, self.deployment, before=self._written, version=self._version)
            self._written = self._version


def _perform(
    conn: sa.Connection, row: Row, deployment: Deployment, effect: engine.Effect, *, now: int, seed: int
) -> None:
    match effect:
        case engine.SendCommand():
            enqueue(
                conn,
                id=command_id(row.id, effect.position, effect.index),
                kind=COMMAND,
                payload={
                    "deployment": row.id,
                    "position": effect.position,
                    "index": effect.index,
                    "event": effect.event,
                },
                account=row.account,
                region=row.region,
                topic=host_topic(row.account, row.region, effect.host),
            )
        case engine.WithdrawCommand():
            cancel_id(conn, command_id(row.id, effect.position, effect.index))
        case engine.EndCommand():
            finish(conn, command_id(row.id, effect.position, effect.index))
        case engine.OfferAgain():
            put_back(conn, command_id(row.id, effect.position, effect.index))
        case engine.Continue():
            key = {"kind": PROCEED, "dedup": row.id, "payload": {"deployment": row.id}}
            enqueue(conn, **key, account=row.account, region=row.region)
        case engine.SkipPending():
            runs.skip_pending(conn, row.id, now)
        case engine.HostChanged():
            if effect.mark is not engine.Mark.START:
                records.set_health(
                    conn,
                    group_id=row.group_id,
                    name=effect.host,
                    healthy=effect.mark is engine.Mark.SUCCESS,
                    digest=revisions.content(row.body["revision"]),
                    now=now,
                )
            _emit_host(conn, row, effect, now)
        case engine.DeploymentChanged():
            _emit_deployment(conn, row, deployment, effect, now)
        case engine.Finished():
            _finished(conn, row, deployment, rolls_back=effect.rolls_back, now=now, seed=seed)


# What the world hears


def _detail(row: Row) -> dict[str, Any]:
    return {
        "application": row.application,
        "deploymentGroup": row.group_name,
        "deploymentId": row.id,
        "instanceGroupId": row.group_id,
        "region": row.region,
    }


def _emit(conn: sa.Connection, row: Row, type: str, payload: dict[str, Any], now: int) -> None:
    event = Event(
        type=type,
        account=row.account,
        region=row.region,
        aggregate=f"deployment/{row.id}",
        payload=payload,
        actor=row.body.get("requester", ""),
        correlation=row.id,
    )
    emit(conn, event, now=now, id=ordered_uuid())


def _emit_deployment(
    conn: sa.Connection, row: Row, deployment: Deployment, effect: engine.DeploymentChanged, now: int
) -> None:
    payload = {**_detail(row), "status": deployment.status, "state": effect.mark, "creator": row.body["creator"]}
    if deployment.ending is not None and deployment.ending.code is not None and deployment.status.final:
        payload["errorInformation"] = {"code": deployment.ending.code, "message": deployment.ending.message}
    _emit(conn, row, "codedeploy.deployment.state_changed", payload, now)


def _emit_host(conn: sa.Connection, row: Row, effect: engine.HostChanged, now: int) -> None:
    payload = {**_detail(row), "instanceId": effect.host, "state": effect.mark}
    _emit(conn, row, "codedeploy.instance.state_changed", payload, now)


# The end


def _finished(conn: sa.Connection, row: Row, deployment: Deployment, *, rolls_back: bool, now: int, seed: int) -> None:
    """Free the group, note its new revision, roll back or begin the next that waits."""
    group = records.one(conn, records.groups, lock=True, id=row.group_id)
    if group is None:
        return
    values: dict[str, Any] = {}
    if deployment.status is DeploymentStatus.SUCCEEDED:
        values = {"successful": row.id, "revision": row.body["revision"], "digest": row.body["digest"]}
    if group.active == row.id:
        values["active"] = None
    if values:
        conn.execute(sa.update(records.groups).where(records.groups.c.id == group.id).values(**values))
    if group.active != row.id:
        return
    group = records.one(conn, records.groups, id=row.group_id)
    assert group is not None
    everywhere = group.tags.get(ROLLBACK_SCOPE_TAG) == "all"
    if rolls_back and group.revision is not None and (deployment.touched or everywhere):
        _roll_back(conn, row, group, everywhere=everywhere, now=now, seed=seed)
        return
    waiting = runs.next_queued(conn, group.id)
    if waiting is not None:
        conn.execute(sa.update(records.groups).where(records.groups.c.id == group.id).values(active=waiting))
        _enqueue_start(conn, waiting, row.account, row.region)


def _roll_back(conn: sa.Connection, row: Row, group: Row, *, everywhere: bool, now: int, seed: int) -> None:
    id = runs.derived_id(seed, "rollback")
    good = runs.deployment(conn, group.successful) if group.successful else None
    body = {
        **row.body,
        "revision": group.revision,
        "digest": group.digest,
        "creator": CREATOR_ROLLBACK,
        "description": "",
        "externalId": "",
        "updateOutdatedInstancesOnly": False,
        "mode": None,
        "reuse": None,
        # AWS: a rollback keeps the option of the deployment that it goes back to.
        "fileExistsBehavior": good.body["fileExistsBehavior"] if good else row.body["fileExistsBehavior"],
        "attemptedOf": None if everywhere else row.id,
    }
    create(conn, id=id, group=group, body=body, now=now)
    there = {
        "rollbackDeploymentId": id,
        "rollbackMessage": f"Deployment {row.id} terminated. Automatic rollback is triggered with a DeploymentId {id}.",
    }
    here = {
        "rollbackTriggeringDeploymentId": row.id,
        "rollbackMessage": f"Deployment {id} is triggered to roll back deployment {row.id}.",
    }
    for deployment, links in ((row.id, there), (id, here)):
        where = records.deployments.c.id == deployment
        conn.execute(sa.update(records.deployments).where(where).values(links=links))


def _enqueue_start(conn: sa.Connection, id: str, account: str, region: str) -> None:
    enqueue(conn, kind=START, payload={"deployment": id}, account=account, region=region, dedup=id)


def earliest_deadline(conn: sa.Connection, found: Deployment) -> int | None:
    """When the next host's command fails by itself, or the whole deployment does; None when it is over."""
    if found.status.final:
        return None
    t = records.targets.c
    where = (t.deployment == found.id, t.status == HostStatus.IN_PROGRESS)
    soonest = conn.execute(sa.select(sa.func.min(t.deadline)).where(*where)).scalar()
    ends = [] if found.started is None else [found.started + found.timeouts.deployment]
    return min([*ends, *([] if soonest is None else [soonest])], default=None)
