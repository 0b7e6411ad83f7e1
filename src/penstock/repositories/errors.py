"""What CodeCommit answers when it refuses; the docstring is the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class RepositoryNameRequiredException(ServiceError):
    """A repository name is required, but was not specified."""


class RepositoryNamesRequiredException(ServiceError):
    """At least one repository name object is required, but was not specified."""


class MaximumRepositoryNamesExceededException(ServiceError):
    """The maximum number of allowed repository names was exceeded. Currently, this number is 100."""


class InvalidRepositoryNameException(ServiceError):
    """The repository name is not valid. Repository names can be any valid combination of letters, numbers, periods, underscores, and dashes between 1 and 100 characters in length, and cannot end in .git. Names are case sensitive."""


class InvalidRepositoryDescriptionException(ServiceError):
    """The specified repository description is not valid."""


class RepositoryNameExistsException(ServiceError):
    """Repository named {name} already exists"""


class RepositoryDoesNotExistException(ServiceError):
    """{name} does not exist"""


class BranchNameRequiredException(ServiceError):
    """A branch name is required, but was not specified."""


class InvalidBranchNameException(ServiceError):
    """The specified branch name is not valid."""


class BranchDoesNotExistException(ServiceError):
    """Branch {name} does not exist"""


class BranchNameExistsException(ServiceError):
    """Branch {name} already exists"""


class DefaultBranchCannotBeDeletedException(ServiceError):
    """The specified branch is the default branch for the repository, and cannot be deleted. To delete this branch, you must first set another branch as the default branch."""


class CommitIdRequiredException(ServiceError):
    """A commit ID was not specified."""


class InvalidCommitIdException(ServiceError):
    """The specified commit ID is not valid."""


class CommitIdDoesNotExistException(ServiceError):
    """The specified commit ID does not exist"""


class CommitDoesNotExistException(ServiceError):
    """The specified commit does not exist or no commit was specified, and the specified repository has no default branch."""


class InvalidSortByException(ServiceError):
    """The specified sort by value is not valid."""


class InvalidOrderException(ServiceError):
    """The specified sort order is not valid."""


class InvalidContinuationTokenException(ServiceError):
    """The specified continuation token is not valid."""


class ResourceArnRequiredException(ServiceError):
    """A valid Amazon Resource Name (ARN) for an AWS CodeCommit resource is required."""


class InvalidResourceArnException(ServiceError):
    """The value for the resource ARN is not valid."""


class TagsMapRequiredException(ServiceError):
    """A map of tags is required."""


class TagKeysListRequiredException(ServiceError):
    """A list of tag keys is required. The list cannot be empty or null."""


class InvalidTagKeysListException(ServiceError):
    """The list of tags is not valid."""


class InvalidTagsMapException(ServiceError):
    """The map of tags is not valid."""


class TooManyTagsException(ServiceError):
    """The maximum number of tags for an AWS CodeCommit resource has been exceeded."""


class InvalidSystemTagUsageException(ServiceError):
    """The specified tag is not valid. Key names cannot be prefixed with aws:."""


class EncryptionKeyNotFoundException(ServiceError):
    """Repositories are not encrypted under a key of their own here."""


class OperationNotAllowedException(ServiceError):
    """The requested action is not allowed."""


class CommitTooLargeException(ServiceError):
    """The commit has more files, or larger ones, than are packed here."""
