"""The bounds of reading log streams: pages, searches, what is believed without an index, what is merged, and the process that reads."""

from __future__ import annotations

import fcntl
import io
import os
import resource
import socket
import struct
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from penstock.logfiles import __main__ as reader
from penstock.logfiles import reading, restoring, search, streams
from penstock.logfiles.patterns import compile_pattern
from penstock.logfiles.patterns.terms import Terms
from penstock.logfiles.reading import Read
from penstock.logfiles.sealed import EVENT, OVERHEAD, DataKey, Locked, described
from penstock.logfiles.streams import START, Batch, Event, StreamFiles

KEY = DataKey("ab" * 16, b"k" * 32)


def event(number: int, size: int = 1) -> Event:
    return Event(number, number, "x" * size, number)


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "limit", "chosen"),
    [
        ([1] * 5, 3, 3),
        ([1] * 3, 5, 3),
        ([999_974, 1], 9, 1),
        ([500_000 - 26, 500_000 - 26], 9, 2),  # a million with what an event counts beside its message
        ([500_000 - 26, 500_000 - 25], 9, 1),
        ([2_000_000, 1], 9, 1),  # one event is given in any case
        ([], 9, 0),
    ],
)
def test_a_page_has_a_million_characters(sizes, limit, chosen):
    events = [event(number, size) for number, size in enumerate(sizes)]
    reads = [Read(one.position, one, 1) for one in events]
    assert search._page(iter(reads), limit) == events[:chosen]


def reads(*found: tuple[int, int]) -> Any:
    """Of sizes of messages (0: no match) and costs."""
    for number, (size, cost) in enumerate(found):
        yield (number, "s", number), Read((number, number), event(number, size) if size else None, cost)


MB = 1 << 20


@pytest.mark.parametrize(
    ("found", "limit", "chosen", "more"),
    [
        ([(1, 1), (1, 1), (1, 1)], 3, [0, 1, 2], None),
        ([(1, 1), (1, 1), (1, 1)], 2, [0, 1], 1),
        ([(1, 1), (1, 1), (0, 1)], 2, [0, 1], None),  # what does not match is passed over
        ([(1_000_000, 1), (1, 1), (1, 1)], 9, [0, 1], 1),
        ([(1_000_001, 1), (1, 1)], 9, [0], 0),
        ([(0, 32 * MB), (1, 1)], 9, [1], None),
        ([(0, 32 * MB + 1), (1, 1)], 9, [], 0),
        ([(0, 32 * MB + 1)], 9, [], None),
    ],
)
def test_a_search_ends_at_each_of_its_bounds(found, limit, chosen, more):
    events, key = search.found(reads(*found), limit)
    assert [one.timestamp for _, one in events] == chosen
    assert key == (None if more is None else (more, "s", more))


def test_what_a_page_of_a_stream_is(tmp_path: Path):
    files = StreamFiles(tmp_path / "a.log")
    files.append([(1, "one"), (2, "two"), (3, "three")], 9)
    files.close()
    asked: dict[str, Any] = {"path": str(files.path), "keys": {}, "start": 0, "end": None}
    ahead = search.page(**asked, direction="f", position=None, limit=2)
    assert [one["message"] for one in ahead["events"]] == ["one", "two"]
    assert ahead["events"][0] == {"timestamp": 1, "message": "one", "ingestionTime": 9}
    assert [
        one["message"] for one in search.page(**asked, direction="f", position=ahead["last"], limit=2)["events"]
    ] == ["three"]
    back = search.page(**asked, direction="b", position=None, limit=2)
    assert [one["message"] for one in back["events"]] == ["two", "three"]
    assert [
        one["message"] for one in search.page(**asked, direction="b", position=back["first"], limit=2)["events"]
    ] == ["one"]
    gone = search.page(**asked | {"path": str(tmp_path / "none.log")}, direction="f", position=None, limit=2)
    assert gone == {"events": [], "first": None, "last": None}


def test_an_event_is_known_by_its_time_stream_and_place(tmp_path: Path):
    found = []
    for name in ("a", "b"):
        files = StreamFiles(tmp_path / f"{name}.log")
        files.append([(5, "x"), (5, "y")], 9)
        files.close()
        streams_ = {name: str(files.path)}
        asked: Any = {"streams": streams_, "keys": {}, "behind": None, "start": 0, "end": None, "limit": 9}
        answer = search.search(**asked, pattern="", newest_first=False)
        found += [one["eventId"] for one in answer["events"]]
    assert len(set(found)) == 4
    assert {len(one) for one in found} == {56}
    assert found[0].startswith("0000000000000005")
    assert found[0].endswith("0" * 20)


