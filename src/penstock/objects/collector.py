"""The collector: removes blobs that nothing refers to, after a grace period, and never one that something does.

Two kinds: blobs whose last part was deleted (their rows say since when), and bytes without a row (a writer that died between
the two). Either is first given up in a transaction, from when on no part can refer to it, and then unlinked; a collector
that dies in between finds it given up and continues. The grace period lets readers finish that look for further blobs of an
object which is deleted meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice

from penstock.application import App
from penstock.objects import contents
from penstock.objects.blobs import Blobs
from penstock.store.failpoints import failpoint
from penstock.store.jobs import enqueue
from penstock.store.work import Retry

KIND = "objects.collect"
GRACE_MS = 600_000  # for readers of an object that is replaced meanwhile
STRAY_MS = 3_600_000  # for writers, whose bytes come before their row
EVERY_MS = 120_000
COMPLETED_MS = 86_400_000  # how long a completed upload answers repeated calls
CLAIM_MS = 7 * 86_400_000  # how long a dead writer's id stays claimed
_BATCH = 200

log = logging.getLogger("penstock.objects")


async def begin(app: App) -> None:
    """Let the collector's job run, which there is once for all processes."""
    await app.store.write(enqueue, kind=KIND, payload={}, account="", region=app.settings.region, dedup=KIND)


async def repeat(app: App, blobs: Blobs) -> None:
    """The collector's job: one round, and another in two minutes."""
    await collect(app, blobs)
    raise Retry(EVERY_MS, counts=False)


async def collect(app: App, blobs: Blobs, *, grace_ms: int = GRACE_MS, stray_ms: int = STRAY_MS) -> int:
    """One round; how many blobs it removed."""
    now = app.clock.now()
    await app.store.write(contents.forget_uploads, now - COMPLETED_MS)
    removed = await _collect_unreferenced(app, blobs, now, grace_ms)
    removed += await _collect_strays(app, blobs, now, stray_ms)
    await app.store.write(contents.forget_claims, now - CLAIM_MS)
    if removed:
        log.info("objects.collected", extra={"blobs": removed})
    return removed


async def _collect_unreferenced(app: App, blobs: Blobs, now: int, grace_ms: int) -> int:
    removed = 0
    while ids := await app.store.scan(contents.unreferenced_blobs, now - grace_ms, _BATCH):
        given_up = await app.store.write(contents.give_up_blobs, ids, now)
        failpoint("objects.blobs_given_up")
        for blob in given_up:
            await blobs.run(blobs.backend.remove, blob)
        await app.store.write(contents.forget_blobs, given_up)
        removed += len(given_up)
    return removed


async def _collect_strays(app: App, blobs: Blobs, now: int, grace_ms: int) -> int:
    removed = 0
    old = blobs.backend.older_than(grace_ms / 1000)
    while batch := await blobs.run(_take, old):
        ids = [blob for blob in batch if blob not in blobs.unfinished]
        given_up = await app.store.write(contents.give_up_strays, ids, now) if ids else []
        failpoint("objects.strays_given_up")
        for blob in given_up:
            await blobs.run(blobs.backend.remove, blob)
        removed += len(given_up)
    return removed


def _take(ids: Iterator[str]) -> list[str]:
    return list(islice(ids, _BATCH))
