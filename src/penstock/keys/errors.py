"""The errors of KMS, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class NotFoundException(ServiceError):
    """Key '{arn}' does not exist"""


class InvalidArnException(ServiceError):
    """Invalid arn {arn}"""


class DisabledException(ServiceError):
    """{arn} is disabled."""


class KMSInvalidStateException(ServiceError):
    """{arn} is {state}."""


class InvalidCiphertextException(ServiceError):
    """A ciphertext or its context is not valid. AWS does not say why."""

    def __init__(self) -> None:
        super().__init__("")


class KMSInvalidSignatureException(ServiceError):
    """A signature is not one of the key for the message. AWS does not say more."""

    def __init__(self) -> None:
        super().__init__("")


class KMSInvalidMacException(ServiceError):
    """A MAC is not the one of the message. AWS does not say more."""

    def __init__(self) -> None:
        super().__init__("")


class IncorrectKeyException(ServiceError):
    """The key ID in the request does not identify a CMK that can perform this operation."""


class InvalidKeyUsageException(ServiceError):
    """{arn} key usage is {usage} which is not valid for {operation}."""


class ValidationException(ServiceError):
    """The request is not valid."""


class AlreadyExistsException(ServiceError):
    """An alias with the name {arn} already exists"""


class NotAuthorizedException(ServiceError):
    """Names that begin with alias/aws/ are those of AWS managed keys."""


class LimitExceededException(ServiceError):
    """A quota of the service is used up."""


class TagException(ServiceError):
    """The tags are not valid."""


class MalformedPolicyDocumentException(ServiceError):
    """The policy is not valid."""


class UnsupportedOperationException(ServiceError):
    """The operation is not served for this key."""


class InvalidMarkerException(ServiceError):
    """The marker is not one of this list. Begin with its first page."""


class InvalidGrantTokenException(ServiceError):
    """The grant token is not one of a grant."""


class InvalidGrantIdException(ServiceError):
    """The grant id is not valid: it has 64 hexadecimal digits."""


class DryRunOperationException(ServiceError):
    """The request would have succeeded, but the DryRun option is set."""

    status = 412