@pytest.mark.parametrize(
    ("completed", "answer"), [(False, {"events": [], "incomplete": ["/a", "/b"]}), (True, {"events": [1]})]
)
def test_what_lacks_an_index_is_named_until_it_was_completed(monkeypatch, completed, answer):
    def page(*, lacking: Any, keys: Any, limit: int) -> Any:
        assert (keys, limit) == ({"k": b"\x01"}, 3)
        for path in ("/b", "/a", "/a"):
            lacking(Path(path))
        return {"events": [1]}

    monkeypatch.setattr(search, "page", page)
    asked = {"kind": "page", "keys": {"k": "01"}, "limit": 3, "was_completed": completed}
    assert search.answer(asked) == answer


def test_what_is_sealed_under_another_key_is_said(monkeypatch):
    def page(**_: Any) -> Any:
        raise Locked

    monkeypatch.setattr(search, "page", page)
    assert search.answer({"kind": "page"}) == {"events": [], "locked": True}


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "data", "after"),
    [
        ("a b", b"xbxa", 3), ("a b", b"xa", -1), ("?a ?b", b"xb", 1), ("?a ?b", b"x", -1), ("a ?b", b"a", 0), ("-a", b"a", 0), ("", b"", 0),
        ("%ab+$%", b"xabbx", 1), ("%^a%", b"xa", 1), ("%a%", b"x", -1), ('{ $.a = "bc" || $.b = "de" }', b"xxde", 2), ('{ $.a = "bc" }', b"x\\u0062", 1),
        ("{ $.a = 1 }", b"x{", 1), ("{ $.a = 1 }", b"x", -1), ("[a = bc*]", b"xbc", 1), ("[a = bc*]", b"x", -1), ("[a = 1]", b"x", 0),
    ],
)  # fmt: skip
def test_bytes_that_hold_no_match_are_passed_over(pattern, data, after):
    assert compile_pattern(pattern).after(data, 0) == after


def test_what_lies_before_a_place_is_not_looked_at():
    assert [Terms(wanted=["b"]).after(b"abc", at) for at in (0, 1, 2)] == [1, 1, -1]


def test_a_search_that_takes_long_ends_with_a_page(monkeypatch):
    spent = iter([0.0, 4.0, 5.0, 5.1, 9.0])
    monkeypatch.setattr(search.time, "process_time", lambda: next(spent))
    events, key = search.found(reads((1, 1), (1, 1), (1, 1), (1, 1)), 9)
    assert ([one.timestamp for _, one in events], key) == ([0, 1, 2], (2, "s", 2))


def test_messages_are_tried_against_a_pattern():
    found = search.answer({"kind": "test", "pattern": "[a, b = 1]", "messages": ["x 1", "x 2", "\ud800 1"]})
    assert found == {
        "events": [
            {"eventNumber": 1, "eventMessage": "x 1", "extractedValues": {"$a": "x", "$b": "1"}},
            {"eventNumber": 3, "eventMessage": "\ud800 1", "extractedValues": {"$a": "?", "$b": "1"}},
        ]
    }


# --- without an index -------------------------------------------------------------------------------------------------


def raw(stamp: int, ingestion: int, text: bytes) -> bytes:
    return EVENT.pack(stamp, ingestion, len(text)) + text


def found(content: bytes, *, offset: int = 0, since: int = 5, now: int = 9) -> list[Any]:
    return list(restoring.batches(io.BytesIO(content), offset, len(content), since=since, now=now))


@pytest.mark.parametrize(
    ("content", "events"),
    [
        (raw(1, 5, b"a"), 1),
        (raw(1, 4, b"a"), 0),  # earlier than what came before
        (raw(1, 9, b"a"), 1),
        (raw(1, 10, b"a"), 0),  # not yet
        (raw(0, 5, b"a"), 1),
        (raw(-2, 5, b"a"), 0),
        (raw(1, 5, b""), 0),
        (raw(1, 5, b"a\0b"), 0),
        (raw(1, 5, b"ab")[:-1], 0),
        (raw(1, 5, b"a")[:19], 0),
        (EVENT.pack(1, 5, 3) + b"ab", 0),
    ],
)
def test_only_what_reads_as_an_event_is_believed(content, events):
    assert sum(one.events for one in found(content)) == events
    before = raw(0, 5, b"before")
    assert sum(one.events for one in found(before + content)) == 1 + events
    assert sum(one.events for one in found(before + content, offset=len(before))) == events


