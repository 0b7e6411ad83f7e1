"""The errors of CodeStar Notifications, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ValidationException(ServiceError):
    """The request is not valid: {why}"""


class ConfigurationException(ServiceError):
    """Penstock has no AWS Chatbot. Subscribe the channel's incoming webhook to a topic, and let the rule notify the topic."""


class ResourceAlreadyExistsException(ServiceError):
    """A notification rule with the name {name} already exists."""

    status = 409


class ResourceNotFoundException(ServiceError):
    """The notification rule {arn} does not exist."""

    status = 404


class LimitExceededException(ServiceError):
    """There can be {limit} {what}."""


class InvalidNextTokenException(ServiceError):
    """The token of the page is not valid. Leave it out to begin with the first one."""
