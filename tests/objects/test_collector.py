"""What the collector takes: rows older than their time, and blobs that no row names and nobody is writing."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.blobs.backend import DiskBackend
from penstock.objects import (
    collector,
    contents,
    records,
)
from penstock.objects.blobs import Blobs
from penstock.objects.model import About, Upload
from penstock.store.records import jobs


async def test_what_is_collected_is_older_than_its_time(store):
    def row(name: str, **more: Any) -> dict[str, Any]:
        made = {"id": name, "account": "", "region": "", "size": 0, "created": 0}
        return made | {"unreferenced": None, "removed": None} | more

    def fill(conn: sa.Connection) -> None:
        conn.execute(
            sa.insert(records.blobs),
            [row("old", unreferenced=99), row("at", unreferenced=100), row("older", unreferenced=98), row("used"),
             row("claim", removed=99), row("claim-at", removed=100), row("given", removed=99, unreferenced=99)],
        )  # fmt: skip
        for name, completed in (("u-old", 99), ("u-at", 100), ("u-open", None)):
            made = Upload(
                id=name, bucket="b", key="k", account="1", initiated=0, initiator="", about=About(), outcome=None
            )
            contents.insert_upload(conn, made, "r")
            if completed:
                contents.complete_upload(conn, name, {}, completed)

    await store.write(fill)
    assert await store.read(contents.unreferenced_blobs, 100, 10) == ["older", "old", "given"]
    assert await store.read(contents.unreferenced_blobs, 100, 1) == ["older"]
    await store.write(contents.forget_uploads, 100)
    assert sorted(await store.read(contents.uploads_of_bucket, "b")) == [("u-at", False), ("u-open", True)]
    await store.write(contents.forget_claims, 100)
    assert await store.write(contents.give_up_strays, ["claim-at", "used", "stray"], 7) == ["claim-at", "stray"]
    await store.write(contents.forget_blobs, ["given", "claim-at", "used", "stray"])

    def left(conn: sa.Connection) -> set[str]:
        return set(conn.execute(sa.select(records.blobs.c.id)).scalars())

    assert await store.read(left) == {"old", "at", "older", "used", "claim-at", "stray"}


async def test_a_blob_that_is_referred_to_again_is_kept_and_waits_no_longer(store):
    def fill(conn: sa.Connection) -> None:
        made = {"account": "", "region": "", "size": 0, "created": 0, "unreferenced": 5}
        conn.execute(sa.insert(records.blobs), [made | {"id": "free"}, made | {"id": "used"}])
        part = {"content": "c", "number": 1, "account": "", "region": "", "blob": "used", "start": 0, "size": 0}
        conn.execute(sa.insert(records.parts), [part | {"etag": "", "modified": 0, "checksum": "", "key": b""}])

    await store.write(fill)
    assert await store.write(contents.give_up_blobs, ["free", "used"], 9) == ["free"]
    columns = (records.blobs.c.id, records.blobs.c.unreferenced, records.blobs.c.removed)
    rows = await store.read(lambda conn: conn.execute(sa.select(*columns).order_by(columns[0])).all())
    assert [tuple(row) for row in rows] == [("free", 5, 9), ("used", None, None)]


async def test_there_is_one_collector_for_all_processes(store):
    app: Any = SimpleNamespace(store=store, settings=SimpleNamespace(region="r"))
    for _ in range(2):
        await collector.begin(app)
    rows = await store.read(lambda conn: conn.execute(sa.select(jobs.c.kind, jobs.c.state, jobs.c.region)).all())
    assert [tuple(row) for row in rows] == [(collector.KIND, "ready", "r")]


async def test_a_round_of_the_collector(monkeypatch):
    """Ten minutes for readers, an hour for writers, a day for repeated calls, a week for claims; 200 at a time, every two minutes."""
    asked = []

    async def write(fn, *arguments):
        asked.append((fn.__name__, *arguments))
        return []

    async def scan(fn, *arguments):
        asked.append((fn.__name__, *arguments))
        return []

    async def run(fn, *arguments):
        return fn(*arguments)

    def older_than(seconds):
        asked.append(("older_than", seconds))
        return iter([])

    app = SimpleNamespace(clock=SimpleNamespace(now=lambda: 10**12), store=SimpleNamespace(write=write, scan=scan))
    blobs = SimpleNamespace(run=run, backend=SimpleNamespace(older_than=older_than), unfinished=set())
    assert await collector.collect(app, blobs) == 0  # type: ignore[arg-type]
    assert asked == [
        ("forget_uploads", 10**12 - 86_400_000), ("unreferenced_blobs", 10**12 - 600_000, 200), ("older_than", 3600.0),
        ("forget_claims", 10**12 - 604_800_000),
    ]  # fmt: skip
    with pytest.raises(collector.Retry) as again:
        await collector.repeat(app, blobs)  # type: ignore[arg-type]
    assert (again.value.after_ms, again.value.counts) == (120_000, False)


async def test_the_collector_takes_what_is_old_and_not_being_written(store, blobs: Blobs, backend: DiskBackend):
    """And says how much it took."""
    for name in ("aa" + "0" * 30, "ab" + "0" * 30, "ac" + "0" * 30):
        sink = backend.create(name)
        sink.write([b"x"])
        sink.commit()
        os.utime(backend._path(name), (1, 1))
    blobs.unfinished.add("ab" + "0" * 30)
    app = SimpleNamespace(clock=SimpleNamespace(now=lambda: 10**12), store=store)
    assert await collector.collect(app, blobs) == 2  # type: ignore[arg-type]
    assert [path.name for path in backend._root.rglob("*") if path.is_file()] == ["ab" + "0" * 30]