def test_nothing_came_at_the_beginning_of_time():
    assert found(raw(1, 0, b"a"), since=0) == []
    assert len(found(raw(1, 1, b"a"), since=0)) == 1


def test_events_that_came_together_are_one_entry():
    one, two, later, back = raw(1, 5, b"a"), raw(1, 5, b"b"), raw(2, 6, b"c"), raw(1, 6, b"d")
    assert found(one + two + later + back) == [
        restoring.Found(1, 1, 5, 0, 42, 2, zlib.crc32(one + two)),
        restoring.Found(2, 2, 6, 42, 63, 1, zlib.crc32(later)),
        restoring.Found(1, 1, 6, 63, 84, 1, zlib.crc32(back)),
    ]


def test_an_entry_that_is_put_together_has_a_megabyte(monkeypatch):
    monkeypatch.setattr(restoring, "_MOST", 42)
    content = raw(1, 5, b"a") * 5
    assert [(one.offset, one.end) for one in found(content)] == [(0, 42), (42, 84), (84, 105)]


@pytest.mark.parametrize(("more", "taken"), [(0, 1), (1, 0)])
def test_an_event_has_a_megabyte_and_what_sealing_adds(more, taken):
    content = raw(1, 5, b"x" * ((1 << 20) + OVERHEAD + more))
    assert len(found(content)) == taken


