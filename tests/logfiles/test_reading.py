"""The files of a log stream against a naive model: order, pages, times, and what a crash leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_disk import Node
from penstock_examples import examples

from penstock.logfiles import reading, streams
from penstock.logfiles.patterns import EVERYTHING, compile_pattern
from penstock.logfiles.sealed import SEALED, DataKey, Locked, unsealed
from penstock.logfiles.search import OVERHEAD, found, page, search
from penstock.logfiles.streams import EVENT, START, Event, Extent, StreamFiles
from penstock.logs.logstore import summary

KEY = DataKey("ab" * 16, b"k" * 32)
KEYS = {KEY.id: KEY.key}
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_BATCH = st.lists(st.tuples(st.integers(0, 50), _TEXT), min_size=1, max_size=6).map(
    lambda events: sorted(events, key=lambda e: e[0])
)
_LONG = st.lists(
    st.tuples(st.integers(0, 50), st.tuples(_TEXT, st.integers(1, 200)).map(lambda text: text[0] * text[1])),
    min_size=1,
    max_size=3,
).map(lambda events: sorted(events, key=lambda e: e[0]))  # some of them longer than a sector


def forward(files: StreamFiles, *place) -> list[Event]:
    return [read.event for read in reading.forward(files, *place) if read.event is not None]


def backward(files: StreamFiles, *place) -> list[Event]:
    return [read.event for read in reading.backward(files, *place) if read.event is not None]


def latest(files, *place) -> list[tuple]:
    return [(key, read.event) for key, read in reading.latest(files, *place) if read.event is not None]


def merged(files, *place) -> list[tuple]:
    return [(key, read.event) for key, read in reading.merged(files, *place) if read.event is not None]


def written(folder: Path, batches) -> tuple[StreamFiles, list[tuple[int, str]]]:
    files = StreamFiles(folder / "a.log", KEYS)
    model = []
    for number, batch in enumerate(batches):
        files.append(batch, 1000 + number, seal=KEY if number % 2 else None)
        model += batch
    return files, sorted(model, key=lambda e: e[0])  # stable: arrival decides among equals


def test_a_sealed_batch_opens_by_its_key_and_in_its_place_only(tmp_path):
    files = [StreamFiles(tmp_path / f"{name}.log", KEYS) for name in ("one", "two")]
    for one in files:
        for number in range(2):
            one.append([(number, "secret")], 1, token="t", seal=KEY)
            one.append([(number, "secret")], 1, token="t", seal=KEY)  # again, as after a lost answer
        one.close()
        assert len(forward(one, START, 0, None)) == 2
        assert b"secret" not in one.path.read_bytes()
    for keys in ({}, {"cd" * 16: KEY.key}):
        with pytest.raises(Locked):
            forward(StreamFiles(files[0].path, keys), START, 0, None)
    first, second = (one.batches()[0] for one in files)
    content = files[0].path.read_bytes()
    half = len(content) // 2
    for moved in (content[half:] + content[:half], files[1].path.read_bytes()):
        files[0].path.write_bytes(moved)
        with pytest.raises(InvalidTag):
            list(reading._content(files[0], [first]))
    other = StreamFiles(tmp_path / "three.log")
    other.append([(0, "secret")], 1, token="t", seal=DataKey(KEY.id, b"o" * 32))
    other.close()
    assert first.key == second.key != other.batches()[0].key  # nobody computes it who does not have the data key


@given(st.lists(_BATCH, max_size=6), st.integers(0, 50), st.one_of(st.none(), st.integers(0, 51)), st.integers(1, 5))
@settings(max_examples=examples(150), deadline=None)
def test_reads_what_was_written_in_either_direction(tmp_path_factory, batches, start, end, page):
    folder = tmp_path_factory.mktemp("streams")
    files, model = written(folder, batches)
    expected = [event for event in model if event[0] >= start and (end is None or event[0] < end)]
    for reader in (files, StreamFiles(folder / "a.log", KEYS)):
        every = forward(reader, START, start, end)
        assert [(e.timestamp, e.message) for e in every] == expected
        assert backward(reader, None, start, end) == every[::-1]
        # page by page, forwards and backwards
        position, pages = START, []
        while chunk := forward(reader, position, start, end)[:page]:
            pages += chunk
            position = chunk[-1].position
        assert pages == every
        before, pages = None, []
        while chunk := backward(reader, before, start, end)[:page]:
            pages += chunk
            before = chunk[-1].position
        assert pages == every[::-1]
    files.close()
    shutil.rmtree(folder)


@given(
    st.lists(st.lists(_BATCH, max_size=4), min_size=1, max_size=4),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(0, 51)),
    st.integers(1, 5),
)
@settings(max_examples=examples(100), deadline=None)
def test_many_streams_are_read_as_one(tmp_path_factory, streams, start, end, page):
    folder = tmp_path_factory.mktemp("merged")
    files: dict[str, StreamFiles] = {}
    model = []
    for number, batches in enumerate(streams):
        name = f"s{number}"
        files[name], _ = written(folder / name, batches)
        model += [((e.timestamp, name, e.offset), e) for e in forward(files[name], START, start, end)]
    every = merged(files, None, start, end)
    assert every == sorted(model, key=lambda entry: entry[0])
    behind, pages = None, []
    while chunk := merged(files, behind, start, end)[:page]:
        pages += chunk
        behind = chunk[-1][0]
    assert pages == every
    assert latest(files, None, start, end) == every[::-1]
    before, pages = None, []
    while chunk := latest(files, before, start, end)[:page]:
        pages += chunk
        before = chunk[-1][0]
    assert pages == every[::-1]
    for reader in files.values():
        reader.close()
    shutil.rmtree(folder)


def test_a_search_opens_no_stream_before_its_time(tmp_path: Path):
    files = {}
    for number in range(3):
        files[f"s{number}"], _ = written(tmp_path / f"s{number}", [[(number, "x")]])
    reads = reading.merged(files, None, 0, None)
    _, read = next(reads)
    assert read.event is not None
    assert read.event.timestamp == 0
    files["s2"].remove()  # its index was read; that its events are gone is no error
    assert [read.event.timestamp for _, read in reads if read.event is not None] == [1]


@pytest.mark.parametrize(
    ("after", "start", "end", "chosen"),
    [
        (START, 0, None, [0, 1]),
        (START, 5, None, [0, 1]),
        (START, 6, None, [1]),
        (START, 0, 10, [0]),
        (START, 0, 11, [0, 1]),
        ((20, 1 << 40), 0, None, []),
    ],
)
def test_batches_are_chosen_by_the_index(tmp_path: Path, after, start, end, chosen):
    files, _ = written(tmp_path, [[(1, "a"), (5, "b")], [(10, "c"), (20, "d")]])
    assert [batch.ingestion - 1000 for batch in files.chosen(after, start, end)] == chosen


@given(
    batches=st.lists(st.tuples(_LONG, st.booleans()), min_size=1, max_size=5),
    before=st.integers(0, 5),
    tail=st.sampled_from((1, 2, 256)),
    rng=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_a_power_failure_takes_the_newest_batches_and_nothing_else(tmp_path_factory, batches, before, tail, rng):
    """What was not synced reaches the disk in any order: zeros stand before what survived."""
    folder = tmp_path_factory.mktemp("power")
    files = StreamFiles(folder / "a.log")
    nodes = {path: Node("file") for path in (files.path, files.index_path)}
    synced = 0
    for number, (batch, sync) in enumerate(batches):
        files.append(batch, 1000 + number)
        for path, node in nodes.items():
            size = len(node.now)
            node.write(size, path.read_bytes()[size:])
        if sync:
            files.sync()
            synced = number + 1
            for node in nodes.values():
                node.sync()
        if number == before:
            files.close()  # and is opened again
    files.close()
    every = StreamFiles(files.path, KEYS).batches()
    for path, node in nodes.items():
        path.write_bytes(node.failed(rng))
    there = [
        all(path.read_bytes()[begin:end] == node.now[begin:end] for path, node, begin, end in places)
        for places in (
            (
                (files.path, nodes[files.path], batch.offset, batch.end),
                (files.index_path, nodes[files.index_path], at * 64, at * 64 + 64),
            )
            for at, batch in enumerate(every)
        )
    ]
    kept = next((at for at, whole in enumerate(there) if not whole), len(every))
    assert kept >= synced
    expected = [event for batch, _ in batches[:kept] for event in batch]
    end = every[kept - 1].end if kept else 0
    if files.index_path.stat().st_size // 64 == kept:  # it does not know what follows, and the events do
        more, end = plausible(files.path.read_bytes(), bytes(nodes[files.path].now), end)
        expected += more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.logfiles.streams._UNSYNCED", tail)
        reader = StreamFiles(files.path, KEYS)
        extent = reader.extent()
        assert (0 if extent is None else extent.end) == end
        assert said(reader) == sorted(expected, key=lambda event: event[0])
        again = StreamFiles(files.path, KEYS)
        again.append([(99, "after")], 2000)
        assert again.batches()[:kept] == every[:kept]
        for reader in (again, StreamFiles(files.path, KEYS)):
            assert said(reader) == [*sorted(expected, key=lambda event: event[0]), (99, "after")]
    again.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("ends", [-1, 0, 1 << 40, 1 << 62])
def test_an_entry_of_the_index_that_is_damaged_ends_the_stream_and_asks_for_no_memory(tmp_path: Path, ends):
    files = StreamFiles(tmp_path / "a.log")
    for number in range(3):
        files.append([(number, "x")], number)
    files.close()
    entry, end = 64, 32  # bytes of an entry, and before its member `end`
    index = bytearray(files.index_path.read_bytes())
    index[entry + end : entry + end + 8] = ends.to_bytes(8, "little", signed=True)
    files.index_path.write_bytes(index)
    assert said(StreamFiles(files.path, KEYS)) == [(0, "x")]
    again = StreamFiles(files.path, KEYS)
    again.append([(9, "after")], 9)
    assert said(again) == [(0, "x"), (9, "after")]
    again.close()


def plausible(content: bytes, written: bytes, at: int) -> tuple[list[tuple[int, str]], int]:
    """The events from an offset on that are as they were written and read as such without an index, and where they end."""
    events = []
    while at < len(written):
        stamp, _, length = EVENT.unpack_from(written, at)
        text = written[at + EVENT.size : at + EVENT.size + length]
        end = at + EVENT.size + length
        if content[at:end] != written[at:end]:
            break
        if stamp == SEALED:
            batch = reading._events(unsealed(written[at:end], "a", at, KEYS), at, EVERYTHING, 0)
            events += [(event.timestamp, event.message) for event in batch]
        elif not text or b"\0" in text:
            break
        else:
            events.append((stamp, text.decode()))
        at = end
    return events, at


@given(st.lists(_LONG, min_size=1, max_size=5), st.integers(0, 5), st.booleans(), st.integers(0, 63))
@settings(max_examples=40, deadline=None)
def test_an_index_that_is_emptied_or_cut_takes_no_event_away(tmp_path_factory, batches, entries, deleted, rest):
    """Else a file of 64 bytes a batch would be all that a log hangs on."""
    batches = [[(stamp, text.replace("\0", "0") or "-") for stamp, text in batch] for batch in batches]
    for reads in (False, True):
        files, model = written(tmp_path_factory.mktemp("cut"), batches)
        files.close()
        if deleted:
            files.index_path.unlink()
        else:
            os.truncate(files.index_path, min(files.index_path.stat().st_size, entries * 64 + rest))
        again = StreamFiles(files.path, KEYS)
        if reads:  # and is a reader of what nobody appends to
            assert said(again) == model
            assert [end.offset for end in again.batches()[1:]] == [end.end for end in again.batches()[:-1]]
        again.append([(99, "after")], 2000)
        assert said(again) == said(StreamFiles(files.path, KEYS)) == [*model, (99, "after")]
        assert summary(again) == summary(StreamFiles(files.path, KEYS))
        again.close()
        shutil.rmtree(files.path.parent)


def test_what_a_process_left_half_done_takes_nothing_of_another_that_lives(tmp_path: Path):
    files = StreamFiles(tmp_path / "a.log")
    files.append([(1, "one")], 1000, "t.1")
    other = StreamFiles(files.path, KEYS)
    other.append([(2, "two")], 1001)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="killed"):
        write, left = streams._write_all, [1]  # the entry, and the first bytes of its batch

        def dies(descriptor: int, data: bytes) -> None:
            if not left:
                write(descriptor, data[:5])
                patch.setattr(os, "ftruncate", lambda *_: None)  # and undoes nothing
                raise OSError("killed")
            write(descriptor, data)
            left.pop()

        patch.setattr(streams, "_write_all", dies)
        other.append([(3, "three")], 1002, "t.3")
    files.append([(3, "three")], 1003, "t.3")  # which nobody was answered
    files.append([(1, "one")], 1004, "t.1")
    files.append([(4, "four")], 1005)
    for reader in (files, StreamFiles(files.path, KEYS)):
        assert said(reader) == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]
    other.close()
    files.close()


def said(files: StreamFiles) -> list[tuple[int, str]]:
    events = forward(files, START, 0, None)
    assert backward(files, None, 0, None) == events[::-1]
    return [(event.timestamp, event.message) for event in events]


@given(st.lists(_BATCH, min_size=1, max_size=4), st.integers(0, 60), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_a_torn_end_is_cut_off_and_nothing_before_it_is_lost(tmp_path_factory, batches, events_lost, index_lost):
    folder = tmp_path_factory.mktemp("torn")
    files, _ = written(folder, batches)
    every = StreamFiles(files.path, KEYS).batches()
    files.close()
    content = files.path.read_bytes()
    left = {
        path: max(0, path.stat().st_size - lost)
        for path, lost in ((files.path, events_lost), (files.index_path, index_lost))
    }
    for path, size in left.items():
        os.truncate(path, size)
    kept = sum(
        batch.end <= left[files.path] and (number + 1) * 64 <= left[files.index_path]
        for number, batch in enumerate(every)
    )
    expected = [event for batch in batches[:kept] for event in batch]
    if left[files.index_path] // 64 == kept:  # without it, its events are there all the same
        expected += plausible(files.path.read_bytes(), content, every[kept - 1].end if kept else 0)[0]
    again = StreamFiles(files.path, KEYS)
    again.append([(99, "after")], 2000)
    assert said(again) == [*sorted(expected, key=lambda event: event[0]), (99, "after")]
    again.close()
    shutil.rmtree(folder)


def test_a_reader_sees_each_batch_at_once(tmp_path: Path):
    writer, reader = StreamFiles(tmp_path / "a.log"), StreamFiles(tmp_path / "a.log")
    assert forward(reader, START, 0, None) == []
    for number in range(3):
        writer.append([(number, f"{number}")], number)
        assert [e.message for e in forward(reader, START, 0, None)] == [str(n) for n in range(number + 1)]
    writer.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.log", "b.log"])
def test_removing_what_was_never_written(tmp_path: Path, name: str):
    StreamFiles(tmp_path / name).remove()


def test_a_batch_that_is_sent_again_with_its_token_is_kept_once(tmp_path):
    files = StreamFiles(tmp_path / "a.log")
    files.append([(1, "one"), (2, "two")], 1000, "t.0")
    files.append([(3, "three")], 1000, "t.1")
    files.close()
    again = StreamFiles(tmp_path / "a.log")  # another process, after the first has died
    for number in range(2):
        again.append([(1, "one"), (2, "two")], 2000 + number, "t.0")
        again.append([(3, "three")], 2000 + number, "t.1")
    again.append([(3, "three")], 3000, "t.2")  # another token, other content, or none: events of their own
    again.append([(3, "four")], 3000, "t.1")
    again.append([(3, "three")], 3000)
    again.append([(3, "three")], 3000)
    kept = [event.message for event in forward(again, START, 0, None)]
    assert kept == ["one", "two", "three", "three", "four", "three", "three"]
    again.close()


@given(st.lists(_BATCH, min_size=1, max_size=8), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_a_stream_is_learnt_from_what_was_added(tmp_path_factory, batches, before):
    files = StreamFiles(tmp_path_factory.mktemp("extent") / "a.log")
    assert files.extent() is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.logfiles.streams._AT_ONCE", 2)
        for number, batch in enumerate(batches):
            files.append(batch, 1000 + number)
            if number >= before:
                assert files.extent() == Extent(
                    min(stamp for earlier in batches[: number + 1] for stamp, _ in earlier),
                    max(stamp for earlier in batches[: number + 1] for stamp, _ in earlier),
                    1000 + number,
                    files.path.stat().st_size,
                )
        entries, read = StreamFiles._entries, []
        patch.setattr(StreamFiles, "_entries", lambda *where: read.append(entries(*where)) or read[-1])
        assert files.extent() == files.extent() == StreamFiles(files.path, KEYS).extent()
        # By the last one, which looks whether a power failure has left gaps, or the index lacks its end.
        again = 2 * len(batches) + 1
        assert sum(map(len, read)) == again + (len(batches) if before >= len(batches) else 0), (
            "what was read once is not read again"
        )
    assert files._batches == [], "a server keeps hundreds of streams open"
    files.close()


def test_what_is_known_of_a_stream_goes_with_what_a_crash_took(tmp_path: Path):
    files, _ = written(tmp_path, [[(5, "kept")], [(9, "lost")]])
    files.close()
    with files.path.open("r+b") as file:  # the index reached the disk, and the events did not
        file.truncate(EVENT.size + len("kept"))
    again = StreamFiles(files.path, KEYS)
    assert again.extent() is not None
    again.append([(7, "after")], 2000)
    assert again.extent() == Extent(5, 7, 2000, files.path.stat().st_size)
    again.close()


# --- searching: the same as checking each message, one after the other ------------------------------------------------

_VOCABULARY = ("a", "aa", "ab", "é", "\N{REPLACEMENT CHARACTER}", "日本")
_LINE = st.lists(st.sampled_from((*_VOCABULARY, " ", "b")), max_size=6).map("".join)
_LINES = st.lists(st.tuples(st.integers(0, 30), _LINE), min_size=1, max_size=6).map(
    lambda events: sorted(events, key=lambda event: event[0])
)
_PATTERN = st.lists(st.tuples(st.sampled_from(("", "?", "-")), st.sampled_from(_VOCABULARY)), max_size=3)


def naively(message: str, terms) -> bool:
    """AWS: "Filter pattern syntax", read out loud."""
    plain = [term for mark, term in terms if mark == ""]
    either = [term for mark, term in terms if mark == "?"]
    if any(term in message for mark, term in terms if mark == "-"):
        return False
    if plain:
        return all(term in message for term in plain)
    return not either or any(term in message for term in either)


@given(
    streams=st.lists(st.lists(_LINES, max_size=4), min_size=1, max_size=4),
    terms=_PATTERN,
    start=st.integers(0, 20),
    end=st.one_of(st.none(), st.integers(20, 31)),
    limit=st.integers(1, 4),
    at_once=st.sampled_from((1, 60, 1 << 18)),
    most=st.sampled_from((1, 100, 1 << 25)),
    torn=st.integers(0, 3),
)
@settings(max_examples=examples(120), deadline=None)
def test_a_search_finds_what_looking_at_each_message_finds(
    tmp_path_factory, streams, terms, start, end, limit, at_once, most, torn
):
    folder = tmp_path_factory.mktemp("search")
    names = {}
    expected = []
    for number, batches in enumerate(streams):
        name = f"s{number}"
        files, _ = written(folder / name, batches)
        if batches:
            files.sync()
            files.append([(30, "end")], 2000)  # which says that the others are on disk
        files.close()
        names[name] = str(files.path)
        if batches and torn:  # a disk that flipped bits: what is not UTF-8 is read as replacement characters
            content = bytearray(files.path.read_bytes())
            at = EVENT.size
            if batches[0][0][1]:
                content[at : at + 1] = b"\xe6"
            files.path.write_bytes(content)
        expected += [
            ((e.timestamp, name, e.offset), e.message)
            for e in forward(StreamFiles(files.path, KEYS), START, start, end)
            if naively(e.message, terms)
        ]
    pattern = " ".join(f'{mark}"{term}"' for mark, term in terms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.logfiles.reading._READ", at_once)
        patch.setattr("penstock.logfiles.reading._LEAST", 1)
        patch.setattr("penstock.logfiles.search.MAX_SEARCHED", most)
        pages, behind, asked = [], None, 0
        while True:
            answer = search(
                streams=names,
                keys=KEYS,
                pattern=pattern,
                behind=behind,
                start=start,
                end=end,
                limit=limit,
                newest_first=False,
            )
            assert len(answer["events"]) <= limit
            pages += [(event["timestamp"], event["logStreamName"], event["message"]) for event in answer["events"]]
            asked += 1
            assert asked < 200
            if answer["more"] is None:
                break
            assert behind is None or answer["more"] > behind, "a page must get further than the one before"
            behind = answer["more"]
    assert pages == [(stamp, name, message) for (stamp, name, _), message in sorted(expected)]
    shutil.rmtree(folder)


def test_a_search_without_matches_reads_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Python's own work for each line is what made a flood of searches hold up everything else."""
    files, _ = written(tmp_path, [[(number, f"line {number}") for number in range(1000)]] * 20)
    monkeypatch.setattr("penstock.logfiles.reading._events", None)
    reads = list(reading.merged({"a": files}, None, 0, None, compile_pattern('nothing "like this"')))
    assert found(reads, 10) == ([], None)
    assert sum(read.cost for _, read in reads) == files.path.stat().st_size
    files.close()


