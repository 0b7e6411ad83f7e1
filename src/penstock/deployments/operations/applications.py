"""Applications. AWS: CreateApplication and its family."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.deployments import errors, profile, records
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.records import Row
from penstock.deployments.service import Deployments
from penstock.store import journal
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output, partition_of
from penstock.wire.tags import pairs_of

_a = records.applications.c


def owned(call: Call, conn: sa.Connection, name: str, *, lock: bool = False, keep: bool = False) -> Row:
    """The caller's application of that name, locked as `records.one` does. Raises ApplicationDoesNotExistException."""
    row = records.application(conn, call.account, call.region, name, lock=lock, keep=keep)
    if row is None:
        raise errors.ApplicationDoesNotExistException(name=name)
    return row


def to_api(row: Row) -> dict[str, Any]:
    """An `ApplicationInfo`."""
    return {
        "applicationId": row.id,
        "applicationName": row.name,
        "createTime": row.created,
        "linkedToGitHub": False,
        "computePlatform": row.platform,
    }


@operation("CreateApplication", resource=resources.application)
async def create_application(deployments: Deployments, call: Call, input: Input) -> Output:
    """Only the compute platform Server is served; the others are refused with a reason."""
    name = profile.application_name(input)
    platform = input.get("computePlatform") or "Server"
    if platform != "Server":
        raise errors.InvalidComputePlatformException(
            f"The compute platform {platform} is not served by this version of Penstock; Server is."
        )
    tags = profile.TAGS.check(pairs_of(input.get("tags")))
    id_ = call.app.ids.uuid()

    def create(conn: sa.Connection) -> None:
        if records.application(conn, call.account, call.region, name) is not None:
            raise errors.ApplicationAlreadyExistsException(name=name)
        conn.execute(
            sa.insert(records.applications).values(
                account=call.account, region=call.region, name=name, id=id_, platform=platform, tags=tags,
                created=call.now,
            )
        )  # fmt: skip

    try:
        await call.app.store.write(create)
    except IntegrityError as error:
        raise errors.ApplicationAlreadyExistsException(name=name) from error
    return {"applicationId": id_}


@operation("GetApplication", resource=resources.application)
async def get_application(deployments: Deployments, call: Call, input: Input) -> Output:
    """One application."""
    name = profile.application_name(input)
    return {"application": to_api(await call.app.store.read(lambda conn: owned(call, conn, name)))}


@operation("BatchGetApplications", resource=resources.applications)
async def batch_get_applications(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 100 applications; an unknown one is an error."""
    names = input.get("applicationNames") or []
    if not names:
        raise errors.ApplicationNameRequiredException
    if len(names) > 100:
        raise errors.BatchLimitExceededException(limit=100)
    wanted = [profile.application_name({"applicationName": name}) for name in names]
    found = await call.app.store.read(lambda conn: [to_api(owned(call, conn, name)) for name in wanted])
    return {"applicationsInfo": found}


@operation("ListApplications", resource=resources.application)
async def list_applications(deployments: Deployments, call: Call, input: Input) -> Output:
    """Names in alphabetical order."""
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[str]:
        query = sa.select(_a.name).where(_a.account == call.account, _a.region == call.region)
        return list(conn.execute(rows_behind(query, [_a.name], after, limit=PAGE + 1)).scalars())

    page = PAGES.page(call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda name: [name])
    return {"applications": page.rows, **page.more}


@operation("UpdateApplication", resource=resources.application)
async def update_application(deployments: Deployments, call: Call, input: Input) -> Output:
    """Renames. Groups, revisions and deployments follow."""
    name = profile.application_name(input)
    new = profile.application_name(input, "newApplicationName")

    def rename(conn: sa.Connection) -> None:
        owned(call, conn, name, lock=True)
        if new == name:
            return
        if records.application(conn, call.account, call.region, new) is not None:
            raise errors.ApplicationAlreadyExistsException(name=new)
        for table, column in (
            (records.applications, _a.name),
            (records.groups, records.groups.c.application),
            (records.revisions, records.revisions.c.application),
            (records.deployments, records.deployments.c.application),
        ):
            where = (table.c.account == call.account, table.c.region == call.region, column == name)
            conn.execute(sa.update(table).where(*where).values({column: new}))

    try:
        await call.app.store.write(rename)
    except IntegrityError as error:
        raise errors.ApplicationAlreadyExistsException(name=new) from error
    return {}


@operation("DeleteApplication", resource=resources.application)
async def delete_application(deployments: Deployments, call: Call, input: Input) -> Output:
    """Deletes the application with its groups, registered revisions and deployment records. Unknown is no error.

    An application with a deployment under way is refused: its hosts would be left halfway without a record.
    """
    name = profile.application_name(input)

    def delete(conn: sa.Connection) -> None:
        records.application(conn, call.account, call.region, name, lock=True)  # so that nothing is made below it now
        g = records.groups.c
        owner = (g.account == call.account, g.region == call.region, g.application == name)
        for group in conn.execute(sa.select(records.groups).where(*owner).with_for_update()).all():
            if group.active is not None:
                raise errors.InvalidApplicationNameException(
                    f"The application {name} has an active deployment {group.active} in the deployment group {group.name}. "
                    "Stop it or wait for its end before the application is deleted."
                )
            forget_group(conn, group)
        for table, column in (
            (records.revisions, records.revisions.c.application),
            (records.applications, _a.name),
        ):
            conn.execute(
                sa.delete(table).where(table.c.account == call.account, table.c.region == call.region, column == name)
            )

    await call.app.store.write(delete)
    return {}


def forget_group(conn: sa.Connection, group: Row) -> None:
    """Delete a group with the records of its deployments; their journals stay."""
    d, t, h = records.deployments.c, records.targets.c, records.hook_logs.c
    group_id, name = group.id, f"{group.application}/{group.name}"
    mine = sa.select(d.id).where(d.group_id == group_id)
    arn = f"arn:{partition_of(group.region)}:codedeploy:{group.region}:{group.account}:deploymentgroup:{name}"
    where = {"account": group.account, "region": group.region, "arn": arn}
    journal.remember(conn, f"deployment-group/{group_id}", **where, names=(name,))
    for id_ in conn.execute(mine).scalars().all():
        journal.remember(conn, f"deployment/{id_}", **where, names=(id_,))
    conn.execute(sa.delete(records.hook_logs).where(h.deployment.in_(mine)))
    conn.execute(sa.delete(records.targets).where(t.deployment.in_(mine)))
    conn.execute(sa.delete(records.deployments).where(d.group_id == group_id))
    conn.execute(sa.delete(records.health).where(records.health.c.group_id == group_id))
    conn.execute(sa.delete(records.groups).where(records.groups.c.id == group_id))
