"""Targets of a deployment, and the older family of calls that names them instances. AWS: ListDeploymentTargets and others."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import errors, profile, records, runs
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.operations.deployments import found_deployment
from penstock.deployments.records import Row
from penstock.deployments.server.model import DeploymentStatus, HostStatus, LifecycleEvent
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output
from penstock.wire.pages import Page

_t = records.targets.c
_STATUSES = {*HostStatus, "Unknown", "Ready"}


def _started(call: Call, conn: sa.Connection, id_: str) -> Row:
    row = found_deployment(call, conn, id_)
    if DeploymentStatus(row.status) in (DeploymentStatus.CREATED, DeploymentStatus.QUEUED):
        raise errors.DeploymentNotStartedException(deployment=id_)
    return row


def _event(found: LifecycleEvent) -> dict[str, Any]:
    why = found.diagnostics
    return {
        "lifecycleEventName": found.name,
        "diagnostics": None
        if why is None
        else {"errorCode": why.code, "scriptName": why.script, "message": why.message, "logTail": why.log},
        "startTime": found.started,
        "endTime": found.ended,
        "status": found.status,
    }


def _events(deployment: Row, row: Row) -> list[dict[str, Any]]:
    return [_event(found) for found in runs.lifecycle_events(row, runs.STATE.load(deployment.state).events)]


def _updated(row: Row) -> int | None:
    return row.updated


def as_target(deployment: Row, row: Row) -> dict[str, Any]:
    """A `DeploymentTarget`."""
    return {
        "deploymentTargetType": "InstanceTarget",
        "instanceTarget": {
            "deploymentId": deployment.id,
            "targetId": row.name,
            "targetArn": row.arn,
            "status": row.status,
            "lastUpdatedAt": _updated(row),
            "lifecycleEvents": _events(deployment, row),
        },
    }


def as_instance(deployment: Row, row: Row) -> dict[str, Any]:
    """An `InstanceSummary`; AWS gives the full ARN as its id."""
    return {
        "deploymentId": deployment.id,
        "instanceId": row.arn,
        "status": row.status,
        "lastUpdatedAt": _updated(row),
        "lifecycleEvents": _events(deployment, row),
    }


def target_row(conn: sa.Connection, deployment: str, id_: str) -> Row | None:
    """The target of a name, or of an instance ARN."""
    row = records.one(conn, records.targets, deployment=deployment, name=id_)
    return row or records.one(conn, records.targets, deployment=deployment, arn=id_)


async def _list(call: Call, input: Input, statuses: list[str]) -> Page[str]:
    id_ = profile.deployment_id(input.get("deploymentId"))
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[str]:
        _started(call, conn, id_)
        query = sa.select(_t.name).where(_t.deployment == id_)
        if statuses:
            query = query.where(_t.status.in_(statuses))
        return list(conn.execute(rows_behind(query, [_t.name], after, limit=PAGE + 1)).scalars())

    return PAGES.page(call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda name: [name])


@operation("ListDeploymentTargets", resource=resources.deployment)
async def list_deployment_targets(deployments: Deployments, call: Call, input: Input) -> Output:
    """Names in alphabetical order, narrowed by `TargetStatus`."""
    statuses: list[str] = []
    for name, values in (input.get("targetFilters") or {}).items():
        if name not in ("TargetStatus", "ServerInstanceLabel"):
            raise errors.InvalidTargetFilterNameException
        if name == "ServerInstanceLabel":
            raise errors.InvalidDeploymentInstanceTypeException
        if any(value not in _STATUSES for value in values):
            raise errors.InvalidInstanceStatusException
        statuses.extend(values)
    page = await _list(call, input, statuses)
    return {"targetIds": page.rows, **page.more}


@operation("GetDeploymentTarget", resource=resources.deployment)
async def get_deployment_target(deployments: Deployments, call: Call, input: Input) -> Output:
    """One host with its lifecycle events."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    target = input.get("targetId")
    if not target:
        raise errors.DeploymentTargetIdRequiredException

    def get(conn: sa.Connection) -> dict[str, Any]:
        deployment = _started(call, conn, id_)
        row = target_row(conn, id_, target)
        if row is None:
            raise errors.DeploymentTargetDoesNotExistException(target=target, deployment=id_)
        return as_target(deployment, row)

    return {"deploymentTarget": await call.app.store.read(get)}


