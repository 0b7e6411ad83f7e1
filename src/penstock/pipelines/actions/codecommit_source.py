"""CodeCommit source: the head of a branch, as a zip of its files. AWS: action-reference-CodeCommit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Succeeded, polls
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property, Revision
from penstock.wire.errors import AccessDenied, ServiceError
from penstock.wire.scalars import iso

MESSAGE_LIMIT = 100 * 1024  # bytes of CommitMessage. AWS: action-reference-CodeCommit
_ABSENT = ("BranchDoesNotExistException", "CommitDoesNotExistException", "CommitIdDoesNotExistException")


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if configuration.get("OutputArtifactFormat") == "CODEBUILD_CLONE_REF":
        return (
            "Penstock does not hand clone references to builds yet. Use OutputArtifactFormat CODE_ZIP in action "
            f"'{action['name']}'."
        )
    return None


def _subject(repository: str, branch: str) -> str:
    return f"codecommit:{repository}:{branch}"


def _changed(payload: Mapping[str, Any]) -> str | None:
    if payload["referenceType"] != "branch" or payload["event"] == "referenceDeleted":
        return None
    return _subject(payload["repositoryName"], payload["referenceName"])


class CodeCommitSource(Provider):
    """Answers at once: the archive is written by the repository's own service."""

    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="AWS", provider="CodeCommit"),
            properties=(
                Property(name="RepositoryName", description="The repository", required=True, key=True),
                Property(name="BranchName", description="The branch", required=True, key=True),
                Property(
                    name="PollForSourceChanges",
                    description="Whether a push starts the pipeline",
                    values=("true", "false"),
                ),
                Property(
                    name="OutputArtifactFormat",
                    description="What the artifact holds",
                    values=("CODE_ZIP", "CODEBUILD_CLONE_REF"),
                ),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            timeout=HOUR,
            works_on="codecommit:repository",
            revision_types=("COMMIT_ID",),
            refuse=_refuse,
        ),
    )
    news: ClassVar = {"codecommit.reference.updated": _changed}

    def watches(self, configuration: Mapping[str, str]) -> str | None:
        """Pushes to the branch."""
        if not polls(configuration):
            return None
        return _subject(configuration["RepositoryName"], configuration["BranchName"])

    async def start(self, action: Action) -> Outcome:
        """Find the commit, have its files zipped into the artifact store."""
        repository = action.configuration["RepositoryName"]
        branch = action.configuration["BranchName"]
        try:
            commit_id = action.overrides.get("COMMIT_ID") or await self._head(action, repository, branch)
            commit = (
                await action.invoke("codecommit", "GetCommit", {"repositoryName": repository, "commitId": commit_id})
            )["commit"]
            target = action.outputs[0]
            request = {
                "repositoryName": repository,
                "commitId": commit_id,
                "bucketName": target.bucket,
                "objectKey": target.key,
            }
            if action.encryption_key:
                request["encryptionKeyId"] = action.encryption_key
            written = await action.invoke("penstock", "UploadRepositoryArchive", request)
        except AccessDenied as error:
            return Failed(
                code="PermissionError",
                message="The service role or action role doesn't have the permissions required to access the AWS "
                f"CodeCommit repository named {repository}. Update the IAM role permissions, and then try again. "
                f"Error: {error}",
            )
        except ServiceError as error:
            if error.server_fault:
                raise
            return _failure(error, repository, branch)
        message = commit.get("message", "")
        artifact = replace(
            target,
            version_id=written.get("versionId", ""),
            etag=written["eTag"],
            sha256=written["sha256"],
            revision=commit_id,
        )
        return Succeeded(
            external_id=commit_id,
            summary=message[:2048],
            outputs=(artifact,),
            revision=Revision(
                id=commit_id, summary=message[:2048], created=_milliseconds(commit.get("committer", {}).get("date"))
            ),
            variables={
                "AuthorDate": _iso(commit.get("author", {}).get("date")),
                "BranchName": branch,
                "CommitId": commit_id,
                "CommitMessage": message.encode()[:MESSAGE_LIMIT].decode(errors="ignore"),
                "CommitterDate": _iso(commit.get("committer", {}).get("date")),
                "RepositoryName": repository,
            },
        )

    async def _head(self, action: Action, repository: str, branch: str) -> str:
        found = await action.invoke("codecommit", "GetBranch", {"repositoryName": repository, "branchName": branch})
        return found["branch"]["commitId"]


def _failure(error: ServiceError, repository: str, branch: str) -> Failed:
    if error.wire_code in _ABSENT:
        return Failed(
            code="ConfigurationError",
            message=f"The action failed because no branch named {branch} was found in the selected AWS CodeCommit "
            f"repository {repository}. Make sure you are using the correct branch name, and then try again. "
            f"Error: {error}",
        )
    if error.wire_code == "RepositoryDoesNotExistException":
        return Failed(
            code="ConfigurationError",
            message=f"The action failed because no AWS CodeCommit repository named {repository} was found. "
            f"Make sure you are using the correct repository name, and then try again. Error: {error}",
        )
    return Failed(code="JobFailed", message=f"The source could not be fetched: {error} ({error.wire_code})")


_LAST_MOMENT = 253_402_300_799_000  # the end of the year 9999: git has no bound, calendars do


def _milliseconds(date: str | None) -> int | None:
    """CodeCommit's `<seconds> <zone>`; None for what no client could read as a time."""
    seconds = (date or "").partition(" ")[0]
    moment = int(seconds) * 1000 if seconds.isdigit() else None
    return moment if moment is None or moment <= _LAST_MOMENT else None


def _iso(date: str | None) -> str:
    moment = _milliseconds(date)
    if moment is None:
        return date or ""
    return iso(moment)


PROVIDER = CodeCommitSource()