def test_a_sealed_batch_stands_alone_and_has_to_be_whole():
    sealed = KEY.seal(raw(3, 6, b"a") + raw(4, 6, b"b"), "s", 21, [3, 4], 6)
    plain = raw(4, 6, b"c")
    made = found(raw(1, 6, b"x") + sealed + plain + plain)
    assert [(one.lowest, one.highest, one.events) for one in made] == [(1, 1, 1), (3, 4, 2), (4, 4, 2)]
    assert made[1].checksum == zlib.crc32(sealed)
    for at in (EVENT.size, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[at + (30 if at == EVENT.size else 0)] ^= 1
        assert found(bytes(damaged)) == []
    body = sealed[EVENT.size :]
    assert described(body) is not None
    assert described(body[: OVERHEAD - EVENT.size - 1]) is None
    for about in ((-1, 4, 2), (4, 3, 2), (3, 4, 0)):
        changed = struct.pack("<qqII", *about, zlib.crc32(body[24:])) + body[24:]
        assert found(sealed[: EVENT.size] + changed) == []


# --- runs and reads ---------------------------------------------------------------------------------------------------


def batch(lowest: int, highest: int, offset: int = 0, end: int = 1) -> Batch:
    return Batch(lowest, highest, 1, offset, end, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("times", "lengths"),
    [
        ([(1, 2), (2, 3), (3, 3)], [3]),
        ([(1, 3), (2, 4)], [1, 1]),
        ([(1, 3), (3, 4), (3, 5), (4, 6)], [2, 1, 1]),
        ([], []),
    ],
)
def test_batches_that_follow_each_other_are_one_run(times, lengths):
    assert [len(run) for run in reading._runs([batch(*time) for time in times])] == lengths


@pytest.mark.parametrize(
    ("places", "at_once", "lengths"),
    [
        ([(0, 10), (10, 20), (20, 30)], 30, [3]),
        ([(0, 10), (10, 20), (20, 30)], 29, [2, 1]),
        ([(0, 10), (11, 20)], 100, [1, 1]),
        ([(0, 50), (50, 60)], 10, [1, 1]),
        ([], 10, []),
    ],
)
def test_what_lies_beside_each_other_is_read_at_once(places, at_once, lengths):
    groups = reading.adjacent([batch(1, 1, *place) for place in places], at_once)
    assert [len(group) for group in groups] == lengths


@pytest.mark.parametrize(
    ("streams_", "at_once"), [(1, 1 << 18), (128, 1 << 18), (129, (1 << 25) // 129), (1 << 14, 1 << 12)]
)
def test_a_search_of_many_streams_reads_less_of_each(monkeypatch, streams_, at_once):
    asked: list[int] = []
    files = SimpleNamespace(begins=lambda *_: 1)

    def forward(*_: Any, at_once: int) -> Any:
        asked.append(at_once)
        return iter(())

    monkeypatch.setattr(reading, "forward", forward)
    assert list(reading.merged({f"s{number}": files for number in range(streams_)}, None, 0, None)) == []  # type: ignore[misc]
    assert set(asked) == {at_once}


@pytest.mark.parametrize(("name", "behind"), [("a", (5, 2**62)), ("b", (5, 7)), ("c", (5, -1))])
def test_of_one_time_streams_come_in_the_order_of_their_names(monkeypatch, name, behind):
    asked: list[Any] = []
    files: Any = SimpleNamespace(begins=lambda after, *_: asked.append(after))
    assert list(reading.merged({name: files}, (5, "b", 7), 0, None)) == []
    assert asked == [behind]
    asked.clear()
    assert list(reading.merged({name: files}, None, 0, None)) == []
    assert asked == [START]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_whoever_puts_an_index_together_lets_other_threads_run_meanwhile(monkeypatch):
    """The event loop waited five milliseconds, until the thread was interrupted, at each of its turns."""
    written = b"".join(EVENT.pack(number, 1, 1) + b"x" for number in range(1, 641))
    paused = []
    monkeypatch.setattr(restoring.time, "sleep", paused.append)
    (found,) = restoring.batches(io.BytesIO(written), 0, len(written), since=1, now=1)
    assert (found.events, paused) == (640, [0] * 10)


def test_an_index_is_known_by_more_than_its_newest_entries(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(streams, "_UNSYNCED", 2)
    files = StreamFiles(tmp_path / "a.log")
    for number in range(9):
        files.append([(number, "x")], number + 1)
    files.close()
    assert len(StreamFiles(files.path).batches()) == 9


def test_the_newest_batches_are_known_by_their_tokens(tmp_path: Path, monkeypatch):
    assert streams._REMEMBERED == 256
    monkeypatch.setattr(streams, "_REMEMBERED", 2)
    files = StreamFiles(tmp_path / "a.log")
    for token in ("a", "b", "c", "b", "c", "a"):
        files.append([(1, "x")], 1, token=token)
    files.close()
    assert len(StreamFiles(files.path).batches()) == 4  # the first was forgotten


@pytest.mark.parametrize(("sealed", "kept"), [(False, 1), (True, 1)])
def test_a_token_is_one_of_what_was_sent_with_it(tmp_path: Path, sealed, kept):
    seal = KEY if sealed else None
    files = StreamFiles(tmp_path / "a.log", {KEY.id: KEY.key})
    for events in ([(1, "ab")], [(1, "ab")], [(2, "ab")], [(1, "a"), (1, "b")], [(1, "abc")]):
        files.append(events, 1, token="t", seal=seal)
    files.close()
    assert len(files.batches()) == 3 + kept


class Disk:
    """Notes what is synced, and how long the files are by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: StreamFiles) -> None:
        self.files = files
        self.synced: list[tuple[str, int]] = []
        monkeypatch.setattr(os, "fdatasync", self.sync)
        monkeypatch.setattr(streams.durable, "sync_folder", lambda path: self.synced.append((path.name + "/", 0)))

    def sync(self, descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        self.synced.append((name, self.files.index_path.stat().st_size // streams._BATCH.size))


def test_what_is_synced_is_on_the_disk_and_said_in_the_next_entry(tmp_path: Path, monkeypatch):
    (tmp_path / "folder").mkdir()
    files = StreamFiles(tmp_path / "folder" / "a.log")
    disk = Disk(monkeypatch, files)
    for number in range(3):
        files.append([(number, "x" * 10)], 1)
        files.sync()
    files.close()
    assert disk.synced == [
        ("a.log", 1), ("a.index", 1), ("folder/", 0), ("a.log", 2), ("a.index", 2), ("a.log", 3), ("a.index", 3),
    ]  # fmt: skip
    found = files.batches()
    assert [batch.synced for batch in found] == [0, found[0].end, found[1].end]


@pytest.mark.parametrize("reads", [False, True])
def test_an_index_is_only_added_to_when_the_events_are_on_the_disk(tmp_path: Path, monkeypatch, reads):
    files = StreamFiles(tmp_path / "a.log")
    for number in range(3):
        files.append([(number, "x" * 10)], number + 1)
    files.close()
    os.truncate(files.index_path, streams._BATCH.size)
    again = StreamFiles(files.path)
    disk = Disk(monkeypatch, again)
    if reads:
        found = again.batches()
    else:
        again.append([(9, "new")], 9)
        found = again.batches()
        again.close()
    assert disk.synced == [("a.log", 1), ("a.index", 3)]
    assert sum(batch.events for batch in found) == (3 if reads else 4)


def test_what_lies_behind_a_damaged_batch_is_not_taken_for_whole(tmp_path: Path):
    files = StreamFiles(tmp_path / "a.log")
    for number in range(4):
        files.append([(number, "x" * 10)], number + 1)
    files.close()
    places = [batch.offset for batch in files.batches()]
    with files.path.open("r+b") as file:
        file.seek(places[2] + 25)
        file.write(b"y")
    again = StreamFiles(files.path)
    assert again._sound() == (2, places[2], 0)


def test_writers_take_turns(tmp_path: Path):
    files, done = StreamFiles(tmp_path / "a.log"), threading.Event()
    files.append([(1, "one")], 1)

    def append() -> None:
        files.append([(2, "two")], 2)
        done.set()

    with files.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=append)
        thread.start()
        assert not done.wait(0.1)
        assert len(StreamFiles(files.path).batches()) == 1
    thread.join(60)
    assert len(StreamFiles(files.path).batches()) == 2
    files.close()


def test_a_search_goes_on_where_its_last_page_ended(tmp_path: Path):
    places = {}
    for name, stamps in (("a", (1, 4, 4)), ("b", (2, 4)), ("c", (3,))):
        files = StreamFiles(tmp_path / f"{name}.log")
        for stamp in stamps:
            files.append([(stamp, f"{name}{stamp}")], 5)
        files.close()
        places[name] = str(files.path)
    told: list[str] = []
    behind: list[Any] | None = None
    for _ in range(10):
        page = search.search(
            streams=places, keys={}, pattern="", behind=behind, start=0, end=None, limit=1, newest_first=False
        )
        told += [event["message"] for event in page["events"]]
        behind = page["more"] and list(page["more"])
        if behind is None:
            break
    assert told == ["a1", "b2", "c3", "a4", "a4", "b4"]


# --- the process that reads -------------------------------------------------------------------------------------------


def served(monkeypatch: pytest.MonkeyPatch, request: Any, answer: Any) -> tuple[Any, bytes, list[Any]]:
    """What a reading process sends for a request, and its limits."""
    limits: list[Any] = []
    monkeypatch.setattr(reader, "answer", answer)
    monkeypatch.setattr(reader.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, bound: limits.append((kind, bound)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        content = orjson.dumps(request)
        ours.sendall(struct.pack("!I", len(content)) + content)
        reader._serve(theirs)
        theirs.shutdown(socket.SHUT_WR)
        sent = b""
        while piece := ours.recv(65536):
            sent += piece
    (length,) = struct.unpack("!I", sent[:4])
    behind = sent[4 + length :]
    assert struct.unpack("!I", behind[:4]) == (len(behind) - 4,)
    return orjson.loads(sent[4 : 4 + length]), behind[4:], limits


def test_an_answer_and_its_events_are_two_frames(monkeypatch):
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(request)
        return {"events": [1, 2], "more": None}

    found, events, limits = served(monkeypatch, {"kind": "page"}, answer)
    assert (asked, found, events) == ([{"kind": "page"}], {"more": None}, b"[1,2]")
    assert limits == [(resource.RLIMIT_AS, (536_870_912,) * 2), (resource.RLIMIT_CPU, (20, 20))]


@pytest.mark.parametrize(("error", "member"), [(MemoryError(), "too_large"), (ValueError("odd"), "failed")])
def test_what_went_wrong_is_an_answer(monkeypatch, error, member):
    def answer(_request: Any) -> Any:
        raise error

    found, events, _ = served(monkeypatch, {}, answer)
    assert list(found) == [member]
    assert events == b""
    assert found[member] is True or "ValueError: odd" in found[member]


class Ended(BaseException):
    """In place of the end of the process."""


def test_a_reading_process_ends_with_its_caller(monkeypatch):
    def ends(code: int) -> None:
        assert code == 0
        raise Ended

    monkeypatch.setattr(os, "_exit", ends)
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b"half")
        ours.close()
        with pytest.raises(Ended):
            reader._received(theirs, 5)
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        with pytest.raises(Ended):
            reader._end_with(theirs)


def test_frames_come_in_pieces():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"abcdef")
        assert (reader._received(theirs, 4), reader._received(theirs, 2)) == (b"abcd", b"ef")
