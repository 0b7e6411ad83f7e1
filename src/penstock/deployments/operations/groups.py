"""Deployment groups. AWS: CreateDeploymentGroup and its family."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.deployments import errors, profile, records, runs, triggers
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.operations.applications import forget_group, owned
from penstock.deployments.operations.configs import server_config
from penstock.deployments.records import Row
from penstock.deployments.roles import assumed
from penstock.deployments.server import group as settings
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.queue import Group
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output, Session
from penstock.wire.tags import pairs_of

_g = records.groups.c


def existing(call: Call, conn: sa.Connection, application: str, name: str, *, lock: bool = False) -> Row:
    """The caller's group. Raises ApplicationDoesNotExistException or DeploymentGroupDoesNotExistException."""
    owned(call, conn, application)
    row = records.group(conn, call.account, call.region, application, name, lock=lock)
    if row is None:
        raise errors.DeploymentGroupDoesNotExistException(name=name)
    return row


def group_to_api(conn: sa.Connection, row: Row) -> dict[str, Any]:
    """A `DeploymentGroupInfo`."""
    body = dict(row.body)
    if not body["autoRollbackConfiguration"]["events"]:
        body["autoRollbackConfiguration"] = {"enabled": body["autoRollbackConfiguration"]["enabled"]}
    return {
        "applicationName": row.application,
        "deploymentGroupId": row.id,
        "deploymentGroupName": row.name,
        "computePlatform": "Server",
        **body,
        "targetRevision": revisions.to_api(row.revision),
        "lastAttemptedDeployment": _last(conn, row.attempted),
        "lastSuccessfulDeployment": _last(conn, row.successful),
    }


def _last(conn: sa.Connection, id_: str | None) -> dict[str, Any] | None:
    row = runs.deployment(conn, id_) if id_ else None
    if row is None:
        return None
    ended = runs.STATE.load(row.state).completed
    return {
        "deploymentId": row.id,
        "status": row.status,
        "createTime": row.created,
        "endTime": ended,
    }


async def _passed(call: Call, role_arn: str, group: str) -> Session:
    """A session of a role. Raises AccessDenied unless it may be passed; InvalidRoleException unless the service can assume it."""
    await call.app.identity.pass_role(call, role_arn, source_arn=call.arn("codedeploy", f"deploymentgroup:{group}"))
    return await _session(call, role_arn, group)


async def _session(call: Call, role_arn: str, group: str) -> Session:
    session = await assumed(
        call.app, role_arn, session_name="penstock-check", account=call.account, region=call.region, group=group
    )
    if session is None:
        raise errors.InvalidRoleException
    return session


@operation("CreateDeploymentGroup", resource=resources.group)
async def create_deployment_group(deployments: Deployments, call: Call, input: Input) -> Output:
    """A group of servers for in-place deployments."""
    application, name = profile.application_name(input), profile.group_name(input)
    await call.app.store.read(lambda conn: owned(call, conn, application))
    if not input.get("serviceRoleArn"):
        raise errors.RoleRequiredException
    body = settings.merged(settings.DEFAULTS, input)
    tags = profile.TAGS.check(pairs_of(input.get("tags")))
    session = await _passed(call, body["serviceRoleArn"], f"{application}/{name}")
    await triggers.check(call.app, session, body["triggerConfigurations"], application=application, group=name)
    id_ = call.app.ids.uuid()

    def create(conn: sa.Connection) -> None:
        owned(call, conn, application, keep=True)
        if records.group(conn, call.account, call.region, application, name) is not None:
            raise errors.DeploymentGroupAlreadyExistsException(name=name)
        server_config(call, conn, body["deploymentConfigName"], keep=True)
        conn.execute(
            sa.insert(records.groups).values(
                id=id_, account=call.account, region=call.region, application=application, name=name, body=body,
                tags=tags, created=call.now, state=runs.GROUP.dump(Group()), sequence=0,
            )
        )  # fmt: skip

    try:
        await call.app.store.write(create)
    except IntegrityError as error:
        raise errors.DeploymentGroupAlreadyExistsException(name=name) from error
    return {"deploymentGroupId": id_}


