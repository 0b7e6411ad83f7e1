"""The errors of Parameter Store, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ParameterNotFound(ServiceError):
    """There is no such parameter. AWS says nothing with it."""

    def __init__(self) -> None:
        super().__init__("")


class PublicParameterNotFoundException(ServiceError):
    """There is no public parameter {name} in {region}. `penstock parameters list` shows those that there are."""


class ParameterVersionNotFound(ServiceError):
    """Systems Manager could not find version {version} of {name}. Verify the version and try again."""


class ParameterAlreadyExists(ServiceError):
    """The parameter already exists. To overwrite this value, set the overwrite option in the request to true."""


class ParameterLimitExceeded(ServiceError):
    """You have exceeded the number of parameters for this account. Delete one or more parameters and try again."""


class ParameterMaxVersionLimitExceeded(ServiceError):
    """You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. Version {version}, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again."""


class ParameterVersionLabelLimitExceeded(ServiceError):
    """A parameter version can have maximum {limit} labels. Move one or more labels to another version and try again."""


class ParameterPatternMismatchException(ServiceError):
    """Parameter value, cannot be validated against allowedPattern: {pattern}"""


class InvalidAllowedPatternException(ServiceError):
    """The AllowedPattern is not a regular expression that is matched in linear time: {reason}. Look-around and back references are not served."""


class InvalidPolicyTypeException(ServiceError):
    """Parameter policies are not served: nothing would expire or be notified. Leave out Policies."""


class HierarchyLevelLimitExceededException(ServiceError):
    """A hierarchy can have a maximum of {levels} levels."""


class TooManyUpdates(ServiceError):
    """There are concurrent updates for a resource you are trying to update. Try again."""


class InvalidKeyId(ServiceError):
    """The key of a SecureString cannot be used. The message is that of KMS."""


class InvalidNextToken(ServiceError):
    """The specified token is not valid."""


class InvalidFilterKey(ServiceError):
    """The following filter key is not valid: {key}. Valid filter keys include: [{keys}]."""


class InvalidFilterOption(ServiceError):
    """The following filter option is not valid: {option}. Valid options include: [{options}]."""


class InvalidFilterValue(ServiceError):
    """The following filter values are missing for the key {key}."""


class InvalidResourceType(ServiceError):
    """Tags of resources of the type {type} are not served. Parameters have the ResourceType Parameter."""


class InvalidResourceId(ServiceError):
    """The resource ID isn't valid. Verify that you entered the correct ID and try again."""


class TooManyTagsError(ServiceError):
    """A parameter can have no more than 50 tags. Remove one that nothing uses."""


class ValidationException(ServiceError):
    """The request is not valid."""


class AccessDeniedException(ServiceError):
    """No access to reserved parameter name: {name}."""
