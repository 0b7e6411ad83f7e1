"""Deployments: create, show, list, stop. AWS: CreateDeployment and its family."""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa

from penstock.action_jobs import calling_job
from penstock.application import Call
from penstock.deployments import aggregates, bundles, errors, liveness, profile, records, runs
from penstock.deployments.aggregates import GroupAggregate
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.operations.applications import owned
from penstock.deployments.operations.configs import server_config
from penstock.deployments.operations.groups import existing
from penstock.deployments.operations.revisions import location_of, row_of
from penstock.deployments.records import Row
from penstock.deployments.roles import assumed
from penstock.deployments.server import configs, ids, inputs
from penstock.deployments.server import group as settings
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.model import Deployment, DeploymentStatus
from penstock.deployments.service import Deployments
from penstock.store.failpoints import failpoint
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

_d = records.deployments.c
STRICT_TAG = "penstock:strict"  # of a group: `true` fails AppSpec files with misspelt hooks and keys
QUEUE_TAG = "penstock:queue"  # of a group: `off` refuses a second deployment, as AWS does, instead of queueing it


@operation("CreateDeployment", resource=resources.group)
async def create_deployment(deployments: Deployments, call: Call, input: Input) -> Output:
    """Accepts a deployment; it begins at once, or queued behind the group's active one (AWS refuses a second one).

    For a pipeline, the same action execution and group are the same deployment, however often it is asked for: one that lost
    the answer asks again. The SHA-256 of its bundle is that of the write that made the artifact.
    """
    application = profile.application_name(input)
    await call.app.store.read(lambda conn: owned(call, conn, application))
    name = profile.group_name(input)
    group = await call.app.store.read(lambda conn: existing(call, conn, application, name))
    meant = {"ApplicationName": application, "DeploymentGroupName": name}
    job = await calling_job(call, resources.group(call, input), meant)
    if job:
        id_ = ids.id_for_action(group.id, job["id"])
        if await call.app.store.read(runs.deployment, id_) is not None:
            return {"deploymentId": id_}
    else:
        id_ = ids.deployment_id(call.app.ids.seed())
    restart = input.get("deploymentMode") == "RESTART"
    location = _location(input, group, restart=restart)
    if job:
        location = bundles.of_artifacts(location, job["data"]["inputArtifacts"])
    config_name = input.get("deploymentConfigName") or group.body["deploymentConfigName"] or configs.DEFAULT
    await call.app.store.read(lambda conn: server_config(call, conn, config_name))
    if len(input.get("description") or "") > 256:
        raise errors.DescriptionTooLongException
    if group.active is not None and group.tags.get(QUEUE_TAG) == "off":
        raise errors.DeploymentLimitExceededException(group=name, deployment=group.active)
    _refuse_what_does_not_fit(input)
    own_alarms = None
    if input.get("overrideAlarmConfiguration") is not None:
        # AWS: alarms of a group are its own, and who goes past them may change it.
        await call.app.identity.authorize(call, "codedeploy:UpdateDeploymentGroup", (resources.group(call, input),))
        own_alarms = settings.alarms(input["overrideAlarmConfiguration"])
    own_rollback = input.get("autoRollbackConfiguration")
    rollback = None if own_rollback is None else settings.rollback(own_rollback)
    if not await assumed(
        call.app,
        group.body["serviceRoleArn"],
        session_name="penstock-check",
        account=call.account,
        region=call.region,
        group=f"{application}/{name}",
    ):
        raise errors.InvalidRoleException
    with contextlib.suppress(bundles.BundleMissing):  # as on AWS, the hosts are the first to miss it
        location = await bundles.pinned(
            call.app, call.session, location, region=call.region, origin=call.origin, limit=bundles.SMALL
        )

    seed = call.app.ids.seed()

    def create(conn: sa.Connection) -> None:
        row = existing(call, conn, application, name, lock=True)
        if job and runs.deployment(conn, id_) is not None:
            return
        if row.active is not None and row.tags.get(QUEUE_TAG) == "off":
            raise errors.DeploymentLimitExceededException(group=name, deployment=row.active)
        config = server_config(call, conn, config_name)
        reason = f"Application revision registered by Deployment ID: {id_}"
        revision = row_of(call, application, location, reason)
        records.use_revision(conn, row=revision, now=call.now)
        body = {
            "revision": location,
            "digest": revision["digest"],
            "deploymentConfigName": config_name,
            "minimum": {**config["minimumHealthyHosts"], "predefined": config_name in configs.PREDEFINED},
            "description": input.get("description") or "",
            "ignoreApplicationStopFailures": bool(input.get("ignoreApplicationStopFailures")),
            "updateOutdatedInstancesOnly": bool(input.get("updateOutdatedInstancesOnly")),
            "fileExistsBehavior": input.get("fileExistsBehavior") or "DISALLOW",
            "strict": row.tags.get(STRICT_TAG) == "true",
            "autoRollback": rollback if rollback is not None else row.body["autoRollbackConfiguration"],
            "ownRollback": rollback,
            "alarms": own_alarms or row.body.get("alarmConfiguration"),
            "ownAlarms": own_alarms,
            "triggers": row.body["triggerConfigurations"],
            "previousRevision": row.revision,
            "creator": "user",
            "requester": call.session.arn,
            "style": row.body["deploymentStyle"],
            "mode": "RESTART" if restart else None,
            "reuse": row.successful if restart else None,
            "attemptedOf": None,
        }
        GroupAggregate(conn, row).request(
            id=id_, body=body, now=call.now, seed=seed, actor=call.session.arn, cause=call.request_id
        )
        failpoint("deployments.before_create_commit")

    await call.app.store.write(create)
    failpoint("deployments.after_create_commit")
    return {"deploymentId": id_}


