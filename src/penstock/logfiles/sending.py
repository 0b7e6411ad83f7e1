"""What subscription filters find in log streams, as the messages that their destinations get. For the process of `penstock.logfiles.__main__`."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from penstock.logfiles.patterns import Pattern, compile_pattern
from penstock.logfiles.reading import adjacent, appended
from penstock.logfiles.streams import Event, StreamFiles, event_id

MAX_SEARCHED = 32 * 1024**2  # bytes that one request looks through
MAX_PROCESSOR_S = 5.0
MAX_ANSWER = 1 << 20  # bytes of messages in an answer, about
_AT_ONCE = 1 << 18
_CUT = "… [cut: the event is larger than the destination takes]"


class _Message:
    """A message that is being filled."""

    def __init__(self, head: Mapping[str, Any], name: str, most: int) -> None:
        self._head = {**head, "logStream": name}
        self._most = most
        self._size = len(orjson.dumps({**self._head, "logEvents": []}))
        self._events: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._events)

    def take(self, name: str, event: Event) -> bool:
        """Add an event; False when the message is full. One that is too large for any message is cut."""
        found = {"id": event_id(name, event), "timestamp": event.timestamp, "message": event.message}
        content = orjson.dumps(found)
        if self._size + len(content) + 1 > self._most:
            if self._events:
                return False
            # A character takes 6 bytes of JSON at most.
            found["message"] = event.message[: (self._most - self._size - 512) // 6] + _CUT
            content = orjson.dumps(found)
        self._events.append(content)
        self._size += len(content) + 1
        return True

    def body(self) -> bytes:
        """In AWS's form."""
        head = orjson.dumps(self._head)[:-1]
        return head + b',"logEvents":[' + b",".join(self._events) + b"]}"

    def size(self) -> int:
        """Bytes, about."""
        return self._size


def matching(
    *,
    streams: list[tuple[str, str, int]],
    keys: Mapping[str, bytes],
    pattern: str,
    head: dict[str, Any],
    since: int,
    most: int,
    compressed: bool,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """Messages of `most` bytes each of what a pattern finds in streams (name, path, place) from a place on, in what came (ms) since.

    Each of the `messages` has the `path` of its stream, the place `end` behind which the next one begins, and its `body`: text, or base64 of gzip
    where it is to be `compressed`. `ends` are the places behind everything that was read, by path. `more` says whether there may be more.
    """
    compiled = compile_pattern(pattern)
    began, read, size, more = time.process_time(), 0, 0, False
    messages: list[dict[str, Any]] = []
    ends: dict[str, int] = {}
    for name, path, place in streams:
        if read > MAX_SEARCHED or size > MAX_ANSWER or time.process_time() - began > MAX_PROCESSOR_S:
            more = True
            break
        files = StreamFiles(Path(path), keys, lacking)
        batches = files.batches()
        message = _Message(head, name, most)
        end = place
        for group in adjacent([one for one in batches if one.end > place and one.ingestion >= since], _AT_ONCE):
            if read > MAX_SEARCHED or size > MAX_ANSWER or time.process_time() - began > MAX_PROCESSOR_S:
                more = True
                break
            for event in _events(files, group, compiled):
                if event.offset < place or message.take(name, event):
                    continue
                messages.append({"path": path, "end": event.offset, "body": _body(message, compressed=compressed)})
                size += message.size()
                message = _Message(head, name, most)
                message.take(name, event)
            end = group[-1].end
            read += group[-1].end - group[0].offset
        else:
            end = max(end, batches[-1].end if batches else 0)
        if message:
            messages.append({"path": path, "end": end, "body": _body(message, compressed=compressed)})
            size += message.size()
        ends[path] = end
    return {"events": [], "messages": messages, "ends": ends, "more": more}


def _events(files: StreamFiles, group: Any, pattern: Pattern) -> Iterator[Event]:
    try:
        yield from appended(files, group, pattern)
    except FileNotFoundError:  # the stream was deleted meanwhile
        return


def _body(message: _Message, *, compressed: bool) -> str:
    body = message.body()
    return base64.b64encode(gzip.compress(body, 6, mtime=0)).decode() if compressed else body.decode()
