"""What can be chosen of the store of objects."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import option


def store_address(text: str) -> str:
    """The address of an object store. Raises ValueError."""
    from penstock.blobs.s3_backend import Location  # noqa: PLC0415 - boto3 is 20 MB that a disk does not need

    Location.parse(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsSettings:
    """Options of the store of objects."""

    objects: str = option(
        "",
        "s3://bucket/prefix?endpoint=https://…&region=R&credentials=FILE&profile=P: keep the bytes of objects in an "
        "S3-compatible store; default: files below the data dir",
        group="data",
        metavar="URL",
        parse=store_address,
    )
