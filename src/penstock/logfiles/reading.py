"""Reading log streams: events in order of time, from one stream or many, forwards or backwards, all of them or those that match a pattern.

Batches overlap in time when writers send late events. A stream is therefore read as *runs*: batches that follow each other in time and in the file.
Runs are merged, and a run is opened only when its time has come. Blocking, and Python's own work: for the process of `penstock.logfiles.__main__`.

What is read comes as `Read` items. One without an event says how far the reader has got: bytes that hold no match are passed over as a whole,
since they are searched by `bytes.find` before any event is looked at.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from penstock.logfiles.patterns import EVERYTHING, Pattern
from penstock.logfiles.sealed import MARK, unsealed
from penstock.logfiles.streams import EVENT, START, Batch, Event, Position, StreamFiles

_READ = 1 << 18  # bytes of a run that are read at once, at most (a batch is always read as a whole)
_LEAST = 1 << 12
_HELD = 1 << 25  # bytes that a search of many streams holds of them together
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNOPENED = -1  # before every offset

Key = tuple[int, str, int]
"""Time stamp, name of the stream, offset: the order of a group's events."""


class Read(NamedTuple):
    """A step of a reader."""

    position: Position  # everything up to here has been given
    event: Event | None
    cost: int  # bytes read for it


def forward(
    files: StreamFiles,
    after: Position,
    start: int,
    end: int | None,
    pattern: Pattern = EVERYTHING,
    *,
    at_once: int = _READ,
) -> Iterator[Read]:
    """Events behind a position with start ≤ time stamp < end that match, oldest first."""
    lowest = max(start, after[0])
    chosen = files.chosen(after, start, end)
    waiting: list[tuple[Position, int, Read | None, Iterator[Read]]] = []
    for number, run in enumerate(_runs(chosen)):
        reader = _forward(files, run, pattern, at_once)
        waiting.append(((max(lowest, run[0].lowest), _UNOPENED), number, None, reader))
    heapq.heapify(waiting)
    while waiting:
        _, number, read, reader = heapq.heappop(waiting)
        if read is not None:
            yield read
        for following in reader:
            event = following.event
            if event is not None and (following.position <= after or event.timestamp < start):
                continue
            if event is not None and end is not None and event.timestamp >= end:
                break
            heapq.heappush(waiting, (following.position, number, following, reader))
            break


def backward(
    files: StreamFiles,
    before: Position | None,
    start: int,
    end: int | None,
    pattern: Pattern = EVERYTHING,
    *,
    at_once: int = _READ,
) -> Iterator[Read]:
    """Events before a position (None: the end) with start ≤ time stamp < end that match, newest first."""
    chosen = files.chosen_before(before, start, end)
    waiting: list[tuple[Position, int, Read | None, Iterator[Read]]] = []
    for number, run in enumerate(_runs(chosen)):
        reader = _backward(files, run, pattern, at_once)
        waiting.append(((-run[-1].highest, -run[-1].end), number, None, reader))
    heapq.heapify(waiting)
    while waiting:
        _, number, read, reader = heapq.heappop(waiting)
        if read is not None:
            yield read
        for following in reader:
            event = following.event
            if event is not None and event.timestamp < start:
                break
            if event is not None and not (
                (before is None or event.position < before) and (end is None or event.timestamp < end)
            ):
                continue
            place = (-following.position[0], -following.position[1])
            heapq.heappush(waiting, (place, number, following, reader))
            break


