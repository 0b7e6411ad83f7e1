"""What follows the end of a deployment: its group is free, goes back, or goes on with what waits. Inside the transaction that ends it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.deployments import creation, records, runs
from penstock.deployments.records import Row
from penstock.deployments.server.model import Deployment, DeploymentStatus

ROLLBACK_SCOPE_TAG = "penstock:rollback-scope"  # of a group: `all` rolls back every host, not only the attempted ones


def finished(conn: sa.Connection, row: Row, deployment: Deployment, *, rolls_back: bool, now: int, seed: int) -> None:
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
        creation.enqueue_start(conn, waiting, row.account, row.region)


def _roll_back(conn: sa.Connection, row: Row, group: Row, *, everywhere: bool, now: int, seed: int) -> None:
    id = runs.derived_id(seed, "rollback")
    good = runs.deployment(conn, group.successful) if group.successful else None
    body = {
        **row.body,
        "revision": group.revision,
        "digest": group.digest,
        "creator": creation.CREATOR_ROLLBACK,
        "description": "",
        "externalId": "",
        "updateOutdatedInstancesOnly": False,
        "mode": None,
        "reuse": None,
        # AWS: a rollback keeps the option of the deployment that it goes back to.
        "fileExistsBehavior": good.body["fileExistsBehavior"] if good else row.body["fileExistsBehavior"],
        "attemptedOf": None if everywhere else row.id,
    }
    creation.create(conn, id=id, group=group, body=body, now=now)
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