def _location(input: Input, group: Row, *, restart: bool) -> dict[str, Any]:
    if not restart:
        return location_of(input)
    if input.get("revision"):
        raise errors.InvalidInputException("A revision cannot be given with the deployment mode RESTART.")
    if input.get("updateOutdatedInstancesOnly"):
        raise errors.InvalidInputException(
            "updateOutdatedInstancesOnly cannot be given with the deployment mode RESTART."
        )
    if group.revision is None:
        raise errors.RevisionRequiredException(
            "The deployment group has no successful deployment that could be restarted."
        )
    return group.revision


def _refuse_what_does_not_fit(input: Input) -> None:
    if input.get("targetInstances"):
        raise errors.InvalidTargetInstancesException("targetInstances can only be given for blue/green deployments.")
    if (input.get("ec2DeploymentOptions") or {}).get("autoScalingGroupProcessesToSuspend"):
        raise errors.InvalidAutoScalingGroupProcessToSuspendException(
            "Suspending Auto Scaling processes is not served by this version of Penstock."
        )


def found_deployment(call: Call, conn: sa.Connection, id_: str) -> Row:
    """The caller's deployment. Raises DeploymentDoesNotExistException."""
    return own(call, id_, runs.deployment(conn, id_))


def own(call: Call, id_: str, row: Row | None) -> Row:
    """A deployment's row, when it is the caller's. Raises DeploymentDoesNotExistException."""
    if row is None or (row.account, row.region) != (call.account, call.region):
        raise errors.DeploymentDoesNotExistException(deployment=id_)
    return row


def deployment_to_api(row: Row) -> dict[str, Any]:
    """A `DeploymentInfo`."""
    body, state = row.body, runs.STATE.load(row.state)
    ending = state.ending if state.status.final else None
    return {
        "applicationName": row.application,
        "deploymentGroupName": row.group_name,
        "deploymentConfigName": body["deploymentConfigName"],
        "deploymentId": row.id,
        "previousRevision": revisions.to_api(body["previousRevision"]),
        "revision": revisions.to_api(body["revision"]),
        "status": row.status,
        "errorInformation": {"code": ending.code, "message": ending.message} if ending and ending.code else None,
        "createTime": row.created,
        "startTime": state.started,
        "completeTime": state.completed,
        "deploymentOverview": _overview(state),
        "healthOverview": _health(state),
        "description": body["description"] or None,
        "creator": body["creator"],
        "ignoreApplicationStopFailures": body["ignoreApplicationStopFailures"],
        "autoRollbackConfiguration": body["ownRollback"],
        "overrideAlarmConfiguration": body.get("ownAlarms"),
        "updateOutdatedInstancesOnly": body["updateOutdatedInstancesOnly"],
        "rollbackInfo": row.links or None,
        "deploymentStyle": body["style"],
        "instanceTerminationWaitTimeStarted": False,
        "fileExistsBehavior": body["fileExistsBehavior"],
        "deploymentMode": body["mode"],
        "deploymentStatusMessages": [],
        "computePlatform": "Server",
    }


def _overview(state: Deployment) -> dict[str, int]:
    return {
        "Pending": state.pending,
        "InProgress": state.running,
        "Succeeded": state.succeeded,
        "Failed": state.failed,
        "Skipped": state.skipped,
        "Ready": 0,
    }


