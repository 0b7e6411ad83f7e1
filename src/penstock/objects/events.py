"""What buckets emit. A bucket has several ordering keys, so that its writers do not wait for each other (`commits.ordering_key`).

Payloads are the details of EventBridge's events (AWS: "EventBridge event message structure" of S3).
"""

from __future__ import annotations

from typing import Any

from penstock.store.catalogue import EventType
from penstock.store.events import Event
from penstock.wire.call import partition_of


def _bucket(event: Event) -> tuple[str]:
    return (f"arn:{partition_of(event.region)}:s3:::{event.payload['bucket']['name']}",)


UNANNOUNCED = "unannounced"
"""The member of a payload that says that EventBridge gets nothing of its bucket. Events with it are never shown in EventBridge's form."""


def _source(event: Event) -> str:
    return "" if event.payload.get(UNANNOUNCED) else "aws.s3"


def _created_detail(payload: dict[str, Any]) -> dict[str, Any]:
    """Version 1 was flat, and did not say who asked."""
    about = {"key": payload["key"], "size": payload["size"], "etag": payload["eTag"]}
    return {
        "version": "0",
        "bucket": {"name": payload["bucket"]},
        "object": about | {"version-id": payload["versionId"]},
        "reason": payload["reason"],
    }


def _deleted_detail(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "bucket": {"name": payload["bucket"]},
        "object": {"key": payload["key"], "version-id": payload["versionId"]},
        "reason": "DeleteObject",
        "deletion-type": payload["deletionType"],
    }


OBJECT_CREATED = EventType(
    name="s3.object.created",
    description="An object, or a new version of one, was written, copied or completed.",
    aggregate="bucket",
    source="aws.s3",
    source_of=_source,
    detail_type="Object Created",
    resources=_bucket,
    sample={
        "version": "0",
        "bucket": {"name": "artifacts"},
        "object": {
            "key": "shop/source.zip",
            "size": 1048576,
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "version-id": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "sequencer": "019B2D5C81F2",
        },
        "request-id": "0b8a6a0c-8b0e-4a57-9a3c-2c3a3b1f3b0e",
        "requester": "111111111111",
        "source-ip-address": "192.0.2.7",
        "reason": "PutObject",
    },
    upcasters={1: _created_detail},
)

OBJECT_DELETED = EventType(
    name="s3.object.deleted",
    description="A version was removed for good, or a delete marker hides the versions of a key.",
    aggregate="bucket",
    source="aws.s3",
    source_of=_source,
    detail_type="Object Deleted",
    resources=_bucket,
    sample={
        "version": "0",
        "bucket": {"name": "artifacts"},
        "object": {
            "key": "shop/source.zip",
            "version-id": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "sequencer": "019B2D5C81F3",
        },
        "request-id": "0b8a6a0c-8b0e-4a57-9a3c-2c3a3b1f3b0f",
        "requester": "111111111111",
        "source-ip-address": "192.0.2.7",
        "reason": "DeleteObject",
        "deletion-type": "Permanently Deleted",
    },
    upcasters={1: _deleted_detail},
)

EVENTS = (OBJECT_CREATED, OBJECT_DELETED)
