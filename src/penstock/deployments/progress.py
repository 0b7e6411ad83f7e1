"""One decision on one deployment: load, decide, commit the new state with its effects. All of it runs inside a transaction.

Locks are taken in this order: the deployment's row, rows of its hosts, the group's row.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.aggregates import DeploymentAggregate, apply
from penstock.deployments.records import Row
from penstock.deployments.server import fleet, inputs
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.model import (
    Deployment,
    DeploymentStatus,
    ErrorCode,
    FleetHost,
    HostStatus,
    RevisionHealth,
    Timeouts,
)
from penstock.store.jobs import enqueue

WATCH = "deployments.watch"  # job: look after the deadlines of a running deployment

AGENT_TIMEOUT_TAG = "penstock:agent-timeout-seconds"  # of a group: how long an agent may take to pick an event up
STRICT_TAG = "penstock:strict"  # of a group: `true` fails a host whose revision names hooks that do not exist
STOP_TIMEOUT_TAG = "penstock:stop-timeout-seconds"  # of a group: how long StopDeployment waits for an event that runs
# Of a group: when a host that does not poll counts as gone, once stopped.
SILENT_HOST_TAG = "penstock:silent-host-seconds"

SEEN_LATELY_MS = 180_000


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
        reason = f"The deployment group {row.group_name} was deleted before the deployment started."
        event: inputs.Input = inputs.Refused(code=ErrorCode.DEPLOYMENT_GROUP_MISSING, message=reason)
        apply(conn, id, event, now=now, seed=seed)
    elif refusal:
        apply(conn, id, inputs.Refused(code=ErrorCode.IAM_ROLE_MISSING, message=refusal), now=now, seed=seed)
    else:
        row = _after_the_others(conn, row, group)
        timeouts = _own(timeouts, group.tags)
        event, arns = _fleet(conn, row, group, now)
        found = DeploymentAggregate.find(conn, id)
        assert found is not None
        with found:
            found.arns = arns
            found.apply(replace(event, timeouts=timeouts), now=now, seed=seed)
        enqueue(
            conn, kind=WATCH, payload={"deployment": id}, account=row.account, region=row.region,
            due=now + next_check(timeouts), dedup=id,
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


def next_check(timeouts: Timeouts) -> int:
    """After how many ms deadlines and silent hosts must be looked at again: a deadline set meanwhile is never sooner."""
    return min(timeouts.pickup, timeouts.absent, timeouts.event, timeouts.noop, timeouts.stop, -(-timeouts.gone // 3))


def _fleet(conn: sa.Connection, row: Row, group: Row, now: int) -> tuple[inputs.Began, dict[str, str]]:
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
    return inputs.Began(hosts=tuple(hosts), bystanders=bystanders, fleet=size), arns


def earliest_deadline(conn: sa.Connection, found: Deployment) -> int | None:
    """When the next host's command fails by itself, or the whole deployment does; None when it is over."""
    if found.status.final:
        return None
    t = records.targets.c
    where = (t.deployment == found.id, t.status == HostStatus.IN_PROGRESS)
    soonest = conn.execute(sa.select(sa.func.min(t.deadline)).where(*where)).scalar()
    ends = [] if found.started is None else [found.started + found.timeouts.deployment]
    return min([*ends, *([] if soonest is None else [soonest])], default=None)
