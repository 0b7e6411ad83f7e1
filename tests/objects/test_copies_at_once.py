"""Copies of one object share its bytes, and must not wait for each other's COMMIT."""

from __future__ import annotations

import asyncio

import psycopg
import sqlalchemy as sa

from penstock.objects import contents
from penstock.objects.blobs import Blob
from penstock.store.clock import SystemClock
from penstock.store.database import Store


async def test_two_transactions_keep_one_blob_at_once(postgresql_url: str):
    store = await Store.open(postgresql_url, clock=SystemClock())
    loop, kept = asyncio.get_running_loop(), asyncio.Event()
    blob = Blob(id="b" * 32, size=1, key=b"k")

    def keep_for_long(conn: sa.Connection) -> bool:
        found = contents.keep_blobs(conn, [blob.id])
        loop.call_soon_threadsafe(kept.set)
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(1)))
        return found

    try:
        await store.write(contents.insert_blob, blob, account="1", region="r", now=1)
        async with await psycopg.AsyncConnection.connect(postgresql_url) as holder, asyncio.timeout(60):
            await holder.execute("SELECT pg_advisory_lock(1)")
            first = asyncio.ensure_future(store.write(keep_for_long))
            await kept.wait()
            assert await store.write(contents.keep_blobs, [blob.id])
            assert not first.done()
        assert await first
    finally:
        await store.close()
