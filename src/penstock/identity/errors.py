"""What IAM and STS answer when they refuse. Class names are the model's; `code` is what goes on the wire."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class NoSuchEntityException(ServiceError):
    """The {kind} with name {name} cannot be found."""

    code = "NoSuchEntity"
    status = 404


class EntityAlreadyExistsException(ServiceError):
    """{kind} with name {name} already exists."""

    code = "EntityAlreadyExists"
    status = 409


class UnmodifiableEntityException(ServiceError):
    """Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"""

    code = "UnmodifiableEntity"


class PolicyNotAttachableException(ServiceError):
    """Cannot attach a Service Role Policy to a Customer Role."""

    code = "PolicyNotAttachable"


class DeleteConflictException(ServiceError):
    """Cannot delete entity, must {first} first."""

    code = "DeleteConflict"
    status = 409


class LimitExceededException(ServiceError):
    """Cannot exceed quota for {quota}: {limit}"""

    code = "LimitExceeded"
    status = 409


class PasswordPolicyViolationException(ServiceError):
    """The password is not as the password policy of the account asks."""

    code = "PasswordPolicyViolation"


class InvalidAuthenticationCodeException(ServiceError):
    """Authentication code for device is not valid."""

    code = "InvalidAuthenticationCode"
    status = 403


class InvalidUserTypeException(ServiceError):
    """Only IAM Users can change their own password"""

    code = "InvalidUserType"


class CredentialReportNotPresentException(ServiceError):
    """There is no credential report. Ask for one by GenerateCredentialReport."""

    code = "ReportNotPresent"
    status = 410


class MalformedPolicyDocumentException(ServiceError):
    """Syntax errors in policy."""

    code = "MalformedPolicyDocument"


class InvalidInputException(ServiceError):
    """The input is not valid."""

    code = "InvalidInput"


class ValidationErrorException(ServiceError):
    """The input fails to satisfy the constraints of the service."""

    code = "ValidationError"


class InvalidPathException(ServiceError):
    """The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."""

    code = "ValidationError"


class AccessDeniedException(ServiceError):
    """User: {arn} is not authorized to perform: {action} on resource: {resource}"""

    code = "AccessDenied"
    status = 403


class InvalidAuthorizationMessageException(ServiceError):
    """Message is not valid. It belongs to another account, was cut off or changed, or was sealed under a master key that is gone."""


class PackedPolicyTooLargeException(ServiceError):
    """Packed policy consumes {percent}% of allotted space, please use smaller policy."""

    code = "PackedPolicyTooLarge"


class InvalidParameterValueException(ServiceError):
    """The value of a parameter is not valid."""

    code = "InvalidParameterValue"


class InvalidIdentityTokenException(ServiceError):
    """The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"""

    code = "InvalidIdentityToken"


class IDPCommunicationErrorException(ServiceError):
    """The identity provider that was asked to verify the token could not be reached. Retry the request; if the error stays, make sure that this server reaches the provider's address."""

    code = "IDPCommunicationError"


class ExpiredTokenException(ServiceError):
    """Token expired: current date/time {now} must be before the expiration date/time {expired}"""


class AccountExistsException(ServiceError):
    """Account {account} exists already."""


class NoSuchUserException(ServiceError):
    """There is no user {name} in this account."""


class ValidationException(ServiceError):
    """The request is not valid."""


class InvalidAccountIdException(ServiceError):
    """An account is twelve digits."""


class InvalidNextTokenException(ServiceError):
    """The next token is not one that this operation has answered."""


class AccountNotFoundException(ServiceError):
    """You specified an account that doesn't exist."""


class CreateAccountStatusNotFoundException(ServiceError):
    """You specified a create account request that doesn't exist."""


class ConstraintViolationException(ServiceError):
    """You have exceeded the allowed number of AWS accounts."""


class InvalidValueException(ServiceError):
    """You specified an invalid value."""

    code = "InvalidInputException"  # of Organizations; IAM's is another
