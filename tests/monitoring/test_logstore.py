"""Streams that are held open leave descriptors to everybody else."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.logfiles.streams import StreamFiles
from penstock.monitoring import records
from penstock.monitoring.logstore import LogStore
from penstock.store.clock import ManualClock
from penstock.store.database import Store


@pytest.mark.parametrize(("limit", "most"), [(256, 2 * 16), (64, 2 * 4)])
async def test_open_streams_follow_the_limit_on_descriptors(
    any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, most: int
):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    store = LogStore(tmp_path / "streams", any_store)

    def held() -> list[Path]:
        return [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path / "streams") in _target(link)]

    for n in range(40):
        await store.append(f"{n:032x}", [(n, "a line")], n)
    assert len(held()) == 80  # what is not synced yet is never closed
    for n in range(40, 80):
        await store.append(f"{n:032x}", [(n, "a line")], n)
        await store._sync()
    assert 0 < len(held()) <= most
    await store._sync()
    for n in range(80):  # what was closed is opened again
        assert await store.inspect(f"{n:032x}", lambda files: len(files.batches())) == 1


async def test_streams_go_when_their_group_keeps_events_no_longer(any_store: Store, clock: ManualClock, tmp_path: Path):
    logs = LogStore(tmp_path, any_store)
    account, region = "111111111111", "us-east-1"
    started = clock.now()

    def fill(conn: sa.Connection) -> None:
        for group, days in (("week", 7), ("month", 30), ("ever", None)):
            records.insert_group(
                conn,
                {
                    "account": account,
                    "region": region,
                    "name": group,
                    "created": started,
                    "retention": days,
                    "group_class": "STANDARD",
                    "protected": False,
                    "tags": {},
                },
            )
            for name in ("old", "busy"):
                file = f"{group}-{name}"
                records.insert_stream(
                    conn,
                    {
                        "account": account,
                        "region": region,
                        "group": group,
                        "name": name,
                        "file": file,
                        "created": started,
                        "size": 0,
                    },
                )

    def names(conn: sa.Connection) -> list[str]:
        return sorted(conn.execute(sa.select(records.streams.c.file)).scalars())

    await any_store.write(fill)
    every = await any_store.read(names)
    for file in every:
        await logs.append(file, [(started, "a line")], started)
    await logs._sync()
    clock.advance(8 * records.DAY)
    await logs.append("week-busy", [(started, "late, with an old time stamp")], clock.now())
    await logs._sync()
    await logs.expire()
    assert await any_store.read(names) == [file for file in every if file != "week-old"]
    clock.advance(31 * records.DAY)
    await logs.expire()
    assert await any_store.read(names) == ["ever-busy", "ever-old"]
    assert sorted(path.stem for path in tmp_path.rglob("*.log")) == ["ever-busy", "ever-old"]
    await logs.stop()


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


async def test_what_was_appended_is_synced_once(any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    sync = StreamFiles.sync
    monkeypatch.setattr(StreamFiles, "sync", lambda files: (synced.append(files.path.stem), sync(files)))
    store = LogStore(tmp_path, any_store)
    for name in ("a" * 32, "b" * 32):
        await store.append(name, [(1, "a line")], 1)
    await store._sync()
    await store._sync()
    assert sorted(synced) == ["a" * 32, "b" * 32]
