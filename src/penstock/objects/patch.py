"""What botocore's model of S3 leaves out or lays over: the names of answers' root elements, and lists of values.

botocore reads any root, other clients (Java, older .NET, hand-written ones) look for the name. S3 API Reference, "Response
Syntax" of each operation.
"""

from __future__ import annotations

from typing import Any

_ROOTS = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}

PATCH: dict[str, Any] = {
    "operations": {
        **{operation: {"output": {"locationName": root}} for operation, root in _ROOTS.items()},
        # The answer is one element with the region as its text.
        "GetBucketLocation": {"unwrappedXmlOutput": True},
    },
    "shapes": {
        # S3 keeps an Expires header as it came, whether it is a date or not.
        "Expires": {"type": "string"},
        # These have errors of their own, and the regions are those of this installation.
        **{
            shape: {"enum": None}
            for shape in (
                "BucketLocationConstraint",
                "ChecksumMode",
                "EncodingType",
                "MetadataDirective",
                "StorageClass",
            )
        },
    },
}