def merged(
    streams: Mapping[str, StreamFiles], after: Key | None, start: int, end: int | None, pattern: Pattern = EVERYTHING
) -> Iterator[tuple[Key, Read]]:
    """What `forward` gives of many streams (by name), in the order of `Key`, behind one of those.

    A stream is read only when its time has come, so that the ones behind the page asked for cost a lookup in their index.
    """
    at_once = max(_LEAST, min(_READ, _HELD // max(1, len(streams))))
    waiting: list[tuple[Key, Read | None, Iterator[Read]]] = []
    for name, files in streams.items():
        behind = START
        if after is not None:
            behind = (after[0], after[2] if after[1] == name else (-1 if name > after[1] else 2**62))
        begins = files.begins(behind, start, end)
        if begins is not None:
            reader = forward(files, behind, start, end, pattern, at_once=at_once)
            waiting.append(((begins, name, _UNOPENED), None, reader))
    heapq.heapify(waiting)
    while waiting:
        key, read, reader = heapq.heappop(waiting)
        if read is not None:
            yield key, read
        with contextlib.suppress(FileNotFoundError):  # the stream was deleted meanwhile
            following = next(reader, None)
            if following is not None:
                timestamp, offset = following.position
                heapq.heappush(waiting, ((timestamp, key[1], offset), following, reader))


def latest(
    streams: Mapping[str, StreamFiles], before: Key | None, start: int, end: int | None, pattern: Pattern = EVERYTHING
) -> Iterator[tuple[Key, Read]]:
    """What `backward` gives of many streams (by name), in the opposite of the order of `Key`, before one of those."""
    at_once = max(_LEAST, min(_READ, _HELD // max(1, len(streams))))
    waiting: list[tuple[tuple[int, int, int], str, Read | None, Iterator[Read]]] = []
    for rank, name in enumerate(sorted(streams, reverse=True)):
        place: Position | None = None
        if before is not None:
            place = (before[0], before[2] if before[1] == name else (2**62 if name < before[1] else -1))
        ends = streams[name].ends(place, start, end)
        if ends is not None:
            reader = backward(streams[name], place, start, end, pattern, at_once=at_once)
            waiting.append(((-ends, rank, -(2**62)), name, None, reader))
    heapq.heapify(waiting)
    while waiting:
        (_, rank, _), name, read, reader = heapq.heappop(waiting)
        if read is not None:
            yield (read.position[0], name, read.position[1]), read
        with contextlib.suppress(FileNotFoundError):  # the stream was deleted meanwhile
            following = next(reader, None)
            if following is not None:
                timestamp, offset = following.position
                heapq.heappush(waiting, ((-timestamp, rank, -offset), name, following, reader))


def appended(files: StreamFiles, batches: Sequence[Batch], pattern: Pattern) -> Iterator[Event]:
    """The events of batches that match, in the order of the file."""
    for group in adjacent(batches, _READ):
        for data, offset in _content(files, group):
            if (may := pattern.after(data, 0)) >= 0:
                yield from _events(data, offset, pattern, may)


def _runs(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Batches in the order of the file, cut where one begins earlier than the one before it ends."""
    run: list[Batch] = []
    for batch in batches:
        if run and batch.lowest < run[-1].highest:
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def _forward(files: StreamFiles, run: Sequence[Batch], pattern: Pattern, at_once: int) -> Iterator[Read]:
    for group in adjacent(run, at_once):
        cost = group[-1].end - group[0].offset
        for data, offset in _content(files, group):
            if (may := pattern.after(data, 0)) < 0:
                continue
            for event in _events(data, offset, pattern, may):
                yield Read(event.position, event, cost)
                cost = 0
        yield Read((group[-1].highest, group[-1].end - 1), None, cost)


def _backward(files: StreamFiles, run: Sequence[Batch], pattern: Pattern, at_once: int) -> Iterator[Read]:
    for group in reversed(list(adjacent(run, at_once))):
        cost = group[-1].end - group[0].offset
        for data, offset in reversed(list(_content(files, group))):
            if (may := pattern.after(data, 0)) < 0:
                continue
            for event in reversed(list(_events(data, offset, pattern, may))):
                yield Read(event.position, event, cost)
                cost = 0
        yield Read((group[0].lowest, group[0].offset), None, cost)


def _content(files: StreamFiles, group: Sequence[Batch]) -> Iterator[tuple[bytes, int]]:
    """What batches beside each other hold, in pieces, each with the offset that its first event has. Raises Locked and Unreadable."""
    for start, data in files.content(group):
        within = [batch for batch in group if start <= batch.offset and batch.end <= start + len(data)]
        if not any(data.startswith(MARK, batch.offset - start) for batch in within):
            yield data, start
            continue
        for batch in within:  # what was sealed is shorter when it is opened: each of these has offsets of its own
            kept = data[batch.offset - start : batch.end - start]
            yield unsealed(kept, files.path.stem, batch.offset, files.keys), batch.offset


def _events(data: bytes, offset: int, pattern: Pattern, may: int) -> Iterator[Event]:
    """The events that match; none does that ends before the place `may`."""
    unpack, header, size = EVENT.unpack_from, EVENT.size, len(data)
    at = 0
    while at + header <= size:
        timestamp, ingestion, length = unpack(data, at)
        begins, at = at, at + header + length
        if at < may:
            continue
        if may < begins + header:
            may = pattern.after(data, begins + header)
            if may < 0:
                return
            if at < may:
                continue
        text = data[begins + header : at]
        message = text.decode("utf-8", "replace")
        if _REPLACEMENT in message:  # of a disk that flipped bits: what is read is what is compared
            text = message.encode()
        if pattern.matches(text):
            yield Event(timestamp, ingestion, message, offset + begins)


def adjacent(batches: Sequence[Batch], at_once: int) -> Iterator[list[Batch]]:
    """Batches that lie beside each other in the file, as many as one read takes."""
    group: list[Batch] = []
    for batch in batches:
        if group and (batch.offset != group[-1].end or batch.end - group[0].offset > at_once):
            yield group
            group = []
        group.append(batch)
    if group:
        yield group
