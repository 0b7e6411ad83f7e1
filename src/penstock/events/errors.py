"""The errors of EventBridge, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidEventPatternException(ServiceError):
    """Event pattern is not valid. Reason: {reason}"""


class ValidationException(ServiceError):
    """The request is not valid."""


class ResourceAlreadyExistsException(ServiceError):
    """Event bus {name} already exists."""


class ResourceNotFoundException(ServiceError):
    """An entity that you specified does not exist."""


class BusNotFound(ResourceNotFoundException):
    """Event bus {name} does not exist."""

    code = "ResourceNotFoundException"


class ResourceExists(ResourceAlreadyExistsException):
    """There is a thing of this kind and name already."""

    code = "ResourceAlreadyExistsException"


class ConnectionNotFound(ResourceNotFoundException):
    """Failed to describe the connection(s). Connection '{name}' does not exist."""

    code = "ResourceNotFoundException"


class ApiDestinationNotFound(ResourceNotFoundException):
    """Failed to describe the api-destination(s). An api-destination '{name}' does not exist."""

    code = "ResourceNotFoundException"


class RuleNotFound(ResourceNotFoundException):
    """Rule {name} does not exist on EventBus {bus}."""

    code = "ResourceNotFoundException"


class IllegalStatusException(ServiceError):
    """Replay {name} is not in a valid state for this operation."""


class LimitExceededException(ServiceError):
    """The requested resource exceeds the maximum number allowed."""


class PolicyLengthExceededException(ServiceError):
    """The event bus policy is too long. A policy may have 10,240 characters: let accounts in by an organization, or remove statements."""


class EventDeadLetterNotFoundException(ServiceError):
    """There is no event dead letter {id} in this account and region. `penstock dead-letters list` shows those that there are."""


class InvalidNextTokenException(ServiceError):
    """The token of the page is not valid. Leave it out to begin with the first one."""
