"""Blocks: what is packed comes back, whatever it is, and is found by what it holds."""

from __future__ import annotations

import os
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_trails import AT, lines_of, record

from penstock.audit import records, shipping
from penstock.audit.packing import TIME, holding, pack, unpack
from penstock.audit.records import blocks
from penstock.audit.shipping import Shipping
from penstock.audit.verifying import verify
from penstock.store.sealing import Sealer
from penstock.trail import Trail, Unreadable, take_apart

HASHES = st.sampled_from([b"0" * 64, b"a1" * 32, b"A1" * 32, b"x" * 64, b"f" * 63])
ATS = st.sampled_from([b"0", b"5", b"05", b"-5", b"1796000000000", b"9" * 17, b"9" * 40, b""])
PIECES = st.sampled_from([b"a", b"0 ", b"-", b"!", b"\\n", b"5 0 a", TIME, b'"', b"{}", b"\xff"])
RECORDS = st.lists(PIECES, max_size=6).map(b"".join)
TEXTS = st.sampled_from([b"a", b"0 ", b"{}", b"-", b"\xff"])
LINES = st.one_of(st.tuples(HASHES, ATS, RECORDS).map(b" ".join), RECORDS)


@given(lines=st.lists(LINES, min_size=1, max_size=12), text=TEXTS)
def test_what_is_packed_comes_back_and_is_found(lines, text):
    content = pack(lines).content
    assert unpack(content) == lines
    sound = []
    for line in lines:
        try:
            found = take_apart(line)
        except Unreadable:
            continue
        sound.append((found.at, found.record))
    held = list(holding(content, text))
    assert [one for one in held if text in one[1]] == [one for one in sound if text in one[1]]
    assert all(one in sound for one in held)


@given(content=st.binary(max_size=60), inside=st.binary(max_size=60))
def test_what_is_no_block_is_unreadable_and_nothing_worse(content, inside):
    for one in (content, (1).to_bytes(4, "big") + bytes(32) + zlib.compress(inside)):
        for look in (unpack, lambda found: list(holding(found, b"0"))):
            try:
                look(one)
            except Unreadable:
                pass


def test_what_records_begin_with_stands_once(tmp_path):
    head = record(1, padding="x" * 600)[:-1]
    _, lines = lines_of(tmp_path, [(AT + n, head + TIME + b'"%d"}' % n) for n in range(256)])
    assert len(zlib.decompress(pack(lines).content[4 + 32 * 256 :])) < 256 * 40 + 1000


@pytest.fixture
def moving(any_store, tmp_path):
    """What moves the lines of a trail to a database."""
    clock = SimpleNamespace(now=lambda: AT)
    app: Any = SimpleNamespace(
        store=any_store,
        records=SimpleNamespace(trail=Trail(tmp_path / "audit")),
        sealer=Sealer.from_file(tmp_path / "keys" / "master.key"),
        clock=clock,
    )
    return SimpleNamespace(app=app, trail=app.records.trail, shipping=Shipping(app), clock=clock)


async def _found(moving) -> Any:
    return await moving.app.store.scan(verify, moving.app.sealer, moving.trail.folder)


async def test_large_lines_are_moved_too(moving, monkeypatch):
    """256 lines are more than a block may have bytes."""
    monkeypatch.setattr(shipping, "_BYTES", 20_000)
    monkeypatch.setattr(shipping, "_PIECE", 1_000)
    for number in range(shipping.LINES):
        moving.trail.keep(AT + number, record(number, padding="x" * 1000))
    moving.trail.write()
    await moving.shipping._ship_own()
    moved = await moving.app.store.write(lambda conn: conn.execute(blocks.select()).all())
    assert len(moved) > 8
    assert shipping.LINES - 20 < sum(row.lines for row in moved) <= shipping.LINES
    found = await _found(moving)
    assert (found.faults, found.lines) == ([], shipping.LINES)


