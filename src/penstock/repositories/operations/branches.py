"""Branches: the rows of references, and changes of them that go the way of a push."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.repositories import pktline, records
from penstock.repositories.changes import Changes, RepositoryBusy, RepositoryGone
from penstock.repositories.errors import (
    BranchDoesNotExistException,
    BranchNameExistsException,
    BranchNameRequiredException,
    CommitDoesNotExistException,
    DefaultBranchCannotBeDeletedException,
    InvalidBranchNameException,
    InvalidCommitIdException,
    OperationNotAllowedException,
    RepositoryDoesNotExistException,
    RepositoryNameRequiredException,
)
from penstock.repositories.git import GitFailed
from penstock.repositories.names import HEADS, is_branch_name, is_commit_id
from penstock.repositories.operations import PAGES, operation
from penstock.repositories.operations.shared import find, folder_of, repository_resource
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

PAGE = 1000


def _resource(call: Call, input: Input) -> str:
    # The model asks for neither member of GetBranch, the service for both.
    return repository_resource(call, input) if "repositoryName" in input else "*"


@operation("GetBranch", resource=_resource)
async def get_branch(changes: Changes, call: Call, input: Input) -> Output:
    """The commit that a branch is at."""
    if "repositoryName" not in input:
        raise RepositoryNameRequiredException
    if "branchName" not in input:
        raise BranchNameRequiredException
    row = await find(call, input["repositoryName"])
    branch = await _branch(call, row, input["branchName"])
    return {"branch": {"branchName": input["branchName"], "commitId": branch.commit}}


@operation("ListBranches", resource=repository_resource)
async def list_branches(changes: Changes, call: Call, input: Input) -> Output:
    """Names of the branches, in order."""
    row = await find(call, input["repositoryName"])
    table = records.references
    after = PAGES.after(call, input) or [HEADS]

    def read(conn: sa.Connection) -> list[str]:
        query = sa.select(table.c.name).where(
            table.c.repository == row.id, table.c.name.startswith(HEADS, autoescape=True)
        )
        return list(conn.execute(rows_behind(query, [table.c.name], after, limit=PAGE + 1)).scalars())

    page = PAGES.page(call, input, await call.app.store.scan(read), limit=PAGE, keyset=lambda name: [name])
    return {"branches": [name.removeprefix(HEADS) for name in page.rows], **page.more}


@operation("CreateBranch", resource=repository_resource)
async def create_branch(changes: Changes, call: Call, input: Input) -> None:
    """A new branch at a commit."""
    row = await find(call, input["repositoryName"])
    name, commit = input["branchName"], input["commitId"]
    if not is_branch_name(name):
        raise InvalidBranchNameException
    if not is_commit_id(commit):
        raise InvalidCommitIdException
    if await changes.git.commit(folder_of(changes, row), commit) is None:
        raise CommitDoesNotExistException
    if await call.app.store.read(records.reference, row.id, HEADS + name) is not None:
        raise BranchNameExistsException(name=name)
    try:
        await _move(changes, call, row, HEADS + name, new=commit, old=pktline.ABSENT)
    except GitFailed:  # a branch of that name, or one that is a folder of it, has come to be
        raise BranchNameExistsException(name=name) from None


@operation("DeleteBranch", resource=repository_resource)
async def delete_branch(changes: Changes, call: Call, input: Input) -> Output:
    """Remove a branch, unless it is the default one. One that does not exist is no error (AWS: DeleteBranch)."""
    row = await find(call, input["repositoryName"])
    name = input["branchName"]
    if not is_branch_name(name):
        raise InvalidBranchNameException
    if name == row.default_branch:
        raise DefaultBranchCannotBeDeletedException
    branch = await call.app.store.read(records.reference, row.id, HEADS + name)
    if branch is None:
        return {}
    try:
        await _move(changes, call, row, HEADS + name, new=None, old=branch.object)
    except GitFailed:
        raise OperationNotAllowedException("The branch is being changed; try again.") from None
    return {"deletedBranch": {"branchName": name, "commitId": branch.commit}}


@operation("UpdateDefaultBranch", resource=repository_resource)
async def update_default_branch(changes: Changes, call: Call, input: Input) -> None:
    """Choose the branch that a clone checks out."""
    row = await find(call, input["repositoryName"])
    name = input["defaultBranchName"]
    await _branch(call, row, name)
    folder = folder_of(changes, row)
    async with _changing(changes, call, row):
        await _branch(call, row, name)  # it may have been deleted while we waited
        await changes.git.set_head(folder, HEADS + name)


async def _branch(call: Call, row: Any, name: str) -> Any:
    if not is_branch_name(name):
        raise InvalidBranchNameException
    branch = await call.app.store.read(records.reference, row.id, HEADS + name)
    if branch is None:
        raise BranchDoesNotExistException(name=name)
    return branch


async def _move(changes: Changes, call: Call, row: Any, reference: str, *, new: str | None, old: str) -> None:
    """Write or delete a reference that is where we think it is. Raises GitFailed when it is not."""
    git, folder = changes.git, folder_of(changes, row)
    arguments = (reference, new, old) if new is not None else ("-d", reference, old)
    async with _changing(changes, call, row):
        if new is None and await git.head(folder) == reference:  # it has become the default branch while we waited
            raise DefaultBranchCannotBeDeletedException
        await git.output("-C", str(folder), "update-ref", *arguments)


@contextlib.asynccontextmanager
async def _changing(changes: Changes, call: Call, row: Any) -> AsyncIterator[None]:
    """A block that changes git's files; when it ends, the rows say the same."""
    try:
        async with changes.changing(row, call.session.arn):
            yield
    except RepositoryBusy:
        raise OperationNotAllowedException("The repository is being changed; try again.") from None
    except RepositoryGone:
        raise RepositoryDoesNotExistException(name=row.name) from None
