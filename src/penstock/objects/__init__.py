"""Buckets and objects: S3's API over encrypted blobs."""

from __future__ import annotations

from penstock.objects import collector, operations
from penstock.objects.backend import DiskBackend
from penstock.objects.blobs import Blobs
from penstock.objects.patch import PATCH
from penstock.objects.table import table
from penstock.room import App
from penstock.wire.services import Service
from penstock.wire.validation import XmlProfile

__all__ = ["operations", "register"]


def register(app: App) -> None:
    """Hand over S3's operations and the collector of this house's blobs."""
    backend = DiskBackend(app.settings.data_dir / "blobs")
    blobs = Blobs(backend, app.sealer)
    app.services.add(Service("s3", patch=PATCH, profile=XmlProfile()))
    app.registry.add(table.bind(blobs))

    async def start() -> None:
        await blobs.run(backend.prepare)

    app.on_start(start)
    collector.register(app, blobs)
    # The threads are not stopped with the rooms: requests that are draining still read and write.
