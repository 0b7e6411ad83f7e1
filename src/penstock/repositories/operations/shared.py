"""What the operations share: finding a repository, its ARN and shape, and the repositories on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.application import Call
from penstock.repositories import records
from penstock.repositories.changes import Changes
from penstock.repositories.errors import (
    InvalidRepositoryNameException,
    OperationNotAllowedException,
    RepositoryDoesNotExistException,
)
from penstock.repositories.names import is_repository_name
from penstock.wire.call import Input, Output


def repository_resource(call: Call, input: Input) -> str:
    """ARN of the repository that the input names."""
    return call.arn("codecommit", input["repositoryName"])


async def find(call: Call, name: str) -> Any:
    """The row of a repository. Raises InvalidRepositoryName or RepositoryDoesNotExist."""
    if not is_repository_name(name):
        raise InvalidRepositoryNameException
    row = await call.app.store.read(records.find, call.account, call.region, name)
    if row is None:
        raise RepositoryDoesNotExistException(name=name)
    return row


def folder_of(changes: Changes, row: Any) -> Path:
    """The bare repository of a row. Raises OperationNotAllowed when it lies on another server's disk."""
    folder = changes.path(row)
    if not folder.is_dir():
        raise OperationNotAllowedException(
            f"The files of {row.name} are not on this server; give the servers a data folder that they share."
        )
    return folder


def metadata_of(call: Call, row: Any) -> Output:
    """The `RepositoryMetadata` shape."""
    answer: Output = {
        "accountId": row.account,
        "repositoryId": row.id,
        "repositoryName": row.name,
        "lastModifiedDate": row.modified,
        "creationDate": row.created,
        "cloneUrlHttp": f"{call.app.public_url}/v1/repos/{row.name}",
        "Arn": call.arn("codecommit", row.name),
    }
    if row.description:
        answer["repositoryDescription"] = row.description
    if row.default_branch:
        answer["defaultBranch"] = row.default_branch
    return answer