def test_a_stream_whose_batches_overlap_is_read_as_its_time_comes(tmp_path: Path):
    """One late event must not make a reader load the complete stream."""
    files, model = written(tmp_path, [[(number, "x" * 1000)] for number in [*range(500), 3, *range(500, 1000)]])
    opened = []
    content = reading._content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_content", lambda files, group: (opened.append(group), content(files, group))[1])
        first = next(read.event for read in reading.forward(files, START, 0, None, at_once=4096) if read.event)
        last = next(read.event for read in reading.backward(files, None, 0, None) if read.event)
    assert (first.timestamp, last.timestamp) == (0, 999)
    assert len(opened) == 2
    assert [(e.timestamp, e.message) for e in forward(files, START, 0, None)] == model
    files.close()


def test_a_page_ends_with_the_event_that_makes_it_too_large(tmp_path, monkeypatch):
    """Of the events that come first there is always one, however large it is."""
    files = StreamFiles(tmp_path / "a.log")
    files.append([(at, "x" * 100) for at in range(5)], 9)
    asked = {"keys": {}, "start": 0, "end": None, "limit": 4}
    for bytes_of, pages, searched in ((1, 1, 1), (2 * (100 + OVERHEAD), 2, 3), (1 << 20, 4, 4)):
        monkeypatch.setattr("penstock.logfiles.search.MAX_ANSWER", bytes_of)
        for direction in "fb":
            found = page(path=str(files.path), direction=direction, position=None, **asked)
            assert len(found["events"]) == pages
        more = {"pattern": "", "behind": None, "newest_first": False}
        assert len(search(streams={"a": str(files.path)}, **more, **asked)["events"]) == searched
