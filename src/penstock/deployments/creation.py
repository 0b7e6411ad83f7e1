"""A deployment that was asked for: its row, and its place in the queue of its group. All of it runs inside a transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.records import Row
from penstock.deployments.server import lifecycle
from penstock.deployments.server.model import Deployment, DeploymentStatus, Minimum, MinimumKind
from penstock.store.jobs import enqueue

START = "deployments.start"  # job: begin a deployment whose group is free

CREATOR_ROLLBACK = "codeDeployRollback"


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
        enqueue_start(conn, id, group.account, group.region)
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


def enqueue_start(conn: sa.Connection, id: str, account: str, region: str) -> None:
    """Have a deployment begun that has its group."""
    enqueue(conn, kind=START, payload={"deployment": id}, account=account, region=region, dedup=id)
