"""The files of a log stream against a naive model: order, pages, times, and what a crash leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitoring.streams import START, StreamFiles, merged

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_BATCH = st.lists(st.tuples(st.integers(0, 50), _TEXT), min_size=1, max_size=6).map(
    lambda events: sorted(events, key=lambda e: e[0])
)


def written(folder: Path, batches) -> tuple[StreamFiles, list[tuple[int, str]]]:
    files = StreamFiles(folder / "a.log")
    model = []
    for number, batch in enumerate(batches):
        files.append(batch, 1000 + number)
        model += batch
    return files, sorted(model, key=lambda e: e[0])  # stable: arrival decides among equals


@given(st.lists(_BATCH, max_size=6), st.integers(0, 50), st.one_of(st.none(), st.integers(0, 51)), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_reads_what_was_written_in_either_direction(tmp_path_factory, batches, start, end, page):
    folder = tmp_path_factory.mktemp("streams")
    files, model = written(folder, batches)
    expected = [event for event in model if event[0] >= start and (end is None or event[0] < end)]
    for reader in (files, StreamFiles(folder / "a.log")):
        found = list(reader.forward(START, start, end))
        assert [(e.timestamp, e.message) for e in found] == expected
        assert list(reader.backward(None, start, end)) == found[::-1]
        # page by page, forwards and backwards
        position, pages = START, []
        while chunk := [event for event, _ in zip(reader.forward(position, start, end), range(page), strict=False)]:
            pages += chunk
            position = chunk[-1].position
        assert pages == found
        before, pages = None, []
        while chunk := [event for event, _ in zip(reader.backward(before, start, end), range(page), strict=False)]:
            pages += chunk
            before = chunk[-1].position
        assert pages == found[::-1]
    files.close()
    shutil.rmtree(folder)


@given(
    st.lists(st.lists(_BATCH, max_size=4), min_size=1, max_size=4),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(0, 51)),
    st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_many_streams_are_read_as_one(tmp_path_factory, streams, start, end, page):
    folder = tmp_path_factory.mktemp("merged")
    files: dict[str, StreamFiles] = {}
    model = []
    for number, batches in enumerate(streams):
        name = f"s{number}"
        files[name], _ = written(folder / name, batches)
        model += [((e.timestamp, name, e.offset), e) for e in files[name].forward(START, start, end)]
    found = list(merged(files, None, start, end))
    assert found == sorted(model, key=lambda entry: entry[0])
    behind, pages = None, []
    while chunk := [entry for entry, _ in zip(merged(files, behind, start, end), range(page), strict=False)]:
        pages += chunk
        behind = chunk[-1][0]
    assert pages == found
    for reader in files.values():
        reader.close()
    shutil.rmtree(folder)


def test_a_search_opens_no_stream_before_its_time(tmp_path: Path):
    files = {}
    for number in range(3):
        files[f"s{number}"], _ = written(tmp_path / f"s{number}", [[(number, "x")]])
    found = merged(files, None, 0, None)
    assert next(found)[1].timestamp == 0
    files["s2"].remove()  # its index was read; that its events are gone is no error
    assert [event.timestamp for _, event in found] == [1]


@given(st.lists(_BATCH, min_size=1, max_size=4), st.integers(1, 60), st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_a_torn_end_is_cut_off_and_nothing_before_it_is_lost(tmp_path_factory, batches, events_lost, index_lost):
    folder = tmp_path_factory.mktemp("torn")
    files, _ = written(folder, batches)
    whole = list(StreamFiles(folder / "a.log").forward(START, 0, None))
    files.close()
    size = (folder / "a.log").stat().st_size
    left = max(0, size - events_lost)
    for path, lost in ((folder / "a.log", events_lost), (folder / "a.index", index_lost)):
        with path.open("r+b") as file:
            file.truncate(max(0, path.stat().st_size - lost))
    again = StreamFiles(folder / "a.log")
    again.append([(99, "after")], 2000)
    found = [e for e in again.forward(START, 0, None) if e.message != "after" or e.timestamp != 99]
    ends = sorted(e.offset for e in whole)
    expected = {e for e in whole if next((o for o in ends if o > e.offset), size) <= left}
    assert set(found) == expected
    again.close()
    shutil.rmtree(folder)


def test_a_reader_sees_each_batch_at_once(tmp_path: Path):
    writer, reader = StreamFiles(tmp_path / "a.log"), StreamFiles(tmp_path / "a.log")
    assert list(reader.forward(START, 0, None)) == []
    for number in range(3):
        writer.append([(number, f"{number}")], number)
        assert [e.message for e in reader.forward(START, 0, None)] == [str(n) for n in range(number + 1)]
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
    found = [event.message for event in again.forward(START, 0, None)]
    assert found == ["one", "two", "three", "three", "four", "three", "three"]
    again.close()