async def test_what_the_database_has_of_a_file_no_power_failure_takes_from_it(moving, monkeypatch):
    fsync, synced, had = os.fsync, [], []
    write = moving.app.store.write

    async def written(do: Any, *args: Any, **more: Any) -> Any:
        had.append(moving.trail.path.stat().st_ino in synced)
        return await write(do, *args, **more)

    moving.trail.append(AT, record(1))
    await moving.shipping._ship_own()
    moving.clock.now = lambda: AT + 100_000
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino) or fsync(file))
    monkeypatch.setattr(moving.app.store, "write", written)
    await moving.shipping._ship_own()
    assert had == [True]
    for number in (2, 3):  # what follows begins where the first ended
        moving.trail.append(AT + number, record(number))
        await moving.shipping._ship_own()
        moving.clock.now = lambda number=number: AT + (number + 1) * 100_000
        await moving.shipping._ship_own()
    found = await _found(moving)
    assert (found.faults, found.lines, found.newest.lines) == ([], 3, 3)


async def test_blocks_whose_commit_was_not_heard_of_are_moved_once(moving, monkeypatch):
    """The connection breaks behind a COMMIT; the same lines and more are moved by the next try."""
    moving.trail.append(AT, record(1))
    await moving.shipping._ship_own()
    moving.clock.now = lambda: AT + 100_000
    write = moving.app.store.write

    async def breaks(do: Any, *args: Any, **more: Any) -> Any:
        await write(do, *args, **more)
        raise ConnectionError

    with monkeypatch.context() as broken, pytest.raises(ConnectionError):
        broken.setattr(moving.app.store, "write", breaks)
        await moving.shipping._ship_own()
    for number in range(2, 5):
        moving.trail.append(AT + number, record(number))
    await moving.shipping._ship_own()
    moving.clock.now = lambda: AT + 200_000
    await moving.shipping._ship_own()
    found = await _found(moving)
    assert (found.faults, found.lines, found.newest.lines) == ([], 4, 4)


@pytest.mark.parametrize(("ended", "state"), [(True, records.CLOSED), (False, records.BROKEN)])
async def test_what_an_ended_process_left_is_moved_and_its_chain_says_how_it_ended(moving, tmp_path, ended, state):
    other = Trail(tmp_path / "other")
    for number in range(3):
        other.append(AT + number, record(number))
    chain, left = other.chain, other.path
    assert left is not None
    if ended:
        other.end(AT + 9)
    path = moving.trail.folder / left.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(left.read_bytes())
    await moving.shipping._adopt(path)
    kept = await moving.app.store.read(records.find, chain)
    assert (kept.chain.state, kept.chain.lines, path.exists()) == (state, 3 + ended, False)
    assert (await _found(moving)).faults == []


async def test_a_turn_ships_adopts_and_once_an_hour_forgets():
    done, removed, clock = [], [], SimpleNamespace(now=lambda: at)
    counts = iter([shipping._REMOVED, shipping._REMOVED - 1, 0])

    async def write(_function: Any, _sealer: Any, before: int, limit: int) -> int:
        removed.append((before, limit))
        return next(counts)

    async def ship_own() -> None:
        done.append("own")

    async def adopt(path: str) -> None:
        done.append(path)

    app = SimpleNamespace(
        clock=clock, store=SimpleNamespace(write=write), sealer=None, settings=SimpleNamespace(of=lambda _kind: SimpleNamespace(keep_days=90))
    )  # fmt: skip
    turning: Any = SimpleNamespace(
        app=app, _ship_own=ship_own, _left_behind=lambda: ["a", "b"], _adopt=adopt, _next_removal=0
    )
    hour, day = 3_600_000, 86_400_000
    for at, rounds in ((1_000 * day, 2), (1_000 * day + hour - 1, 2), (1_000 * day + hour, 3)):  # noqa: B007
        done.clear()
        await Shipping.turn(turning)
        assert done == ["own", "a", "b"]
        assert len(removed) == rounds
    assert removed == [(910 * day, 100), (910 * day, 100), (910 * day + hour, 100)]
