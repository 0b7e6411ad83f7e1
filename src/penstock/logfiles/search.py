"""What a reading process answers: a page of one stream, a page of what matches in many, what was appended to many, or which of some messages match a pattern.

Requests and answers are plain data, as JSON has it. The events of an answer look as CloudWatch Logs shows them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from penstock.logfiles.measuring import measure
from penstock.logfiles.patterns import compile_pattern
from penstock.logfiles.reading import Key, Read, adjacent, appended, backward, forward, latest, merged
from penstock.logfiles.sealed import Locked
from penstock.logfiles.sending import matching
from penstock.logfiles.streams import START, Event, Position, StreamFiles, event_id

MAX_ANSWER = 1_000_000  # characters of messages in one answer
MAX_SEARCHED = 32 * 1024**2  # bytes that one search looks through
MAX_PROCESSOR_S = 5.0  # that one search takes, with a pattern that takes long
_AT_ONCE = 1 << 18  # bytes
OVERHEAD = 26  # what an event counts beside its message. AWS: PutLogEvents

T = TypeVar("T")
Found = tuple[list[tuple[str, Event]], Key | None]


def answer(request: dict[str, Any], report: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Read as the request says; its `kind` is `page`, `search`, `tail`, `measure`, `match`, `query`, `record`, `fields` or `test`, its `keys` open what is sealed, by id and in hexadecimal.

    `locked` is whether something is sealed under another key. `incomplete` are the paths of streams whose index has to be completed first,
    unless the request says that as much as can be `was_completed`.
    """
    if request["kind"] == "test":
        return test(pattern=request["pattern"], messages=request["messages"])
    if request["kind"] == "query":
        request["report"] = report or (lambda _statistics: None)
    lacking: set[str] = set()
    kinds: dict[str, Callable[..., dict[str, Any]]] = {
        "page": page,
        "search": search,
        "tail": tail,
        "measure": measure,
        "match": matching,
        "query": _query,
        "record": _record,
        "fields": _fields,
    }
    completed = request.pop("was_completed", False)
    request["keys"] = {key_id: bytes.fromhex(key) for key_id, key in request.pop("keys", {}).items()}
    try:
        found = kinds[request.pop("kind")](**request, lacking=lambda path: lacking.add(str(path)))
    except Locked:
        found = {"events": [], "locked": True}
    return found if completed or not lacking else {"events": [], "incomplete": sorted(lacking)}


