"""The errors of CloudWatch, one class each: its name or code is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidParameterValue(ServiceError):
    """A parameter has a value that is not valid."""


class InvalidParameterCombination(ServiceError):
    """Parameters that do not go together are given."""


class MissingParameter(ServiceError):
    """The parameter {name} is required."""


class ValidationError(ServiceError):
    """The request is not valid."""


class InvalidNextToken(ServiceError):
    """The value of NextToken is not valid: it was given out for another request, or by another server. Begin with the first page."""


class LimitExceededFault(ServiceError):
    """The alarm {name} is in the rules of {most} composite alarms already, and can be in no more. Take it out of one that needs it no longer."""

    code = "LimitExceeded"


class ResourceNotFound(ServiceError):
    """There is no alarm of that name or ARN in this account and region. `aws cloudwatch describe-alarms` lists those that there are."""

    status = 404


class InvalidFormat(ServiceError):
    """Data was not syntactically valid JSON."""


class TooManyTags(ServiceError):
    """An alarm can have no more than 50 tags. Remove one that nothing uses."""

    code = "InvalidParameterValue"


class ValidationException(ServiceError):
    """The request is not valid."""


class InvalidNextTokenException(ServiceError):
    """The next token is not one that this operation has answered."""


class MetricSourceNotFoundException(ServiceError):
    """There is no metric source {name} in this account and region. `aws penstock list-metric-sources` lists those that there are."""


class LimitExceededException(ServiceError):
    """An account can have {most} metric sources in a region. Delete one that nothing needs."""
