"""The errors of EventBridge, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidEventPatternException(ServiceError):
    """Event pattern is not valid. Reason: {reason}"""


class ValidationException(ServiceError):
    """The request is not valid."""