def _health(state: Deployment) -> dict[str, int]:
    """How many hosts must stay healthy, how many are (nothing being done to them), out of how many."""
    return {
        "required": state.needed,
        "healthy": state.available,
        "hosts": state.targets + state.bystanders,
    }


@operation("GetDeployment", resource=resources.deployment)
async def get_deployment(deployments: Deployments, call: Call, input: Input) -> Output:
    """One deployment with its counters."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    return {"deploymentInfo": deployment_to_api(own(call, id_, await runs.find_run(call, id_)))}


@operation("BatchGetDeployments", resource=resources.deployments)
async def batch_get_deployments(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 100 deployments; unknown ones are left out."""
    ids = [profile.deployment_id(id_) for id_ in input.get("deploymentIds") or ()]
    if not ids:
        raise errors.DeploymentIdRequiredException
    if len(ids) > 100:
        raise errors.BatchLimitExceededException(limit=100)

    def get(conn: sa.Connection) -> list[dict[str, Any]]:
        rows = (runs.deployment(conn, id_) for id_ in dict.fromkeys(ids))
        mine = (call.account, call.region)
        return [deployment_to_api(row) for row in rows if row is not None and (row.account, row.region) == mine]

    return {"deploymentsInfo": await call.app.store.read(get)}


@operation("ListDeployments", resource=resources.group)
async def list_deployments(deployments: Deployments, call: Call, input: Input) -> Output:
    """Ids, newest first; application and group are given together or not at all.

    `externalId` finds nothing: it is for deployments that belong to a stack, and there are none.
    """
    application, group = input.get("applicationName"), input.get("deploymentGroupName")
    if application and not group:
        raise errors.DeploymentGroupNameRequiredException
    if group and not application:
        raise errors.ApplicationNameRequiredException
    after = PAGES.after(call, input)
    where = [_d.account == call.account, _d.region == call.region, *_within(input.get("createTimeRange") or {})]
    if input.get("includeOnlyStatuses"):
        where.append(_d.status.in_(input["includeOnlyStatuses"]))

    def read(conn: sa.Connection) -> list[Any]:
        narrowed = list(where)
        if application and group:
            found = existing(call, conn, application, group)
            narrowed.append(_d.group_id == found.id)
        if input.get("externalId"):
            return []
        query = sa.select(_d.id, _d.created).where(*narrowed)
        keys = [_d.created, _d.id]
        return list(conn.execute(rows_behind(query, keys, after, limit=PAGE + 1, descending=True)).all())

    page = PAGES.page(
        call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda row: [row.created, row.id]
    )
    return {"deployments": [row.id for row in page.rows], **page.more}


def _within(period: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
    start, end = period.get("start"), period.get("end")
    if start is not None and end is not None and start > end:
        raise errors.InvalidTimeRangeException
    where: list[sa.ColumnElement[bool]] = []
    if start is not None:
        where.append(_d.created >= start)
    if end is not None:
        where.append(_d.created <= end)
    return where


@operation("StopDeployment", resource=resources.deployment)
async def stop_deployment(deployments: Deployments, call: Call, input: Input) -> Output:
    """Schedules nothing more; events that run are awaited for a while. `autoRollbackEnabled` overrides the group's rule."""
    id_ = profile.deployment_id(input.get("deploymentId"))
    seed = call.app.ids.seed()

    def stop(conn: sa.Connection) -> bool:
        row = found_deployment(call, conn, id_)
        state = runs.STATE.load(row.state)
        if state.status.final:
            raise errors.DeploymentAlreadyCompletedException(deployment=id_)
        if state.stopping:
            return True
        silent = {"limit_ms": state.timeouts.gone, "since": call.app.started, "now": call.now}
        event = inputs.StopRequested(
            rolls_back=input.get("autoRollbackEnabled"), unheard=liveness.unheard(conn, id_, **silent)
        )
        aggregates.apply(conn, id_, event, now=call.now, seed=seed, actor=call.session.arn, cause=call.request_id)
        liveness.give_up(conn, id_, before=call.now, now=call.now, seed=seed)
        failpoint("deployments.before_stop_commit")
        return DeploymentStatus(found_deployment(call, conn, id_).status).final

    done = await call.app.store.write(stop)
    message = "No more commands will be scheduled for execution in the deployment instances"
    return {"status": "Succeeded" if done else "Pending", "statusMessage": message}
