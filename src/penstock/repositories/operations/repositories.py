"""Repositories themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.repositories import records
from penstock.repositories.changes import Changes, RepositoryBusy
from penstock.repositories.errors import (
    EncryptionKeyNotFoundException,
    InvalidRepositoryNameException,
    InvalidResourceArnException,
    InvalidSystemTagUsageException,
    InvalidTagsMapException,
    MaximumRepositoryNamesExceededException,
    OperationNotAllowedException,
    RepositoryDoesNotExistException,
    RepositoryNameExistsException,
    RepositoryNamesRequiredException,
    TooManyTagsException,
)
from penstock.repositories.names import is_repository_name
from penstock.repositories.operations import PAGES, operation
from penstock.repositories.operations.shared import find, metadata_of, repository_resource
from penstock.store.failpoints import failpoint
from penstock.store.keysets import rows_behind
from penstock.wire.arns import authorised_arn, parse_arn
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules

PAGE = 1000  # repositories of one answer (AWS: ListRepositories has no parameter for it)
MAX_NAMES = 100  # of BatchGetRepositories
_TAGS = TagRules(
    too_many=TooManyTagsException,
    reserved=lambda _key: InvalidSystemTagUsageException(),
    duplicate=lambda _key: InvalidTagsMapException(),
    malformed=lambda _key, _value: InvalidTagsMapException(),
)


def _named(call: Call, input: Input) -> list[str]:
    return [call.arn("codecommit", name) for name in input["repositoryNames"]] or ["*"]


def _named_by_arn(call: Call, input: Input) -> str:
    return authorised_arn(call, input["resourceArn"], "codecommit")


@operation("CreateRepository", resource=repository_resource)
async def create_repository(changes: Changes, call: Call, input: Input) -> Output:
    """A new, empty repository."""
    name = input["repositoryName"]
    if not is_repository_name(name):
        raise InvalidRepositoryNameException
    if "kmsKeyId" in input:
        raise EncryptionKeyNotFoundException
    if await call.app.store.read(records.find, call.account, call.region, name) is not None:
        raise RepositoryNameExistsException(name=name)
    row = {
        "id": call.app.ids.uuid(),
        "account": call.account,
        "region": call.region,
        "name": name,
        "description": input.get("repositoryDescription"),
        "default_branch": None,
        "tags": _TAGS.check(input.get("tags", {}).items()),
        "created": call.now,
        "modified": call.now,
    }
    await changes.create(row)
    failpoint("repositories.folder_made")

    def tx(conn: sa.Connection) -> Any:
        try:
            conn.execute(records.repositories.insert().values(row))
        except IntegrityError:  # somebody was faster
            raise RepositoryNameExistsException(name=name) from None
        return records.by_id(conn, row["id"])

    try:
        written = await call.app.store.write(tx)
    except RepositoryNameExistsException:
        await changes.remove(_Folder(row))
        raise
    return {"repositoryMetadata": metadata_of(call, written)}


@operation("GetRepository", resource=repository_resource)
async def get_repository(changes: Changes, call: Call, input: Input) -> Output:
    """A repository by name."""
    return {"repositoryMetadata": metadata_of(call, await find(call, input["repositoryName"]))}


@operation("BatchGetRepositories", resource=_named)
async def batch_get_repositories(changes: Changes, call: Call, input: Input) -> Output:
    """Several repositories by name, in the order of the names."""
    names = list(dict.fromkeys(input["repositoryNames"]))
    if not names:
        raise RepositoryNamesRequiredException
    if len(names) > MAX_NAMES:
        raise MaximumRepositoryNamesExceededException
    if not all(is_repository_name(name) for name in names):
        raise InvalidRepositoryNameException
    table = records.repositories

    def read(conn: sa.Connection) -> dict[str, Any]:
        query = sa.select(table).where(
            table.c.account == call.account, table.c.region == call.region, table.c.name.in_(names)
        )
        return {row.name: row for row in conn.execute(query)}

    found = await call.app.store.read(read)
    return {
        "repositories": [metadata_of(call, found[name]) for name in names if name in found],
        "repositoriesNotFound": [name for name in names if name not in found],
    }


@operation("ListRepositories")
async def list_repositories(changes: Changes, call: Call, input: Input) -> Output:
    """The account's repositories in the region, by name or by last change."""
    table = records.repositories
    by_name = input.get("sortBy", "repositoryName") == "repositoryName"
    descending = input.get("order", "ascending") == "descending"
    order = [table.c.name] if by_name else [table.c.modified, table.c.name]
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[Any]:
        query = sa.select(table).where(table.c.account == call.account, table.c.region == call.region)
        return list(conn.execute(rows_behind(query, order, after, limit=PAGE + 1, descending=descending)).all())

    page = PAGES.page(
        call,
        input,
        await call.app.store.scan(read),
        limit=PAGE,
        keyset=lambda row: [row.name] if by_name else [row.modified, row.name],
    )
    return {
        "repositories": [{"repositoryName": row.name, "repositoryId": row.id} for row in page.rows],
        **page.more,
    }