@operation("BatchGetDeploymentTargets", resource=resources.deployment)
async def batch_get_deployment_targets(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 25 hosts with their lifecycle events; an unknown one is an error."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    wanted = input.get("targetIds") or []
    if not wanted:
        raise errors.DeploymentTargetIdRequiredException
    if len(wanted) > 25:
        raise errors.DeploymentTargetIdRequiredException("At most 25 target ids can be given.")

    def get(conn: sa.Connection) -> list[dict[str, Any]]:
        deployment = _started(call, conn, id_)
        found: list[dict[str, Any]] = []
        for target in dict.fromkeys(wanted):
            row = target_row(conn, id_, target)
            if row is None:
                raise errors.DeploymentTargetDoesNotExistException(target=target, deployment=id_)
            found.append(as_target(deployment, row))
        return found

    return {"deploymentTargets": await call.app.store.read(get)}


@operation("ListDeploymentInstances", resource=resources.deployment)
async def list_deployment_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """The deprecated form of ListDeploymentTargets."""
    statuses = input.get("instanceStatusFilter") or []
    if any(value not in _STATUSES for value in statuses):
        raise errors.InvalidInstanceStatusException
    if input.get("instanceTypeFilter"):
        raise errors.InvalidDeploymentInstanceTypeException
    page = await _list(call, input, list(statuses))
    return {"instancesList": page.rows, **page.more}


@operation("GetDeploymentInstance", resource=resources.deployment)
async def get_deployment_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """The deprecated form of GetDeploymentTarget."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    instance = input.get("instanceId")
    if not instance:
        raise errors.InstanceIdRequiredException

    def get(conn: sa.Connection) -> dict[str, Any]:
        deployment = found_deployment(call, conn, id_)
        row = target_row(conn, id_, instance)
        if row is None:
            raise errors.InstanceDoesNotExistException(target=instance, deployment=id_)
        return as_instance(deployment, row)

    return {"instanceSummary": await call.app.store.read(get)}


@operation("BatchGetDeploymentInstances", resource=resources.deployment)
async def batch_get_deployment_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """The deprecated form of BatchGetDeploymentTargets; unknown ones are named in `errorMessage`."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    wanted = input.get("instanceIds") or []
    if not wanted:
        raise errors.InstanceIdRequiredException
    if len(wanted) > 100:
        raise errors.BatchLimitExceededException(limit=100)

    def get(conn: sa.Connection) -> Output:
        deployment = found_deployment(call, conn, id_)
        found: list[dict[str, Any]] = []
        missing: list[str] = []
        for name in dict.fromkeys(wanted):
            row = target_row(conn, id_, name)
            if row is None:
                missing.append(name)
            else:
                found.append(as_instance(deployment, row))
        message = f"Not part of the deployment: {', '.join(missing)}" if missing else ""
        return {"instancesSummary": found, "errorMessage": message}

    return await call.app.store.read(get)


@operation("ContinueDeployment", resource=resources.deployment)
async def continue_deployment(deployments: Deployments, call: Call, input: Input) -> Output:
    """Only blue/green deployments wait; for the in-place ones that are served this is an error, as on AWS."""
    await _refused(call, input)
    return {}


@operation("SkipWaitTimeForInstanceTermination", resource=resources.deployment)
async def skip_wait_time_for_instance_termination(deployments: Deployments, call: Call, input: Input) -> Output:
    """The deprecated form of ContinueDeployment."""
    await _refused(call, input)
    return {}


async def _refused(call: Call, input: Input) -> None:
    id_ = profile.deployment_id(input.get("deploymentId"))
    row = await call.app.store.read(lambda conn: found_deployment(call, conn, id_))
    if DeploymentStatus(row.status).final:
        raise errors.DeploymentAlreadyCompletedException(deployment=id_)
    raise errors.UnsupportedActionForDeploymentTypeException
