"""Errors of CloudTrail."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidLookupAttributesException(ServiceError):
    """You must specify exactly one lookup attribute, with a name that events have and a value."""


class InvalidTimeRangeException(ServiceError):
    """The start time must not be later than the end time."""


class InvalidMaxResultsException(ServiceError):
    """The number of results must be from 1 to 50."""


class InvalidNextTokenException(ServiceError):
    """The next token is not one of this lookup: start again without it, and keep attributes and times the same from page to page."""


class InvalidEventCategoryException(ServiceError):
    """There are no events of that category here: Penstock records no Insights events. Leave EventCategory out."""


class InvalidTrailNameException(ServiceError):
    """The name of the trail is not valid."""


class CloudTrailARNInvalidException(ServiceError):
    """{arn} is not the ARN of a trail. One is arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME."""


class TrailNotFoundException(ServiceError):
    """Unknown trail: {name} for the user: {account}"""


class TrailAlreadyExistsException(ServiceError):
    """Trail {name} already exists for customer: {account}"""


class MaximumNumberOfTrailsExceededException(ServiceError):
    """User: {account} already has {most} trails in {region}."""


class InvalidHomeRegionException(ServiceError):
    """The trail {name} is of the region {region}: change it there."""


class S3BucketDoesNotExistException(ServiceError):
    """S3 bucket {bucket} does not exist!"""


class InvalidS3PrefixException(ServiceError):
    """The S3 prefix is not valid."""


class InsufficientS3BucketPolicyException(ServiceError):
    """Incorrect S3 bucket policy is detected for bucket: {bucket}"""


class InsufficientEncryptionPolicyException(ServiceError):
    """Insufficient permissions to access S3 bucket or KMS key {key}: its policy must let {service} take kms:GenerateDataKey*."""


class KmsKeyNotFoundException(ServiceError):
    """There is no such key."""


class KmsKeyDisabledException(ServiceError):
    """The key is disabled, or will be deleted."""


class InvalidKmsKeyIdException(ServiceError):
    """The key cannot encrypt files of a trail."""


class InvalidEventSelectorsException(ServiceError):
    """The event selectors are not valid."""


class InvalidParameterCombinationException(ServiceError):
    """The parameters do not go together."""


class UnsupportedOperationException(ServiceError):
    """That is not served here."""


class InvalidTagParameterException(ServiceError):
    """The tags are not valid."""


class TagsLimitExceededException(ServiceError):
    """A trail has 50 tags at most."""


class ResourceNotFoundException(ServiceError):
    """There is no such trail."""


class InvalidTokenException(ServiceError):
    """The next token is not one of this list. Begin with its first page."""