@operation("UpdateRepositoryDescription", resource=repository_resource)
async def update_repository_description(changes: Changes, call: Call, input: Input) -> None:
    """Change, or without one remove, the description."""
    row = await find(call, input["repositoryName"])
    table = records.repositories
    values = {"description": input.get("repositoryDescription"), "modified": call.now}
    await call.app.store.write(
        lambda conn: conn.execute(table.update().where(table.c.id == row.id).values(values)) and None
    )


@operation("DeleteRepository", resource=repository_resource)
async def delete_repository(changes: Changes, call: Call, input: Input) -> Output:
    """Forget a repository and all it holds. One that does not exist is no error (AWS: DeleteRepository)."""
    name = input["repositoryName"]
    if not is_repository_name(name):
        raise InvalidRepositoryNameException
    row = await call.app.store.read(records.find, call.account, call.region, name)
    if row is None:
        return {}

    def tx(conn: sa.Connection) -> None:
        conn.execute(records.references.delete().where(records.references.c.repository == row.id))
        conn.execute(records.intents.delete().where(records.intents.c.repository == row.id))
        conn.execute(records.repositories.delete().where(records.repositories.c.id == row.id))

    try:
        async with changes.locked(row):
            await call.app.store.write(tx)
            failpoint("repositories.row_deleted")
            await changes.remove(row)
    except RepositoryBusy:
        raise OperationNotAllowedException("The repository is being changed; try again.") from None
    return {"repositoryId": row.id}


@operation("TagResource", resource=_named_by_arn)
async def tag_resource(changes: Changes, call: Call, input: Input) -> None:
    """Add or replace tags of a repository."""
    await _retag(call, input["resourceArn"], lambda tags: _TAGS.add(tags, input["tags"].items()))


@operation("UntagResource", resource=_named_by_arn)
async def untag_resource(changes: Changes, call: Call, input: Input) -> None:
    """Remove tags of a repository by key."""
    for key in input["tagKeys"]:
        _TAGS.check_key(key)
    await _retag(
        call,
        input["resourceArn"],
        lambda tags: _TAGS.remove(tags, input["tagKeys"]),
    )


@operation("ListTagsForResource", resource=_named_by_arn)
async def list_tags_for_resource(changes: Changes, call: Call, input: Input) -> Output:
    """A repository's tags; at most 50, so always one page."""
    return {"tags": (await _of_arn(call, input["resourceArn"])).tags}


class _Folder:
    """A row that was not written, as far as its folder goes."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.id, self.account, self.region = row["id"], row["account"], row["region"]


async def _retag(call: Call, arn: str, change: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    """Change the tags of a repository as they are at that moment: two calls at once both count."""
    found = await _of_arn(call, arn)

    def tx(conn: sa.Connection) -> None:
        row = records.by_id(conn, found.id, lock=True)
        if row is None:
            raise RepositoryDoesNotExistException(name=found.name)
        table = records.repositories
        conn.execute(table.update().where(table.c.id == row.id).values(tags=change(row.tags)))

    await call.app.store.write(tx)


async def _of_arn(call: Call, arn: str) -> Any:
    named = parse_arn(arn, "codecommit")
    if named is None or not is_repository_name(named.resource):
        raise InvalidResourceArnException
    if not named.is_here(call):
        raise RepositoryDoesNotExistException(name=named.resource)
    return await find(call, named.resource)
