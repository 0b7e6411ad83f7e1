"""Revisions of applications. AWS: RegisterApplicationRevision and its family."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import errors, profile, records
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.operations.applications import owned
from penstock.deployments.records import Row
from penstock.deployments.server import revision as revisions
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

_r = records.revisions.c
_COLUMNS = {"registerTime": _r.registered, "firstUsedTime": _r.first_used, "lastUsedTime": _r.last_used}


def location_of(input: Input, member: str = "revision") -> dict[str, Any]:
    """The checked location in an input. Raises RevisionRequiredException or InvalidRevisionException."""
    return _checked(input.get(member))


def _checked(location: dict[str, Any] | None) -> dict[str, Any]:
    if not location:
        raise errors.RevisionRequiredException
    try:
        return revisions.checked(location)
    except revisions.BadRevision as error:
        raise errors.InvalidRevisionException(str(error)) from error


def row_of(call: Call, application: str, location: dict[str, Any], description: str) -> dict[str, Any]:
    """What a revision's row says before it was used."""
    bucket, key = revisions.bucket_and_key(location)
    return {
        "account": call.account,
        "region": call.region,
        "application": application,
        "digest": revisions.digest(location),
        "location": revisions.to_api(location),
        "bucket": bucket,
        "key": key,
        "description": description,
    }


@operation("RegisterApplicationRevision", resource=resources.application)
async def register_application_revision(deployments: Deployments, call: Call, input: Input) -> Output:
    """Registering the same location again changes its description only."""
    name = profile.application_name(input)
    location = location_of(input)
    description = input.get("description") or ""
    if len(description) > 256:
        raise errors.DescriptionTooLongException
    row = row_of(call, name, location, description)

    def register(conn: sa.Connection) -> None:
        owned(call, conn, name, keep=True)
        records.register_revision(conn, row=row, now=call.now)

    await call.app.store.write(register)
    return {}


def _generic(conn: sa.Connection, row: Row) -> dict[str, Any]:
    g = records.groups.c
    where = (
        g.account == row.account, g.region == row.region, g.application == row.application, g.digest == row.digest,
    )  # fmt: skip
    names = conn.execute(sa.select(g.name).where(*where).order_by(g.name)).scalars()
    return {
        "description": row.description or None,
        "deploymentGroups": list(names),
        "firstUsedTime": row.first_used,
        "lastUsedTime": row.last_used,
        "registerTime": row.registered,
    }


@operation("GetApplicationRevision", resource=resources.application)
async def get_application_revision(deployments: Deployments, call: Call, input: Input) -> Output:
    """One registered revision."""
    name = profile.application_name(input)
    location = location_of(input)

    def get(conn: sa.Connection) -> Output:
        owned(call, conn, name)
        row = records.revision(conn, call.account, call.region, name, revisions.digest(location))
        if row is None:
            raise errors.RevisionDoesNotExistException
        return {"applicationName": name, "revision": row.location, "revisionInfo": _generic(conn, row)}

    return await call.app.store.read(get)


@operation("BatchGetApplicationRevisions", resource=resources.application)
async def batch_get_application_revisions(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 25 revisions; unknown ones are named in `errorMessage`."""
    name = profile.application_name(input)
    wanted = [_checked(location) for location in input.get("revisions") or ()]
    if not wanted:
        raise errors.RevisionRequiredException
    if len(wanted) > 25:
        raise errors.BatchLimitExceededException(limit=25)

    def get(conn: sa.Connection) -> Output:
        owned(call, conn, name)
        found: list[dict[str, Any]] = []
        missing = 0
        for location in wanted:
            row = records.revision(conn, call.account, call.region, name, revisions.digest(location))
            if row is None:
                missing += 1
            else:
                found.append({"revisionLocation": row.location, "genericRevisionInfo": _generic(conn, row)})
        message = f"{missing} of the revisions are not registered." if missing else ""
        return {"applicationName": name, "revisions": found, "errorMessage": message}

    return await call.app.store.read(get)


@operation("ListApplicationRevisions", resource=resources.application)
async def list_application_revisions(deployments: Deployments, call: Call, input: Input) -> Output:
    """Locations, by the asked time (default: of registration), ascending unless asked otherwise; never used ones last or first."""
    name = profile.application_name(input)
    column = _COLUMNS.get(input.get("sortBy") or "registerTime")
    if column is None:
        raise errors.InvalidSortByException
    descending = (input.get("sortOrder") or "ascending") == "descending"
    bucket, prefix = input.get("s3Bucket"), input.get("s3KeyPrefix")
    if prefix and not bucket:
        raise errors.BucketNameFilterRequiredException
    after = PAGES.after(call, input)
    order = (sa.func.coalesce(column, 0), _r.digest)
    where: list[Any] = [_r.account == call.account, _r.region == call.region, _r.application == name]
    if bucket:
        where.append(_r.bucket == bucket)
    if prefix:
        where.append(sa.func.substr(_r.key, 1, len(prefix)) == prefix)
    deployed = input.get("deployed") or "ignore"
    if deployed != "ignore":
        g = records.groups.c
        target = sa.select(g.id).where(
            g.account == _r.account, g.region == _r.region, g.application == _r.application, g.digest == _r.digest
        )
        where.append(target.exists() if deployed == "include" else ~target.exists())

    def read(conn: sa.Connection) -> list[Row]:
        owned(call, conn, name)
        query = sa.select(records.revisions, order[0].label("rank")).where(*where)
        return list(conn.execute(rows_behind(query, order, after, limit=PAGE + 1, descending=descending)).all())

    page = PAGES.page(
        call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda row: [row.rank, row.digest]
    )
    return {"revisions": [row.location for row in page.rows], **page.more}
