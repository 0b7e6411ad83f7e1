"""Streams that are held open leave descriptors to everybody else."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_logs import log_store

from penstock.logfiles.streams import StreamFiles
from penstock.logs import logstore, records
from penstock.store.clock import ManualClock
from penstock.store.database import Store


@pytest.mark.parametrize(("limit", "most"), [(256, 2 * 16), (64, 2 * 4)])
async def test_open_streams_follow_the_limit_on_descriptors(
    any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, most: int
):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    store = log_store(tmp_path / "streams", any_store)

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


async def test_what_was_written_is_synced_and_noted_before_the_server_has_stopped(store: Store, tmp_path: Path):
    logs = log_store(tmp_path, store)
    await store.write(fill, {"a" * 32: {}})
    await logs.append("a" * 32, [(5, "a line")], 9)
    (held,) = logs._held.values()
    await logs.stop()
    assert (held.dirty, logs._held) == (False, {})
    assert await store.read(lambda conn: conn.execute(sa.select(records.streams.c.last_event)).scalar_one()) == 5


async def test_streams_go_when_their_group_keeps_events_no_longer(any_store: Store, clock: ManualClock, tmp_path: Path):
    logs = log_store(tmp_path, any_store)
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


async def test_files_that_lost_their_stream_are_deleted(any_store: Store, tmp_path: Path):
    """Rows go first: a process that dies then leaves the files, which hold what somebody has deleted."""
    logs = log_store(tmp_path / "streams", any_store)
    kept, lost, fresh, half = (letter * 32 for letter in "abcd")
    await any_store.write(fill, {kept: {}, lost: {}})
    for file in (kept, lost, fresh, half):
        await logs.append(file, [(5, "a line")], 9)
    await logs._sync()
    await any_store.write(lambda conn: conn.execute(records.streams.delete().where(records.streams.c.file == lost)))
    logs._path(half).unlink()
    for path in (tmp_path / "streams").rglob("*.*"):
        if path.stem != fresh:
            os.utime(path, (1, 1))
    await logs.collect()
    assert sorted({path.stem for path in (tmp_path / "streams").rglob("*.*")}) == [kept, fresh]
    assert await logs.inspect(kept, lambda files: len(files.batches())) == 1
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
    store = log_store(tmp_path, any_store)
    for name in ("a" * 32, "b" * 32):
        await store.append(name, [(1, "a line")], 1)
    await store._sync()
    await store._sync()
    assert sorted(synced) == ["a" * 32, "b" * 32]


@pytest.mark.parametrize(
    ("limit", "room"),
    [(resource.RLIM_INFINITY, 256), (1 << 20, 256), (16 * 256, 256), (16 * 255, 255), (80, 5), (1, 4)],
)
def test_a_sixteenth_of_the_descriptors_is_for_streams(monkeypatch: pytest.MonkeyPatch, limit: int, room: int):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, resource.RLIM_INFINITY))
    assert logstore._room() == room


def fill(conn: sa.Connection, rows: dict[str, dict[str, Any]], days: int | None = 1) -> None:
    """A group that keeps events for a day, with streams of these columns."""
    where = {"account": "1" * 12, "region": "us-east-1"}
    group = {"name": "g", "created": 0, "retention": days, "group_class": "STANDARD", "protected": False, "tags": {}}
    records.insert_group(conn, where | group)
    for name, columns in rows.items():
        stream = {"group": "g", "name": name, "file": name, "created": 0, "size": 0}
        records.insert_stream(conn, where | stream | columns)


def names(conn: sa.Connection) -> list[str]:
    return sorted(conn.execute(sa.select(records.streams.c.file)).scalars())


async def test_a_stream_stays_to_the_last_millisecond_by_whatever_came_last(any_store: Store):
    now = 1_800_000_000_000
    last = now - 86_400_000
    rows = {
        f"{column}{late}": {column: last - late}
        for column in ("created", "last_event", "last_ingestion")
        for late in (0, 1)
    }
    await any_store.write(fill, rows)
    assert sorted(await any_store.write(records.delete_expired, now, 500)) == [
        "created1",
        "last_event1",
        "last_ingestion1",
    ]
    assert await any_store.read(names) == ["created0", "last_event0", "last_ingestion0"]


async def test_all_that_is_over_its_time_goes_in_batches(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logstore, "_BATCH", 2)
    batches: list[int] = []
    delete = records.delete_expired

    def deleted(*given: Any) -> list[str]:
        found = delete(*given)
        batches.append(len(found))
        return found

    monkeypatch.setattr(records, "delete_expired", deleted)
    await store.write(fill, {f"{number:032x}": {} for number in range(5)})
    await log_store(tmp_path, store).expire()
    assert batches == [2, 2, 1]
    assert await store.read(names) == []


async def test_a_file_that_cannot_be_synced_holds_up_no_other_and_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await store.write(fill, {"bad": {}, "good": {}}, None)
    logs = log_store(tmp_path, store)
    for number, name in enumerate(("bad", "good"), start=5):
        await logs.append(name, [(number, "a line"), (number + 1, "a line")], 9)
    sync = StreamFiles.sync

    def fails(files: StreamFiles) -> None:
        if files.path.stem == "bad":
            raise OSError("the disk is gone")
        sync(files)

    def known(conn: sa.Connection) -> dict[str, tuple[Any, ...]]:
        row = records.streams.c
        found = conn.execute(sa.select(row.file, row.first_event, row.last_event, row.last_ingestion, row.size > 0))
        return {file: tuple(others) for file, *others in found}

    nothing = (None, None, None, False)
    with monkeypatch.context() as patch:
        patch.setattr(StreamFiles, "sync", fails)
        with pytest.raises(OSError, match="the disk is gone"):
            await logs._sync()
    assert await store.read(known) == {"bad": nothing, "good": (6, 7, 9, True)}

    def refuse(*_: Any) -> None:
        raise RuntimeError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_down", refuse)
        with pytest.raises(RuntimeError, match="the database is gone"):
            await logs._sync()
    assert (await store.read(known))["bad"] == nothing
    await logs._sync()
    assert await store.read(known) == {"bad": (5, 6, 9, True), "good": (6, 7, 9, True)}
    await logs.stop()


async def test_what_is_appended_is_written_down_without_being_asked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logstore, "_SYNC_S", 0.0)
    written = asyncio.Event()
    loop = asyncio.get_running_loop()
    write_down = records.write_down

    def note(conn: sa.Connection, known: Any) -> None:
        write_down(conn, known)
        loop.call_soon_threadsafe(written.set)

    monkeypatch.setattr(records, "write_down", note)
    await store.write(fill, {"a": {}}, None)
    logs = log_store(tmp_path, store)
    await logs.start()
    for _ in range(2):
        written.clear()
        await logs.append("a", [(1, "a line")], 1)
        async with asyncio.timeout(60):
            await written.wait()
    await logs.stop()
    held = [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path / "a") in _target(link)]
    assert held == []


async def test_what_is_removed_begins_anew(store: Store, tmp_path: Path):
    logs = log_store(tmp_path, store)
    await logs.append("a", [(1, "a line")], 1)
    await logs.remove(["a"])
    assert list((tmp_path / "a").iterdir()) == []
    assert await logs.inspect("a", logstore.summary) == {
        "first_event": None, "last_event": None, "last_ingestion": None, "size": 0,
    }  # fmt: skip
    await logs.append("a", [(2, "another")], 3)
    found = await logs.inspect("a", logstore.summary)
    assert (found["first_event"], found["last_event"], found["last_ingestion"]) == (2, 2, 3)
    await logs.stop()


async def test_a_store_that_stops_syncs_and_lets_go_of_everything(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its loops, the process that reads, and the files that it holds, those last that were written last."""
    logs, done = log_store(tmp_path, store), []

    async def close() -> None:
        done.append("readers")

    logs._readers = SimpleNamespace(close=close)  # type: ignore[assignment]
    await logs.start()
    assert {loop.name for loop in store.loops._running} >= {"logs.sync", "logs.expire", "logs.collect"}
    for name in ("a" * 32, "b" * 32):
        await logs.append(name, [(1, "x")], 1)
        held = logs._held[name]
        monkeypatch.setattr(held.files, "sync", lambda name=name: done.append(f"synced {name[0]}"))
        monkeypatch.setattr(held.files, "close", lambda name=name: done.append(f"closed {name[0]}"))
        held.dirty = True
    await logs.stop()
    assert done[-2:] == ["closed a", "closed b"]
    assert "readers" in done
    assert logs._held == {}
    assert not {loop.name for loop in store.loops._running} & {"logs.sync", "logs.expire", "logs.collect"}
