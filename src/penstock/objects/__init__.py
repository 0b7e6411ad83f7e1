"""Buckets and objects: S3's API over encrypted blobs."""

from __future__ import annotations

from penstock.objects import collector, operations
from penstock.objects.backend import Backend, DiskBackend
from penstock.objects.blobs import Blobs
from penstock.objects.patch import PATCH
from penstock.objects.table import ours, table
from penstock.room import App, Settings
from penstock.wire.services import Service
from penstock.wire.validation import XmlProfile

__all__ = ["operations", "register"]


_THREADS = 4


def _backend(settings: Settings) -> Backend:
    if not settings.objects:
        return DiskBackend(settings.data_dir / "blobs")
    from penstock.objects.s3_backend import Location, S3Backend  # noqa: PLC0415 - boto3 is 20 MB that a disk does not need

    return S3Backend(Location.parse(settings.objects), connections=_THREADS)


def register(app: App) -> None:
    """Hand over S3's operations and the collector of this house's blobs."""
    backend = _backend(app.settings)
    blobs = Blobs(backend, app.sealer, threads=_THREADS)
    app.services.add(Service("s3", patch=PATCH, profile=XmlProfile()))
    app.registry.add(table.bind(blobs))
    app.registry.add(ours.bind(blobs))

    async def start() -> None:
        await blobs.run(backend.prepare)

    app.on_start(start)
    collector.register(app, blobs)
    # The threads are not stopped with the rooms: requests that are draining still read and write.
