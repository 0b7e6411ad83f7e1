"""The errors of Secrets Manager, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ResourceNotFoundException(ServiceError):
    """Secrets Manager can't find the specified secret."""


class ResourceExistsException(ServiceError):
    """The operation failed because the secret {name} already exists."""


class InvalidRequestException(ServiceError):
    """You can't perform this operation on the secret because it was marked for deletion."""


class InvalidParameterException(ServiceError):
    """The value of a parameter is not valid."""


class InvalidNextTokenException(ServiceError):
    """The NextToken value is not valid."""


class LimitExceededException(ServiceError):
    """A quota of the service is used up."""


class EncryptionFailure(ServiceError):
    """Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state: {reason}"""


class DecryptionFailure(ServiceError):
    """Secrets Manager can't decrypt the protected secret text using the provided KMS key: {reason}"""


class AccessDeniedException(ServiceError):
    """Access to KMS is not allowed"""


class MalformedPolicyDocumentException(ServiceError):
    """The resource policy is not valid."""


class PublicPolicyException(ServiceError):
    """You can't attach a resource policy that allows broad access to the secret."""


class ValidationException(ServiceError):
    """Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"""
