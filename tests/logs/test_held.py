"""Which streams stay open, what readers answer, and which groups and streams a listing finds."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from penstock_logs import log_store, no_segments

from penstock import logs
from penstock.logfiles.__main__ import PLAIN, SEALED
from penstock.logfiles.restoring import Incomplete
from penstock.logfiles.sealed import Locked
from penstock.logs import logstore, readers, records
from penstock.logs.errors import InvalidParameterException, ResourceNotFoundException
from penstock.logs.logstore import LogStore
from penstock.logs.operations import groups
from penstock.logs.readers import Readers
from penstock.store.database import Store
from penstock.wire.errors import Throttled, Unavailable

ACCOUNT, REGION = "1" * 12, "us-east-1"

# --- streams that are open ----------------------------------------------------------------------------------------------


class _Files:
    """A stream's files, which say when they are closed."""

    closed: list[str]

    def __init__(self, path: Path) -> None:
        self.name = path.stem

    def close(self) -> None:
        self.closed.append(self.name)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogStore:
    """A store that has room for three streams."""
    monkeypatch.setattr(_Files, "closed", [], raising=False)
    monkeypatch.setattr(logstore, "StreamFiles", _Files)
    monkeypatch.setattr(logstore, "_room", lambda: 3)
    return log_store(tmp_path, SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("used", "closed", "left"),
    [
        ("abc", "", "abc"),
        ("abcd", "a", "bcd"),
        ("abcad", "b", "cad"),  # what was used again is not the oldest any more
        ("abcabcad", "b", "cad"),
        ("abcdef", "abc", "def"),
        ("aaaa", "", "a"),
    ],
)
def test_the_stream_that_was_used_longest_ago_is_closed_first(held: LogStore, used: str, closed: str, left: str):
    for name in used:
        held._hold(name)
    assert "".join(_Files.closed) == closed
    assert "".join(held._held) == left


def test_what_is_not_synced_or_in_use_stays_open(held: LogStore):
    for name in "abc":
        held._hold(name).dirty = name == "a"
    locked = held._hold("b").lock
    asyncio.run(locked.acquire())
    held._hold("d")
    assert (_Files.closed, [*held._held]) == (["c"], ["a", "b", "d"])
    held._held["d"].dirty = True
    for name in "efg":  # nothing but the newest could be closed, which never is
        held._hold(name).dirty = name != "g"
    assert (_Files.closed, [*held._held]) == (["c"], [*"abdefg"])
    # As soon as they can be, as many are closed as are too many.
    for one in held._held.values():
        one.dirty = False
    held._hold("h")
    assert (_Files.closed, [*held._held]) == ([*"cadef"], [*"bgh"])


def test_files_lie_in_folders_by_their_first_letters(held: LogStore, tmp_path: Path):
    assert held._path("abcd") == tmp_path / "ab" / "abcd.log"


async def test_a_sync_comes_a_second_after_the_first_writing(held: LogStore, monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        held._awake.set()  # as by somebody who writes meanwhile: that is synced with the others

    monkeypatch.setattr(logstore.asyncio, "sleep", sleep)
    waiting = held._until_written()
    with pytest.raises(StopIteration):
        held._awake.set()
        waiting.send(None)
    assert slept == [1.0]
    assert not held._awake.is_set()


# --- readers ------------------------------------------------------------------------------------------------------------


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> tuple[Readers, list[Any]]:
    asked: list[Any] = []
    made = Readers(no_segments)

    async def answers(request: bytes, kind: bytes) -> tuple[bytes, bytes]:
        asked.append((json.loads(request), kind))
        if isinstance(answer, Exception):
            raise answer
        return orjson.dumps(answer), b"[1]"

    monkeypatch.setattr(made, "_answer", answers)
    return made, asked


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"too_large": True}, InvalidParameterException, "Name fewer of them, or a shorter time"),
        ({"incomplete": ["/a"]}, Incomplete, None),
        ({"locked": True}, Locked, None),
        ({"failed": "OSError: so"}, RuntimeError, "OSError: so"),
        (Unavailable("gone"), Unavailable, "gone"),
    ],
)
async def test_what_a_reader_could_not_do_is_an_error_and_frees_its_place(
    monkeypatch: pytest.MonkeyPatch, answer: Any, error: Any, said: str | None
):
    made, _ = answering(monkeypatch, answer)
    monkeypatch.setattr(readers, "_AT_ONCE", 1)
    for _ in range(readers._AT_ONCE + readers._WAITING + 1):
        with pytest.raises(error, match=said):
            await made.ask({})
    assert made._places._held == 0


