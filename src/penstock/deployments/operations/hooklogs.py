"""Logs of hooks while they run: an operation of our own service, since AWS has none."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import errors, profile, records, runs
from penstock.deployments.operations import ours, resources
from penstock.deployments.operations.deployments import found_deployment
from penstock.deployments.operations.targets import target_row
from penstock.deployments.server.model import EventStatus
from penstock.deployments.service import Deployments
from penstock.wire.call import Input, Output


@ours("GetHookLog", resource=resources.deployment)
async def get_hook_log(deployments: Deployments, call: Call, input: Input) -> Output:
    """The tail of a lifecycle event's log on one host, and whether the event is over."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    target, name = input["targetId"], input["lifecycleEventName"]

    def get(conn: sa.Connection) -> Output:
        deployment = found_deployment(call, conn, id_)
        row = target_row(conn, id_, target)
        events = () if row is None else runs.lifecycle_events(row, runs.STATE.load(deployment.state).events)
        index = next((number for number, event in enumerate(events) if event.name == name), None)
        if row is None or index is None:
            raise errors.DeploymentTargetDoesNotExistException(target=target, deployment=id_)
        event = events[index]
        live = records.one(conn, records.hook_logs, deployment=id_, position=row.position, event=index)
        reported = event.diagnostics.log if event.diagnostics is not None else ""
        log = live.log if live is not None and len(live.log) >= len(reported) else reported
        over = event.status not in (EventStatus.PENDING, EventStatus.IN_PROGRESS)
        return {"log": log, "complete": over, "status": event.status}

    return await call.app.store.read(get)
