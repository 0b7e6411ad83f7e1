"""The errors of CodeBuild, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidInputException(ServiceError):
    """The input value that was provided is not valid."""


class ResourceNotFoundException(ServiceError):
    """The specified resource cannot be found: {resource}"""


class ResourceAlreadyExistsException(ServiceError):
    """Project already exists: {resource}"""


class AccountLimitExceededException(ServiceError):
    """Cannot have more than {limit} builds in queue for the account"""


class PhaseFailed(Exception):
    """A phase that the worker runs has failed; its code and text are the phase's context."""

    def __init__(self, message: str, *, code: str = "CLIENT_ERROR") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
