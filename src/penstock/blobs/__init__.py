"""Where bytes lie that are too large for the database: a folder of the data dir, or a bucket of an S3-compatible store. They are sealed here.

A ground package: objects and the segments of logs each have a place of their own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.blobs.backend import Backend, DiskBackend
from penstock.blobs.settings import ObjectsSettings

if TYPE_CHECKING:
    from penstock.application import Settings

__all__ = ["backend_of"]


def backend_of(settings: Settings, place: str, *, connections: int) -> Backend:
    """The backend of a place: `data dir/place`, or `place/` in the store that --objects names; objects lie at its top."""
    address = settings.of(ObjectsSettings).objects
    if not address:
        return DiskBackend(settings.data_dir / Path(place))
    from penstock.blobs.s3_backend import Location, S3Backend  # noqa: PLC0415 - boto3 is 20 MB that a disk does not need

    location = Location.parse(address)
    if place != "blobs":
        location = replace(location, prefix=f"{location.prefix}{place}/")
    return S3Backend(location, connections=connections)