@operation("GetDeploymentGroup", resource=resources.group)
async def get_deployment_group(deployments: Deployments, call: Call, input: Input) -> Output:
    """One group with its last deployments."""
    application, name = profile.application_name(input), profile.group_name(input)

    def get(conn: sa.Connection) -> Output:
        return {"deploymentGroupInfo": group_to_api(conn, existing(call, conn, application, name))}

    return await call.app.store.read(get)


@operation("BatchGetDeploymentGroups", resource=resources.groups)
async def batch_get_deployment_groups(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 100 groups of an application; unknown ones are named in `errorMessage`."""
    application = profile.application_name(input)
    names = [profile.group_name({"deploymentGroupName": name}) for name in input.get("deploymentGroupNames") or ()]
    if not names:
        raise errors.DeploymentGroupNameRequiredException
    if len(names) > 100:
        raise errors.BatchLimitExceededException(limit=100)

    def get(conn: sa.Connection) -> Output:
        owned(call, conn, application)
        found: list[dict[str, Any]] = []
        missing: list[str] = []
        for name in names:
            row = records.group(conn, call.account, call.region, application, name)
            if row is None:
                missing.append(name)
            else:
                found.append(group_to_api(conn, row))
        message = f"No Deployment Group found for names: {', '.join(missing)}" if missing else ""
        return {"deploymentGroupsInfo": found, "errorMessage": message}

    return await call.app.store.read(get)


@operation("ListDeploymentGroups", resource=resources.group)
async def list_deployment_groups(deployments: Deployments, call: Call, input: Input) -> Output:
    """Names of an application's groups in alphabetical order."""
    application = profile.application_name(input)
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[str]:
        owned(call, conn, application)
        query = sa.select(_g.name).where(
            _g.account == call.account, _g.region == call.region, _g.application == application
        )
        return list(conn.execute(rows_behind(query, [_g.name], after, limit=PAGE + 1)).scalars())

    page = PAGES.page(call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda name: [name])
    return {"applicationName": application, "deploymentGroups": page.rows, **page.more}


@operation("UpdateDeploymentGroup", resource=resources.group)
async def update_deployment_group(deployments: Deployments, call: Call, input: Input) -> Output:
    """Changes what is given; its id stays, since agents key their files by it."""
    application = profile.application_name(input)
    name = profile.group_name(input, "currentDeploymentGroupName")
    new = input.get("newDeploymentGroupName")
    if new:
        new = profile.group_name(input, "newDeploymentGroupName")
    before = (await call.app.store.read(lambda conn: existing(call, conn, application, name))).body
    group = f"{application}/{new or name}"
    session = await _passed(call, input["serviceRoleArn"], group) if input.get("serviceRoleArn") else None
    wanted = settings.merged(before, input)["triggerConfigurations"]
    added = [one for one in wanted if one not in before["triggerConfigurations"]]
    if added:
        session = session or await _session(call, before["serviceRoleArn"], group)
        await triggers.check(call.app, session, added, application=application, group=new or name)

    def update(conn: sa.Connection) -> None:
        row = existing(call, conn, application, name, lock=True)
        body = settings.merged(row.body, input)
        server_config(call, conn, body["deploymentConfigName"], keep=True)
        values: dict[str, Any] = {"body": body}
        if new and new != name:
            values["name"] = new
            d = records.deployments.c
            conn.execute(sa.update(records.deployments).where(d.group_id == row.id).values(group_name=new))
        conn.execute(sa.update(records.groups).where(_g.id == row.id).values(**values))

    try:
        await call.app.store.write(update)
    except IntegrityError as error:  # there is a group of the new name
        raise errors.DeploymentGroupAlreadyExistsException(name=new) from error
    return {"hooksNotCleanedUp": []}


@operation("DeleteDeploymentGroup", resource=resources.group)
async def delete_deployment_group(deployments: Deployments, call: Call, input: Input) -> Output:
    """Deletes a group with its deployment records; one with a deployment under way is refused. Unknown is no error."""
    application, name = profile.application_name(input), profile.group_name(input)

    def delete(conn: sa.Connection) -> None:
        row = records.group(conn, call.account, call.region, application, name, lock=True)
        if row is None:
            return
        if row.active is not None:
            raise errors.InvalidDeploymentGroupNameException(
                f"The deployment group {name} has an active deployment {row.active}. "
                "Stop it or wait for its end before the group is deleted."
            )
        forget_group(conn, row)

    await call.app.store.write(delete)
    return {"hooksNotCleanedUp": []}
