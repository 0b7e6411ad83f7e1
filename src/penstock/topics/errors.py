"""The errors of SNS, one class each. Their codes have no "Exception": the model's error shapes say so."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidParameterException(ServiceError):
    """Invalid parameter: {what}"""


class InvalidParameterValueException(ServiceError):
    """A message attribute is not valid."""

    code = "InvalidParameterValueException"


class NotFoundException(ServiceError):
    """Topic does not exist"""

    status = 404


class ResourceNotFoundException(ServiceError):
    """Resource does not exist"""

    status = 404


class AuthorizationErrorException(ServiceError):
    """The caller may not do this."""

    status = 403


class TopicLimitExceededException(ServiceError):
    """This account has {limit} topics in this region already. Delete topics that nothing uses."""

    status = 403


class TagLimitExceededException(ServiceError):
    """Could not complete request: tag quota of per resource exceeded"""


def invalid(what: str, reason: str = "") -> InvalidParameterException:
    """The error of most bad values: the parameter, and why."""
    return InvalidParameterException(what=f"{what} Reason: {reason}" if reason else what)
