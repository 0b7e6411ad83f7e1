"""The errors of EventBridge Scheduler, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ValidationException(ServiceError):
    """The request is not valid."""


class ResourceNotFoundException(ServiceError):
    """The resource does not exist."""

    status = 404


class ScheduleNotFound(ResourceNotFoundException):
    """Schedule {name} does not exist."""

    code = "ResourceNotFoundException"


class GroupNotFound(ResourceNotFoundException):
    """Schedule group {name} does not exist."""

    code = "ResourceNotFoundException"


class ConflictException(ServiceError):
    """The resource has changed meanwhile. Try again."""

    status = 409


class ScheduleExists(ConflictException):
    """Schedule {name} already exists."""

    code = "ConflictException"


class GroupExists(ConflictException):
    """Schedule group {name} already exists."""

    code = "ConflictException"


class GroupGoes(ConflictException):
    """Schedule group {name} is being deleted. Use another group, or wait until it is gone."""

    code = "ConflictException"


class TokenUsed(ConflictException):
    """The ClientToken was used for another request within the last day. Use another token."""

    code = "ConflictException"


class ServiceQuotaExceededException(ServiceError):
    """The account has {limit} schedule groups in this region, which is the limit. Delete some."""

    status = 402