@pytest.mark.parametrize(("keys", "kind"), [({"k": "00"}, SEALED), ({}, PLAIN), (None, PLAIN)])
async def test_a_reader_opens_seals_only_where_there_are_keys(monkeypatch: pytest.MonkeyPatch, keys: Any, kind: bytes):
    request = {"a": 1} | ({} if keys is None else {"keys": keys})
    made, asked = answering(monkeypatch, {"last": 5})
    found = await made.ask(request)
    assert asked == [(request, kind)]
    assert orjson.loads(orjson.dumps(found)) == {"last": 5, "events": [1]}


async def test_so_many_may_wait_for_a_reader(monkeypatch: pytest.MonkeyPatch):
    made, _ = answering(monkeypatch, {})
    assert readers._WAITING == 16
    for _ in range(readers._AT_ONCE + 16):
        made._places.take()
    with pytest.raises(Throttled):
        await made.ask({})


async def test_an_answer_that_comes_in_pieces_is_put_together_and_one_that_ends_is_none():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reading = asyncio.ensure_future(readers._frame(ours))
        for piece in (b"\0\0", b"\0\5", b"ab", b"cde", b"\0\0\0\0"):
            theirs.sendall(piece)
            await asyncio.sleep(0)
        assert await reading == b"abcde"
        assert await readers._frame(ours) == b""
        theirs.sendall(b"\0\0\0\2x")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            await readers._frame(ours)


# --- groups and streams -------------------------------------------------------------------------------------------------

HERE = (ACCOUNT, REGION)
OTHERS = (("2" * 12, REGION), (ACCOUNT, "eu-west-1"))


def fill(conn: sa.Connection) -> None:
    """The same names in three places; here they have two streams each, of 10 and 1 bytes."""
    for account, region in (HERE, *OTHERS):
        where = {"account": account, "region": region}
        for number, name in enumerate(("app", "app%", "web", "x-app")):
            kind = "INFREQUENT_ACCESS" if name == "web" else "STANDARD"
            group = {"name": name, "created": number, "group_class": kind, "protected": False, "tags": {}}
            records.insert_group(conn, where | group | {"data_key": f"key of {name}"})
            key = {"group": name, "id": f"key of {name}", "ciphertext": name.encode(), "created": 1}
            records.insert_data_key(conn, where | key)
            for size, stream in ((10, "s1"), (1, "s2")):
                row = {"group": name, "name": stream, "file": f"{account[0]}{region[:2]}{name}{stream}", "created": 1}
                records.insert_stream(conn, where | row | {"size": size, "last_event": size})


def names(rows: Any) -> list[str]:
    return [row.name for row in rows]


async def test_which_groups_a_listing_finds(any_store: Store):
    await any_store.write(fill)
    for given, found in (
        ({}, ["app", "app%", "web", "x-app"]),
        ({"prefix": "app"}, ["app", "app%"]),
        ({"prefix": "app%"}, ["app%"]),
        ({"part": "app"}, ["app", "app%", "x-app"]),
        ({"part": "%"}, ["app%"]),
        ({"names": ["web", "app", "none"]}, ["app", "web"]),
        ({"group_class": "STANDARD"}, ["app", "app%", "x-app"]),
        ({"after": ["app%"]}, ["web", "x-app"]),
        ({"limit": 2}, ["app", "app%"]),
        ({"prefix": "app", "group_class": "INFREQUENT_ACCESS"}, []),
    ):
        asked: Any = {"prefix": "", "part": "", "names": [], "group_class": "", "after": None, "limit": 9} | given
        rows = await any_store.read(lambda conn, asked=asked: records.list_groups(conn, *HERE, **asked))
        assert (names(rows), {int(row.size) for row in rows}) == (found, {11} if found else set()), given


async def test_which_streams_a_listing_finds(any_store: Store):
    await any_store.write(fill)
    for given, found in (
        ({}, ["s1", "s2"]),
        ({"descending": True}, ["s2", "s1"]),
        ({"by_time": True}, ["s2", "s1"]),
        ({"by_time": True, "descending": True}, ["s1", "s2"]),
        ({"by_time": True, "after": [1, "s2"]}, ["s1"]),
        ({"prefix": "s2"}, ["s2"]),
        ({"after": ["s1"]}, ["s2"]),
        ({"limit": 1}, ["s1"]),
    ):
        asked: Any = {"after": None, "limit": 9} | given
        rows = await any_store.read(lambda conn, asked=asked: records.list_streams(conn, *HERE, "web", **asked))
        assert names(rows) == found, given
    for given, found in (
        ({}, ["s1", "s2"]),
        ({"after": "s1"}, ["s2"]),
        ({"prefix": "s1"}, ["s1"]),
        ({"names": ["s2", "s3"]}, ["s2"]),
        ({"limit": 1}, ["s1"]),
    ):
        asked = {"limit": 9} | given
        files = await any_store.read(lambda conn, asked=asked: records.list_files(conn, *HERE, "web", **asked))
        assert list(files.items()) == [(name, f"1usweb{name}") for name in found], given


