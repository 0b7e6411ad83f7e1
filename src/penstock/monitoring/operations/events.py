"""Log events: PutLogEvents, GetLogEvents, FilterLogEvents."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from penstock.monitoring import records
from penstock.monitoring.errors import InvalidParameterException, ResourceNotFoundException
from penstock.monitoring.filterpattern import BadPattern, compile_pattern
from penstock.monitoring.logstore import LogStore
from penstock.monitoring.operations.groups import (
    after,
    existing_group,
    existing_stream,
    group_arn,
    group_name,
    sequence_token,
    stream_arn,
)
from penstock.monitoring.streams import START, Event, Position, StreamFiles, merged
from penstock.room import Call
from penstock.wire.call import Input, Output
from penstock.wire.registry import Operations

MAX_BATCH = 1_048_576  # bytes, each event counted with OVERHEAD
OVERHEAD = 26
MAX_ANSWER = 1_000_000  # bytes of messages in one answer
MAX_EVENTS = 10_000
MAX_SEARCHED = 32 * 1024**2  # bytes that one FilterLogEvents looks through
_DAY = 86_400_000
_TOO_OLD = 14 * _DAY
_TOO_NEW = 2 * 3_600_000
_TOKEN = re.compile(r"([fb])/(\d{20})(\d{20})/s\Z")


def declare(operations: Operations, logs: LogStore) -> None:
    """Register the operations, which share the open files."""
    operation: Callable[..., Any] = operations.operation

    @operation("PutLogEvents", resource=stream_arn, unthrottled=True)
    async def put_log_events(call: Call, input: Input) -> Output:
        """Append a batch to a stream. The same batch with the same sequence token again, as after a lost answer, is kept once."""
        given = input["logEvents"]
        timestamps, messages = [event["timestamp"] for event in given], [event["message"] for event in given]
        _check_batch(timestamps, messages)
        row = await existing_stream(call, input["logGroupName"], input["logStreamName"])
        old = bisect_left(timestamps, call.now - _TOO_OLD)
        new = len(timestamps) - bisect_right(timestamps, call.now + _TOO_NEW)
        kept = list(zip(timestamps, messages, strict=True))[old : len(timestamps) - new]
        if kept:
            await logs.append(row.file, kept, call.now, input.get("sequenceToken", ""))
        output: Output = {"nextSequenceToken": sequence_token(row.file, call.now)}
        rejected = {}
        if old:
            rejected["tooOldLogEventEndIndex"] = old
        if new:
            rejected["tooNewLogEventStartIndex"] = len(timestamps) - new
        return output | ({"rejectedLogEventsInfo": rejected} if rejected else {})

    @operation("GetLogEvents", resource=stream_arn)
    async def get_log_events(call: Call, input: Input) -> Output:
        """A page of a stream, and tokens for the pages around it; at an end the token given comes back."""
        start, end = _range(input)
        direction, position = _opened(input.get("nextToken"), head=bool(input.get("startFromHead")))
        row = await existing_stream(call, group_name(call, input), input["logStreamName"])
        limit = input.get("limit", MAX_EVENTS)

        def read(files: StreamFiles) -> list[Event]:
            if direction == "f":
                return _page(files.forward(position or START, start, end), limit)
            return _page(files.backward(position, start, end), limit)[::-1]

        events = await logs.look(row.file, read)
        if events:
            forward, backward = events[-1].position, events[0].position
        else:
            forward = backward = position or START
        return {
            "events": [_shown(event) for event in events],
            "nextForwardToken": _token("f", forward),
            "nextBackwardToken": _token("b", backward),
        }

    @operation("FilterLogEvents", resource=group_arn)
    async def filter_log_events(call: Call, input: Input) -> Output:
        """Events of a group's streams, merged by time, that match a pattern."""
        try:
            test = compile_pattern(input.get("filterPattern", ""))
        except BadPattern as bad:
            raise InvalidParameterException(str(bad)) from None
        start, end = _range(input)
        group = group_name(call, input)
        names = input.get("logStreamNames", [])
        if names and input.get("logStreamNamePrefix"):
            raise InvalidParameterException("logStreamNamePrefix and logStreamNames are mutually exclusive.")
        await existing_group(call, group)
        rows = await call.app.store.scan(
            records.list_streams,
            call.account,
            call.region,
            group,
            prefix=input.get("logStreamNamePrefix", ""),
            names=names,
        )
        if len(rows) < len(set(names)):
            raise ResourceNotFoundException(what="log stream")
        keyset = after(call, input)
        behind = (keyset[0], keyset[1], keyset[2]) if keyset else None
        limit = input.get("limit", MAX_EVENTS)
        chosen, more = await logs.search(
            {row.name: row.file for row in rows},
            # Unlike that of GetLogEvents, this end is within the range.
            lambda streams: _found(merged(streams, behind, start, None if end is None else end + 1), test, limit),
        )
        output: Output = {
            "events": [
                _shown(event) | {"logStreamName": name, "eventId": _event_id(name, event)} for name, event in chosen
            ],
            "searchedLogStreams": [],
        }
        if more is not None:
            output["nextToken"] = call.app.page_tokens.seal(call, input, list(more))
        return output


def _found(
    events: Iterable[tuple[tuple[int, str, int], Event]], test: Callable[[str], bool], limit: int
) -> tuple[list[tuple[str, Event]], tuple[int, str, int] | None]:
    """One page of matches with their streams, and the place to go on behind when there may be more."""
    chosen: list[tuple[str, Event]] = []
    size = looked = 0
    last: tuple[int, str, int] | None = None
    for key, event in events:
        matches = test(event.message)
        if looked > MAX_SEARCHED or (matches and (len(chosen) == limit or size > MAX_ANSWER)):
            return chosen, last
        if matches:
            chosen.append((key[1], event))
            size += len(event.message)
        looked += len(event.message) + OVERHEAD
        last = key
    return chosen, None


def _check_batch(timestamps: list[int], messages: list[str]) -> None:
    text = "".join(messages)
    size = len(messages) * OVERHEAD + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
    if size > MAX_BATCH:
        raise InvalidParameterException(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH}")
    if sorted(timestamps) != timestamps:
        raise InvalidParameterException("Log events in a single PutLogEvents request must be in chronological order.")
    if timestamps[-1] - timestamps[0] > _DAY:
        raise InvalidParameterException(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )


def _range(input: Input) -> tuple[int, int | None]:
    start, end = input.get("startTime", 0), input.get("endTime")
    if end is not None and end < start:
        raise InvalidParameterException("endTime must not be before startTime")
    return start, end


def _opened(token: str | None, *, head: bool) -> tuple[str, Position | None]:
    if not token:
        return ("f" if head else "b"), None
    found = _TOKEN.match(token)
    if found is None:
        raise InvalidParameterException("The specified nextToken is invalid.")
    direction, timestamp, offset = found.groups()
    return direction, (int(timestamp) - 1, int(offset) - 1)


def _token(direction: str, position: Position) -> str:
    return f"{direction}/{position[0] + 1:020d}{position[1] + 1:020d}/s"


def _page(events: Iterable[Event], limit: int) -> list[Event]:
    found: list[Event] = []
    size = 0
    for event in events:
        size += len(event.message) + OVERHEAD
        if found and size > MAX_ANSWER:
            break
        found.append(event)
        if len(found) == limit:
            break
    return found


def _shown(event: Event) -> dict[str, Any]:
    return {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingestion}


def _event_id(stream: str, event: Event) -> str:
    digest = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big")
    return f"{event.timestamp:016d}{digest:020d}{event.offset:020d}"
