"""What buckets emit. A bucket has several ordering keys, so that its writers do not wait for each other (`commits.ordering_key`)."""

from __future__ import annotations

from penstock.store.catalogue import EventType

OBJECT_CREATED = EventType(
    name="s3.object.created",
    description="An object, or a new version of one, was written, copied or completed.",
    aggregate="bucket",
    source="aws.s3",
    detail_type="Object Created",
    sample={
        "bucket": "artifacts",
        "key": "shop/source.zip",
        "versionId": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "size": 1048576,
        "reason": "PutObject",
    },
)

OBJECT_DELETED = EventType(
    name="s3.object.deleted",
    description="A version was removed for good, or a delete marker hides the versions of a key.",
    aggregate="bucket",
    source="aws.s3",
    detail_type="Object Deleted",
    sample={
        "bucket": "artifacts",
        "key": "shop/source.zip",
        "versionId": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
        "deletionType": "Permanently Deleted",
    },
)

EVENTS = (OBJECT_CREATED, OBJECT_DELETED)
