"""Commits, and the archive of one that a pipeline's source action asks for."""

from __future__ import annotations

import re
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import IO

from penstock.application import Call
from penstock.pools import FILES
from penstock.repositories import archives
from penstock.repositories.changes import Changes
from penstock.repositories.errors import CommitIdDoesNotExistException, InvalidCommitIdException
from penstock.repositories.git import Commit
from penstock.repositories.names import is_commit_id
from penstock.repositories.operations import operation, ours
from penstock.repositories.operations.shared import find, folder_of, repository_resource
from penstock.wire.call import Input, Output

_CHUNK = 256 << 10
_WHEN = re.compile(r"-?[0-9]{1,20} [+-][0-9]{4}")


@operation("GetCommit", resource=repository_resource)
async def get_commit(changes: Changes, call: Call, input: Input) -> Output:
    """A commit by its full id."""
    row = await find(call, input["repositoryName"])
    commit_id = input["commitId"]
    if not is_commit_id(commit_id):
        raise InvalidCommitIdException
    commit = await changes.git.commit(folder_of(changes, row), commit_id)
    if commit is None:
        raise CommitIdDoesNotExistException
    return {"commit": _to_api(commit)}


@ours("UploadRepositoryArchive", action="codecommit:UploadArchive", resource=repository_resource)
async def upload_repository_archive(changes: Changes, call: Call, input: Input) -> Output:
    """Put a commit's files as a zip into a bucket, under the caller's own permissions there and under a key of KMS.

    It takes the same action that AWS's pipelines need for it, and is idempotent: the same commit gives the same bytes.
    """
    row = await find(call, input["repositoryName"])
    commit_id = input["commitId"]
    if not is_commit_id(commit_id):
        raise InvalidCommitIdException
    folder = folder_of(changes, row)
    if await changes.git.commit(folder, commit_id) is None:
        raise CommitIdDoesNotExistException
    changes.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = call.app.settings
    bounds = archives.Bounds(entries=settings.source_entries, size=settings.source_gib * 1024**3)
    await archives.count(changes.git, folder, commit_id, bounds)
    with tempfile.TemporaryFile(dir=changes.temporary, prefix="git-") as file:
        await archives.pack(changes.git, folder, commit_id, file, temporary=changes.temporary)
        size = await FILES.run(file.seek, 0, 2)
        file.seek(0)
        target: Input = {
            "Bucket": input["bucketName"],
            "Key": input["objectKey"],
            "Body": FileBody(file, size),
            "ContentLength": size,
            "ContentType": "application/zip",
            "ChecksumAlgorithm": "SHA256",
            "ServerSideEncryption": "aws:kms",
        }
        if "encryptionKeyId" in input:
            target["SSEKMSKeyId"] = input["encryptionKeyId"]
        put = await call.app.invoke(call.session, "s3", "PutObject", target, region=call.region, origin=call.origin)
    output: Output = {
        "eTag": put["ETag"].strip('"'),
        "sha256": b64decode(put["ChecksumSHA256"]).hex(),
        "size": size,
    }
    if "VersionId" in put:
        output["versionId"] = put["VersionId"]
    return output


class FileBody:
    """A file as a streaming body (penstock.wire.call.Body)."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self.length: int | None = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await FILES.run(self._file.read, _CHUNK):
            yield chunk


def _to_api(commit: Commit) -> Output:
    return {
        "commitId": commit.id,
        "treeId": commit.tree,
        "parents": list(commit.parents),
        "message": commit.message,
        "author": _person(commit.author),
        "committer": _person(commit.committer),
        "additionalData": "",
    }


def _person(written: str) -> Output:
    """`Name <mail> seconds zone` as the `UserInfo` shape."""
    # Any pusher chooses this text, megabytes of it: no pattern that could go back and forth in it.
    name, opened, rest = written.partition("<")
    mail, closed, when = rest.partition(">")
    if not opened or not closed:
        return {"name": written, "email": "", "date": ""}
    when = when.strip()
    return {"name": name.removesuffix(" "), "email": mail, "date": when if _WHEN.fullmatch(when) else ""}
