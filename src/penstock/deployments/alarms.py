"""Alarms stop deployments: those that a group names are asked for every two seconds, under its service role, while a deployment runs.

AWS: "Monitoring deployments with CloudWatch alarms in CodeDeploy". A rollback is not stopped: the alarm that led to it is still there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.deployments import aggregates, liveness, records, runs
from penstock.deployments.aggregates import CREATOR_ROLLBACK
from penstock.deployments.records import Row
from penstock.deployments.roles import assumed
from penstock.deployments.server import inputs
from penstock.deployments.server.model import DeploymentStatus
from penstock.deployments.service import Deployments
from penstock.store.jobs import Job, complete, enqueue
from penstock.store.work import Retry
from penstock.wire.errors import Refused, ServiceError

ALARMS = "deployments.alarms"
"""The kind of the jobs that ask for the alarms of a deployment."""

EVERY_MS = 2_000
ACTIVE = (
    "One or more alarms have been activated according to the Amazon CloudWatch metrics you selected, and the affected deployments have been"
    " stopped. Activated alarms: {names}"
)
UNREADABLE = (
    "The deployment was stopped, since the state of its alarms could not be read: {reason} Let the service role of the deployment group call"
    " cloudwatch:DescribeAlarms for alarms that there are, or set ignorePollAlarmFailure."
)


def watch(conn: sa.Connection, row: Row, now: int) -> None:
    """Let the alarms of a deployment that begins be asked for, where it has any."""
    if _names(row):
        where = {"account": row.account, "region": row.region}
        enqueue(conn, kind=ALARMS, payload={"deployment": row.id}, due=now, dedup=row.id, **where)


def _names(row: Row) -> list[str]:
    asked: Mapping[str, Any] = row.body.get("alarms") or {}
    if not asked.get("enabled") or row.body["creator"] == CREATOR_ROLLBACK:
        return []
    return [alarm["name"] for alarm in asked["alarms"]]


async def look(deployments: Deployments, job: Job) -> None:
    """Stop the deployment when one of its alarms is active, or cannot be read; else look again."""
    app, id = deployments.app, job.payload["deployment"]
    row, role = await app.store.read(_row_and_role, id)
    if row is None or DeploymentStatus(row.status).final:
        return
    names = _names(row)
    reason = await _why(deployments, row, role, names)
    if not reason:
        raise Retry(EVERY_MS, counts=False)
    seed = app.ids.seed()

    def stop(conn: sa.Connection) -> None:
        complete(conn, job)
        found = runs.deployment(conn, id)
        if found is None:
            return
        state, now = runs.STATE.load(found.state), app.clock.now()
        if state.status.final or state.stopping:
            return
        on = found.body["autoRollback"]
        event = inputs.StopRequested(
            rolls_back=bool(on.get("enabled")) and "DEPLOYMENT_STOP_ON_ALARM" in (on.get("events") or ()),
            unheard=liveness.unheard(conn, id, limit_ms=state.timeouts.gone, since=app.started, now=now),
            alarm=reason,
        )
        aggregates.apply(conn, id, event, now=now, seed=seed)
        liveness.give_up(conn, id, before=now, now=now, seed=seed)

    await app.store.write(stop)


def _row_and_role(conn: sa.Connection, id: str) -> tuple[Row | None, str]:
    row = runs.deployment(conn, id)
    group = None if row is None else records.one(conn, records.groups, id=row.group_id)
    return row, "" if group is None else group.body["serviceRoleArn"]


async def _why(deployments: Deployments, row: Row, role: str, names: Sequence[str]) -> str:
    """Why a deployment must stop, or ""."""
    app = deployments.app
    ignores = row.body["alarms"]["ignorePollAlarmFailure"]
    session = await assumed(
        app,
        role,
        session_name=row.id,
        account=row.account,
        region=row.region,
        group=f"{row.application}/{row.group_name}",
    )
    if session is None:
        return "" if ignores else UNREADABLE.format(reason=f"the role {role} cannot be assumed.")
    asked = {"AlarmNames": list(names), "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 100}
    try:
        found = await app.invoke(session, "cloudwatch", "DescribeAlarms", asked, region=row.region)
    except (ServiceError, Refused) as error:
        return "" if ignores else UNREADABLE.format(reason=f"{error}.".replace("..", "."))
    states = {
        one["AlarmName"]: one["StateValue"] for kind in ("MetricAlarms", "CompositeAlarms") for one in found[kind]
    }
    active = [name for name in names if states.get(name) == "ALARM"]
    if active:
        return ACTIVE.format(names=" ".join(f"<{name}>" for name in active))
    missing = [name for name in names if name not in states]
    if missing and not ignores:
        return UNREADABLE.format(reason=f"there is no alarm {' and no alarm '.join(missing)}.")
    return ""
