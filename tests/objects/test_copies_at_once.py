"""Copies of one object share its bytes, and must not wait for each other's COMMIT."""

from __future__ import annotations

import asyncio
import threading

from penstock.objects import contents
from penstock.objects.blobs import Blob
from penstock.store.clock import SystemClock
from penstock.store.database import Store


async def test_two_transactions_keep_one_blob_at_once(postgresql_url: str):
    store = await Store.open(postgresql_url, clock=SystemClock())
    both = threading.Barrier(2, timeout=10)
    blob = Blob(id="b" * 32, size=1, key=b"k")

    def keep(conn: object) -> bool:
        kept = contents.keep_blobs(conn, [blob.id])  # type: ignore[arg-type]
        both.wait()  # neither ends before the other has its lock
        return kept

    try:
        await store.write(contents.insert_blob, blob, sha256="", account="1", region="r", now=1)
        first, second = store.write(keep), store.write(keep)
        assert await asyncio.gather(first, second) == [True, True]
    finally:
        await store.close()
