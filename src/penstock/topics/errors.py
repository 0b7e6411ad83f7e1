"""The errors of SNS, one class each. Their codes have no "Exception", as the model's error shapes say."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidParameterException(ServiceError):
    """Invalid parameter: {what}"""

    code = "InvalidParameter"


class InvalidParameterValueException(ServiceError):
    """A message attribute is not valid."""

    code = "ParameterValueInvalid"


class NotFoundException(ServiceError):
    """Topic does not exist"""

    code = "NotFound"
    status = 404


class ResourceNotFoundException(ServiceError):
    """Resource does not exist"""

    code = "ResourceNotFound"
    status = 404


class AuthorizationErrorException(ServiceError):
    """The caller may not do this."""

    code = "AuthorizationError"
    status = 403


class TopicLimitExceededException(ServiceError):
    """This account has {limit} topics in this region already. Delete topics that nothing uses."""

    code = "TopicLimitExceeded"
    status = 403


class TagLimitExceededException(ServiceError):
    """Could not complete request: tag quota of per resource exceeded"""

    code = "TagLimitExceeded"


def invalid(what: str, reason: str = "") -> InvalidParameterException:
    """The error of most bad values: the parameter, and why."""
    return InvalidParameterException(what=f"{what} Reason: {reason}" if reason else what)


class SubscriptionLimitExceededException(ServiceError):
    """This topic has {limit} subscriptions already. End subscriptions that nobody needs."""

    code = "SubscriptionLimitExceeded"
    status = 403


class ThrottledException(ServiceError):
    """{what}"""

    code = "Throttled"
    status = 429


class KMSAccessDeniedException(ServiceError):
    """The ciphertext references a key that doesn't exist or that you don't have access to."""

    code = "KMSAccessDenied"


class KMSDisabledException(ServiceError):
    """The request was rejected because the specified KMS key isn't enabled."""

    code = "KMSDisabled"


class KMSInvalidStateException(ServiceError):
    """The request was rejected because the state of the specified resource isn't valid for this request."""

    code = "KMSInvalidState"


class KMSNotFoundException(ServiceError):
    """The request was rejected because the specified entity or resource can't be found."""

    code = "KMSNotFound"


class KMSThrottlingException(ServiceError):
    """The request was denied due to request throttling."""

    code = "KMSThrottling"


class MessageSealedException(ServiceError):
    """The message cannot be read: {why}"""


class MessageDeadLetterNotFoundException(ServiceError):
    """There is no message dead letter {id} in this account and region. `penstock dead-letters list` shows those that there are."""


class SubscriptionGoneException(ServiceError):
    """The subscription {arn} is not confirmed any more. Subscribe the endpoint again and publish the message, or delete the dead letter."""


class InvalidLetterTokenException(ServiceError):
    """The token of the page is not valid. Leave it out to begin with the first one."""

    code = "InvalidNextTokenException"


class EmptyBatchRequestException(ServiceError):
    """The batch request doesn't contain any entries."""

    code = "EmptyBatchRequest"


class TooManyEntriesInBatchRequestException(ServiceError):
    """The batch request contains more entries than permissible."""

    code = "TooManyEntriesInBatchRequest"


class BatchEntryIdsNotDistinctException(ServiceError):
    """Two or more batch entries in the request have the same Id."""

    code = "BatchEntryIdsNotDistinct"


class BatchRequestTooLongException(ServiceError):
    """The length of all the messages put together is more than the limit."""

    code = "BatchRequestTooLong"


class InvalidBatchEntryIdException(ServiceError):
    """The Id of a batch entry in the batch request contains an impermissible character: {id}"""

    code = "InvalidBatchEntryId"
