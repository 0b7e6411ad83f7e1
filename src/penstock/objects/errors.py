"""S3's errors. The docstrings are AWS's texts (AWS: "Error responses", list of error codes)."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class AccessDenied(ServiceError):
    """Access Denied"""

    status = 403


class AccessControlListNotSupported(ServiceError):
    """The bucket does not allow ACLs"""


class BadDigest(ServiceError):
    """The Content-MD5 you specified did not match what we received."""


class BadRequest(ServiceError):
    """Bad Request"""


class BucketAlreadyExists(ServiceError):
    """The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."""

    status = 409


class BucketAlreadyOwnedByYou(ServiceError):
    """Your previous request to create the named bucket succeeded and you already own it."""

    status = 409


class BucketNotEmpty(ServiceError):
    """The bucket you tried to delete is not empty"""

    status = 409


class ConditionalRequestConflict(ServiceError):
    """The conditional request cannot succeed due to a conflicting operation against this resource."""

    status = 409


class EntityTooLarge(ServiceError):
    """Your proposed upload exceeds the maximum allowed size"""


class EntityTooSmall(ServiceError):
    """Your proposed upload is smaller than the minimum allowed size"""


class IllegalLocationConstraintException(ServiceError):
    """The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."""


class InvalidArgument(ServiceError):
    """Invalid Argument"""


class InvalidBucketName(ServiceError):
    """The specified bucket is not valid."""


class InvalidDigest(ServiceError):
    """The Content-MD5 you specified was invalid."""


class InvalidLocationConstraint(ServiceError):
    """The specified location-constraint is not valid"""


class InvalidPart(ServiceError):
    """One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."""


class InvalidPartNumber(ServiceError):
    """The requested partnumber is not satisfiable"""

    status = 416


class InvalidPartOrder(ServiceError):
    """The list of parts was not in ascending order. Parts must be ordered by part number."""


class InvalidRange(ServiceError):
    """The requested range is not satisfiable"""

    status = 416


class InvalidRequest(ServiceError):
    """Invalid Request"""


class InvalidStorageClass(ServiceError):
    """The storage class you specified is not valid"""


class InvalidTag(ServiceError):
    """The tag provided was not a valid tag. This error can occur if the tag did not pass input validation."""


class KeyTooLongError(ServiceError):
    """Your key is too long"""


class MalformedXML(ServiceError):
    """The XML you provided was not well-formed or did not validate against our published schema"""


class MetadataTooLarge(ServiceError):
    """Your metadata headers exceed the maximum allowed metadata size"""


class MethodNotAllowed(ServiceError):
    """The specified method is not allowed against this resource."""

    status = 405


class NoSuchBucket(ServiceError):
    """The specified bucket does not exist"""

    status = 404


class NoSuchKey(ServiceError):
    """The specified key does not exist."""

    status = 404


class NoSuchPublicAccessBlockConfiguration(ServiceError):
    """The public access block configuration was not found"""

    status = 404


class MalformedPolicy(ServiceError):
    """Invalid policy syntax."""


class NoSuchBucketPolicy(ServiceError):
    """The bucket policy does not exist"""

    status = 404


class NoSuchTagSet(ServiceError):
    """The TagSet does not exist"""

    status = 404


class NoSuchUpload(ServiceError):
    """The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."""

    status = 404


class NoSuchVersion(ServiceError):
    """The specified version does not exist."""

    status = 404


class NotModified(ServiceError):
    """Not Modified"""

    status = 304


class NotServed(ServiceError):
    """A header you provided implies functionality that is not implemented"""

    code = "NotImplemented"
    status = 501


class PreconditionFailed(ServiceError):
    """At least one of the pre-conditions you specified did not hold"""

    status = 412