async def test_what_is_forgotten_is_of_one_group_in_one_place(any_store: Store):
    await any_store.write(fill)

    def left(conn: sa.Connection) -> list[list[tuple[Any, ...]]]:
        tables = (records.groups, records.streams, records.data_keys)
        return [[tuple(row)[:4] for row in conn.execute(table.select())] for table in tables]

    before = await any_store.read(left)
    await any_store.write(records.delete_stream, *HERE, "app", "s1")
    after = await any_store.read(left)
    assert [len(was) - len(now) for was, now in zip(before, after, strict=True)] == [0, 1, 0]
    assert (*HERE, "app", "s1") not in after[1]
    found = await any_store.read(records.find_stream, *HERE, "app", "s2")
    assert found is not None
    assert (found.file, found.data_key) == ("1usapps2", "key of app")
    assert await any_store.read(records.find_stream, *HERE, "app", "s1") is None
    assert sorted(await any_store.write(records.delete_group, *HERE, "web")) == ["1uswebs1", "1uswebs2"]
    gone = await any_store.read(left)
    assert [len(was) - len(now) for was, now in zip(after, gone, strict=True)] == [1, 2, 1]
    assert not [row for table in gone for row in table if row[:3] == (*HERE, "web")]
    assert await any_store.read(records.data_keys_of, *HERE, "app") == {"key of app": b"app"}
    await any_store.write(lambda conn: records.update_group(conn, *HERE, "app", retention=5))

    def kept(conn: sa.Connection) -> list[tuple[Any, ...]]:
        row = records.groups.c
        query = sa.select(row.account, row.region, row.name).where(row.retention == 5)
        return [tuple(found) for found in conn.execute(query)]

    assert await any_store.read(kept) == [(*HERE, "app")]


async def test_the_tags_that_policies_see_are_those_of_the_group_that_an_arn_names(store: Store):
    tagged = {"account": ACCOUNT, "region": REGION, "name": "app", "created": 1, "group_class": "STANDARD", "protected": False, "tags": {"a": "b"}}  # fmt: skip
    await store.write(records.insert_group, tagged)
    app: Any = SimpleNamespace(store=store)
    head = f"arn:aws:logs:{REGION}:{ACCOUNT}"
    for arn, tags in (
        (f"{head}:log-group:app", {"a": "b"}),
        (f"{head}:log-group:app:log-stream:s", {"a": "b"}),
        (f"{head}:log-group:other", {}),
        (f"{head}:destination:app", {}),
        (f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:app", {}),
        (f"arn:aws:s3:{REGION}:{ACCOUNT}:log-group:app", {}),
        ("*", {}),
    ):
        assert await logs._tags(app, arn) == tags, arn


async def test_a_group_takes_another_key_so_many_times_and_the_same_again_for_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    await store.write(fill)
    call: Any = SimpleNamespace(account=ACCOUNT, region=REGION, now=7)

    def made(number: int) -> dict[str, Any]:
        return {"id": f"id{number}", "ciphertext": b"c", "key": f"arn{number}"}

    monkeypatch.setattr(groups, "_KEYS", 3)
    for number in (1, 2, 2):
        await store.write(groups._associate, call, "app", made(number))
    row = await store.read(records.find_group, *HERE, "app")
    assert row is not None
    assert (row.key, row.data_key) == ("arn2", "id2")
    assert sorted(await store.read(records.data_keys_of, *HERE, "app")) == ["id1", "id2", "key of app"]
    with pytest.raises(InvalidParameterException, match="another key 3 times"):
        await store.write(groups._associate, call, "app", made(3))
    with pytest.raises(ResourceNotFoundException, match="The specified log group does not exist"):
        await store.write(groups._associate, call, "none", made(4))


def test_a_stream_without_events_has_none():
    none = {"first_event": None, "last_event": None, "last_ingestion": None, "size": 0}
    assert logstore.summary(SimpleNamespace(extent=lambda: None)) == none  # type: ignore[arg-type]
    known = SimpleNamespace(lowest=1, highest=2, ingestion=3, end=4)
    assert logstore.summary(SimpleNamespace(extent=lambda: known)) == {  # type: ignore[arg-type]
        "first_event": 1, "last_event": 2, "last_ingestion": 3, "size": 4,
    }  # fmt: skip


def test_a_sequence_token_has_the_form_of_aws():
    assert groups.sequence_token("00000000-0000-0000-0000-0000000000ff", 12) == "496" + f"{255:033d}" + f"{12:020d}"
