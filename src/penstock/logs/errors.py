"""The errors of CloudWatch Logs, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidParameterException(ServiceError):
    """A parameter is specified incorrectly."""


class AccessDeniedException(ServiceError):
    """The caller, or CloudWatch Logs itself, may not do this."""


class ValidationException(ServiceError):
    """The request is not valid."""


class TooManyTagsException(ServiceError):
    """A resource can have no more than 50 tags."""


class ResourceAlreadyExistsException(ServiceError):
    """The specified {what} already exists"""


class ResourceNotFoundException(ServiceError):
    """The specified {what} does not exist."""


class MalformedQueryException(ServiceError):
    """The query cannot be read."""


class LimitExceededException(ServiceError):
    """Resource limit exceeded."""


class SessionTimeoutException(ServiceError):
    """The Live Tail session was open for three hours, as long as one may be. Start another one."""


class SessionStreamingException(ServiceError):
    """The log events cannot be read at the moment. Start another session in a while."""