def page(
    *,
    path: str,
    keys: Mapping[str, bytes],
    direction: str,
    position: list[int] | None,
    start: int,
    end: int | None,
    limit: int,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """A page of a stream, `f`orwards behind or `b`ackwards before a position: `events` in order, and the positions of the `first` and `last`."""
    files = StreamFiles(Path(path), keys, lacking)
    place: Position | None = (position[0], position[1]) if position else None
    try:
        if direction == "f":
            events = _page(forward(files, place or START, start, end), limit)
        else:
            events = _page(backward(files, place, start, end), limit)[::-1]
    except FileNotFoundError:  # the stream was deleted meanwhile
        events = []
    return {
        "events": [_to_api(event) for event in events],
        "first": events[0].position if events else None,
        "last": events[-1].position if events else None,
    }


def search(
    *,
    streams: dict[str, str],
    keys: Mapping[str, bytes],
    pattern: str,
    behind: list[Any] | None,
    start: int,
    end: int | None,
    limit: int,
    newest_first: bool,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """A page of the events of many streams (name → path) that match: `events`, and `more`: the key to continue after when there may be more."""
    files = {name: StreamFiles(Path(path), keys, lacking) for name, path in streams.items()}
    after: Key | None = (behind[0], behind[1], behind[2]) if behind else None
    reads = (latest if newest_first else merged)(files, after, start, end, compile_pattern(pattern))
    chosen, more = found(reads, limit)
    events = [_to_api(event) | {"logStreamName": name, "eventId": event_id(name, event)} for name, event in chosen]
    return {"events": events, "more": more}


def tail(
    *,
    streams: list[tuple[str, str, str, int]],
    keys: Mapping[str, bytes],
    pattern: str,
    limit: int,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """What was appended to streams (group, name, path, offset) behind an offset and matches, as `events`: `limit` of them at most, spread evenly.

    `ends` is where each stream that was read ends now, by path, and `sampled` whether something is left out.
    """
    compiled = compile_pattern(pattern)
    chosen, ends, passed_over = Sample[tuple[str, str, Event]](limit), {}, False
    room, began = MAX_SEARCHED, time.process_time()
    for group, name, path, offset in streams:
        files = StreamFiles(Path(path), keys, lacking)
        batches = [batch for batch in files.batches() if batch.offset >= offset]
        if not batches:
            continue
        ends[path] = batches[-1].end
        first = max(offset, batches[-1].end - room)
        read = [batch for batch in batches if batch.offset >= first]
        passed_over |= len(read) < len(batches)
        for together in adjacent(read, _AT_ONCE):
            if time.process_time() - began > MAX_PROCESSOR_S:
                passed_over = True
                break
            with contextlib.suppress(FileNotFoundError):  # the stream was deleted meanwhile
                for event in appended(files, together, compiled):
                    chosen.add((group, name, event))
        room = max(0, room - (ends[path] - first))
    found = sorted(chosen.kept(), key=lambda one: (one[2].timestamp, one[1], one[2].offset))
    events = [_to_api(event) | {"logGroupIdentifier": group, "logStreamName": name} for group, name, event in found]
    return {"events": events, "ends": ends, "sampled": passed_over or chosen.seen > len(found)}


class Sample(Generic[T]):
    """So many at most of what is added, spread evenly, whatever it is; it holds twice as many meanwhile."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[T] = []
        self._every = 1
        self.seen = 0

    def add(self, one: T) -> None:
        """Take one, or pass it over."""
        if self.seen % self._every == 0:
            self._kept.append(one)
            if len(self._kept) == 2 * self._limit:
                self._kept = self._kept[::2]
                self._every *= 2
        self.seen += 1

    def kept(self) -> list[T]:
        """Those that are left."""
        many = len(self._kept)
        return self._kept if many <= self._limit else [self._kept[n * many // self._limit] for n in range(self._limit)]


def _query(**request: Any) -> dict[str, Any]:
    from penstock.logfiles.queries.running import run  # noqa: PLC0415 - other readers start without it

    return run(**request)


def _record(**request: Any) -> dict[str, Any]:
    from penstock.logfiles.queries.records import record  # noqa: PLC0415

    return record(**request)


def _fields(**request: Any) -> dict[str, Any]:
    from penstock.logfiles.queries.records import fields  # noqa: PLC0415

    return fields(**request)


def test(*, pattern: str, messages: list[str]) -> dict[str, Any]:
    """Which of some messages match, as `events`: their numbers from 1, and the values that the pattern names in them."""
    compiled = compile_pattern(pattern)
    given = [(number, message, message.encode("utf-8", "replace")) for number, message in enumerate(messages, 1)]
    return {
        "events": [
            {"eventNumber": number, "eventMessage": message, "extractedValues": compiled.extracted(content)}
            for number, message, content in given
            if compiled.matches(content)
        ]
    }


def found(reads: Iterable[tuple[Key, Read]], limit: int) -> Found:
    """One page of matches with their streams, and the key to continue after when there may be more."""
    chosen: list[tuple[str, Event]] = []
    size = bytes_read = 0
    last: Key | None = None
    began = time.process_time()
    for key, (_, event, cost) in reads:
        full = event is not None and (len(chosen) == limit or size > MAX_ANSWER)
        if last is not None and (full or bytes_read > MAX_SEARCHED or time.process_time() - began > MAX_PROCESSOR_S):
            return chosen, last
        if event is not None:
            chosen.append((key[1], event))
            size += len(event.message)
        bytes_read += cost
        last = key
    return chosen, None


def _page(reads: Iterable[Read], limit: int) -> list[Event]:
    chosen: list[Event] = []
    size = 0
    for event in (read.event for read in reads if read.event is not None):
        size += len(event.message) + OVERHEAD
        if chosen and size > MAX_ANSWER:
            break
        chosen.append(event)
        if len(chosen) == limit:
            break
    return chosen


def _to_api(event: Event) -> dict[str, Any]:
    return {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingestion}
