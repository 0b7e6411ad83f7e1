"""Which error answers which broken constraint. AWS: the API's error lists name one per member."""

from __future__ import annotations

from penstock.repositories import errors
from penstock.wire.profiles import MemberError, MemberProfile

_REPOSITORY = MemberError(
    required=errors.RepositoryNameRequiredException, invalid=errors.InvalidRepositoryNameException
)
_BRANCH = MemberError(required=errors.BranchNameRequiredException, invalid=errors.InvalidBranchNameException)

PROFILE = MemberProfile(
    members={
        "repositoryName": _REPOSITORY,
        "repositoryNames": MemberError(
            required=errors.RepositoryNamesRequiredException, invalid=errors.InvalidRepositoryNameException
        ),
        "repositoryDescription": MemberError(invalid=errors.InvalidRepositoryDescriptionException),
        "branchName": _BRANCH,
        "defaultBranchName": _BRANCH,
        "commitId": MemberError(required=errors.CommitIdRequiredException, invalid=errors.InvalidCommitIdException),
        "sortBy": MemberError(invalid=errors.InvalidSortByException),
        "order": MemberError(invalid=errors.InvalidOrderException),
        "resourceArn": MemberError(
            required=errors.ResourceArnRequiredException, invalid=errors.InvalidResourceArnException
        ),
        "tags": MemberError(required=errors.TagsMapRequiredException, invalid=errors.InvalidTagsMapException),
        "tagKeys": MemberError(
            required=errors.TagKeysListRequiredException, invalid=errors.InvalidTagKeysListException
        ),
    }
)
