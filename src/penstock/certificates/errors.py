"""The errors of IAM Roles Anywhere, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ValidationException(ServiceError):
    """The request is not valid."""


class AccessDeniedException(ServiceError):
    """The certificate is not trusted."""

    status = 403


class HostJoinedException(ServiceError):
    """{name} has joined already. Revoke it first: penstock hosts revoke {name}"""


class HostNotFoundException(ServiceError):
    """No host {name} was invited."""


class InvalidInvitationException(ServiceError):
    """This invitation {why}. Ask for a new one: penstock hosts join {name}"""


class ResourceNotFoundException(ServiceError):
    """There is no {kind} {id}."""

    status = 404


class TooManyTagsException(ServiceError):
    """A resource can have no more than 200 tags. Remove one that nothing uses."""
