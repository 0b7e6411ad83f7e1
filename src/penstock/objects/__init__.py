"""Buckets and objects: S3's API over encrypted blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.blobs import backend_of
from penstock.blobs.settings import ObjectsSettings
from penstock.component import Component, Guard, JobKind
from penstock.objects import collector, records
from penstock.objects.blobs import Blobs
from penstock.objects.events import EVENTS
from penstock.objects.operations import (
    bucket_policies,
    buckets,
    copies,
    deletes,
    digests,
    lists,
    multipart,
    reads,
    subresources,
    tags,
    writes,
)
from penstock.objects.readings import READINGS
from penstock.objects.service import s3
from penstock.wire.identity import ResourcePolicy

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.store.jobs import Job

__all__ = ["SETTINGS", "component"]

SETTINGS = ObjectsSettings
_THREADS = 4


def component(app: App) -> Component[Blobs]:
    """S3, the digests of our own service, and the collector of this installation's blobs."""
    backend = backend_of(app.settings, "blobs", connections=_THREADS)
    blobs = Blobs(backend, app.sealer, threads=_THREADS)

    async def prepare() -> None:
        await blobs.run(backend.prepare)
        await collector.begin(app)

    async def collect(blobs: Blobs, _job: Job) -> None:
        await collector.repeat(app, blobs)

    async def policy(_blobs: Blobs, arn: str) -> ResourcePolicy | None:
        bucket = await app.store.read(records.find_bucket, arn.rpartition(":")[2])
        if bucket is None:
            return None
        kept = bucket.settings.get("policy")
        return ResourcePolicy(
            account=bucket.account,
            documents=(kept["document"],) if kept else (),
            ids=kept["ids"] if kept else {},
        )

    return Component(
        name="objects",
        state=blobs,
        services=(s3(),),
        operations=(
            buckets,
            bucket_policies,
            subresources,
            lists,
            reads,
            digests,
            writes,
            copies,
            multipart,
            deletes,
            tags,
        ),
        jobs=(JobKind(kind=collector.KIND, run=collect, concurrency=1),),
        events=EVENTS,
        readings=READINGS,
        guards=(
            Guard(
                service="s3",
                root=lambda arn: arn.partition("/")[0],
                policy=policy,
                to_strangers=lambda _call, _action: "Access Denied",
            ),
        ),
        # The threads are not stopped with the components: requests that are draining still read and write.
        start=(prepare,),
    )
